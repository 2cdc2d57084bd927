// Whether an entry is proved: its receipt is fetched and verified here, in the browser.
import { useCallback, useEffect, useState } from "preact/hooks";
import { type Api, type Entry, isProblem, type Problem } from "./api.ts";
import type { Config } from "./config.ts";
import type { Proof } from "./proof.ts";
import { ProblemNote } from "./problem_note.tsx";
import { text } from "./text.ts";

type State =
  | { state: "looking" | "pending" }
  | (Proof & { receipt: string })
  | { state: "unknown"; problem: Problem };

type Props = { api: Api; config: Config; entry: Entry; entryText: string; organization: string };

/** Entries are sealed about a minute after they were written. */
const AGAIN_AFTER = 15_000;

export function ProofState({ api, config, entry, entryText, organization }: Props) {
  const [state, setState] = useState<State>({ state: "looking" });

  const look = useCallback(async () => {
    const { hashOf, proveEntry } = await import("./proof.ts");
    if (hashOf(entryText) !== entry.hash) {
      return setState({ state: "broken", reason: text.proof.otherHash, receipt: "" });
    }
    const answer = await api.download(`/logs/${entry.name}/proof`, { organization_id: organization });
    if (isProblem(answer)) {
      if (answer.code === "not_proved") {
        return setState({ state: "broken", reason: text.proof.otherRoot, receipt: "" });
      }
      return setState(answer.code === "not_sealed" ? { state: "pending" } : { state: "unknown", problem: answer });
    }
    const receipt = await answer.text();
    setState({ ...proveEntry(receipt, entryText, organization, config.log_keys), receipt });
  }, [api, config, entry, entryText, organization]);

  useEffect(() => void look(), [look]);
  useEffect(() => {
    if (state.state !== "pending") return;
    const timer = setTimeout(look, AGAIN_AFTER);
    return () => clearTimeout(timer);
  }, [state, look]);

  return (
    <section class={`proof ${state.state}`} aria-live="polite">
      <strong>{text.proof.state[state.state]}</strong>
      {state.state === "proved" && (
        <>
          <p>{text.proof.proved(state.index + 1, state.size, state.origin)}</p>
          <SaveReceipt name={entry.name} receipt={state.receipt} />
        </>
      )}
      {state.state === "broken" && <p>{text.proof.broken(state.reason)}</p>}
      {state.state === "pending" && <p>{text.proof.pending}</p>}
      {state.state === "unknown" && <ProblemNote problem={state.problem} retry={look} />}
    </section>
  );
}

function SaveReceipt({ name, receipt }: { name: string; receipt: string }) {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([receipt], { type: "text/plain" }));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [receipt]);
  return url === undefined ? null : <a href={url} download={`${name}.tlog-proof`}>{text.proof.save}</a>;
}
