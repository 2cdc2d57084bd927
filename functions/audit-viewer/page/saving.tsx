// What becomes of a choice: it is on its way, refused, or saved.
import { useCallback, useState } from "preact/hooks";
import { type Answer, isProblem, type Problem } from "./api.ts";
import { ProblemNote } from "./problem_note.tsx";
import { text } from "./text.ts";

type State = { is: "idle" | "busy" } | { is: "saved"; says: string } | { is: "refused"; problem: Problem };

export type Saving = {
  state: State;
  isBusy: boolean;
  /** Asks, and calls `done` with what was answered; tells whether it was. */
  save<T>(work: Promise<Answer<T>>, done: (answer: T) => unknown, says?: string): Promise<boolean>;
};

export function useSaving(): Saving {
  const [state, setState] = useState<State>({ is: "idle" });
  const save = useCallback(
    async <T,>(work: Promise<Answer<T>>, done: (answer: T) => unknown, says: string = text.saving.saved) => {
      setState({ is: "busy" });
      const answer = await work;
      if (isProblem(answer)) setState({ is: "refused", problem: answer });
      else {
        await done(answer);
        setState({ is: "saved", says });
      }
      return !isProblem(answer);
    },
    [],
  );
  return { state, isBusy: state.is === "busy", save };
}

export function SavingNote({ state }: { state: State }) {
  return (
    <>
      <p class="saved" role="status">
        {state.is === "saved" ? state.says : state.is === "busy" ? text.saving.busy : ""}
      </p>
      {state.is === "refused" && <ProblemNote problem={state.problem} />}
    </>
  );
}
