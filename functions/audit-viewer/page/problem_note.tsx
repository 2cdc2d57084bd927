// What was refused or failed: the cause, the way out, and another try where that can help.
import type { Problem } from "./api.ts";
import { text } from "./text.ts";

export function ProblemNote({ problem, retry }: { problem: Problem; retry?: () => unknown }) {
  const says = text.problems[problem.code] ?? problem.detail ?? problem.title;
  return (
    <div class="problem" role="alert">
      <p>{says}</p>
      {problem.hint !== undefined && <p class="hint">{problem.hint}</p>}
      {retry !== undefined && <button type="button" onClick={() => retry()}>{text.problems.retry}</button>}
    </div>
  );
}
