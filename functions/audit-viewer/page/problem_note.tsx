// What was refused or failed: the cause, the way out, and another try where that can help.
import { useEffect } from "preact/hooks";
import type { Problem } from "./api.ts";
import { text } from "./text.ts";

const AGAIN_AFTER = 5_000;

export function ProblemNote({ problem, retry }: { problem: Problem; retry?: () => unknown }) {
  const code = problem.code === "offline" && retry === undefined ? "offline_for_now" : problem.code;
  const says = text.problems[code] ?? problem.detail ?? problem.title;
  useEffect(() => {
    if (problem.code !== "offline" || retry === undefined) return;
    const again = () => void retry();
    addEventListener("online", again);
    // The browser tells of its own connection alone, and may have told before this was drawn.
    const timer = navigator.onLine ? setTimeout(again, AGAIN_AFTER) : undefined;
    return () => {
      removeEventListener("online", again);
      clearTimeout(timer);
    };
  }, [problem, retry]);
  return (
    <div class="problem" role="alert">
      <p>{says}</p>
      {problem.hint !== undefined && <p class="hint">{problem.hint}</p>}
      {retry !== undefined && <button type="button" onClick={() => retry()}>{text.problems.retry}</button>}
    </div>
  );
}
