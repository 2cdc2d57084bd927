// What is on the screen as files: streamed here part by part, or made in the background.
import { useEffect, useRef, useState } from "preact/hooks";
import { type Answer, type Api, isProblem, type Problem } from "./api.ts";
import { ProblemNote } from "./problem_note.tsx";
import { text } from "./text.ts";

const FORMATS = ["csv", "json", "ndjson", "pdf"] as const;
const AGAIN_AFTER = 2_000;

type Made = {
  id: string;
  state: string;
  error: string | null;
  entries_done: number;
  parts: { part: number; entries: number; url?: string }[];
};
type State =
  | { is: "asking" }
  | { is: "streaming"; part: number; entries: number; bytes: number }
  | { is: "saved"; files: number; entries: number }
  | { is: "made"; made: Made }
  | { is: "failed"; problem: Problem };

type Props = { api: Api; organization: string; query: string };

export function ExportButton({ api, organization, query }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const running = useRef<AbortController>(undefined);
  const [state, setState] = useState<State>({ is: "asking" });
  const isBusy = state.is === "streaming";

  const start = async (event: SubmitEvent) => {
    event.preventDefault();
    const format = String(new FormData(event.currentTarget as HTMLFormElement).get("format"));
    if ((event.submitter as HTMLButtonElement | null)?.value === "background") {
      const made = await api.post<Made>("/exports", { organization_id: organization, query, format });
      return setState(isProblem(made) ? { is: "failed", problem: made } : { is: "made", made });
    }
    const { signal } = running.current = new AbortController();
    try {
      setState(await saveParts(api, { organization_id: organization, q: query, format }, signal, setState));
    } catch (error) {
      if (!signal.aborted) throw error;
      setState({ is: "asking" });
    }
  };
  const close = () => {
    running.current?.abort();
    setState({ is: "asking" });
  };

  useEffect(() => () => running.current?.abort(), []);
  useEffect(() => {
    if (state.is !== "made" || !isUnderWay(state.made)) return;
    const timer = setTimeout(async () => {
      const made = await api.get<Made>(`/exports/${state.made.id}`);
      setState(isProblem(made) ? { is: "failed", problem: made } : { is: "made", made });
    }, AGAIN_AFTER);
    return () => clearTimeout(timer);
  }, [api, state]);

  return (
    <>
      <button type="button" onClick={() => dialog.current?.showModal()}>{text.export.open}</button>
      <dialog ref={dialog} onClose={close} aria-labelledby="export-title">
        <h2 id="export-title">{text.export.title}</h2>
        <p>{query === "" ? text.export.all : <bdi>{query}</bdi>}</p>
        <form onSubmit={start}>
          <label>
            {text.export.format}{" "}
            <select name="format">
              {FORMATS.map((format) => <option key={format} value={format}>{text.export.formats[format]}</option>)}
            </select>
          </label>
          <div class="buttons">
            <button type="submit" disabled={isBusy}>{text.export.download}</button>
            <button type="submit" value="background" class="second" disabled={isBusy}>{text.export.background}</button>
            <button type="button" onClick={() => isBusy ? running.current?.abort() : dialog.current?.close()}>
              {isBusy ? text.export.cancel : text.export.close}
            </button>
          </div>
        </form>
        <div role="status">
          {state.is === "streaming" && (
            <>
              <p>{text.export.streaming(state.part, state.entries, state.bytes)}</p>
              <progress aria-label={text.export.title} />
            </>
          )}
          {state.is === "saved" && <p>{text.export.saved(state.files, state.entries)}</p>}
          {state.is === "made" && <Progress made={state.made} />}
        </div>
        {state.is === "failed" && <ProblemNote problem={state.problem} />}
      </dialog>
    </>
  );
}

function isUnderWay({ state }: Made): boolean {
  return state === "queued" || state === "running";
}

function Progress({ made }: { made: Made }) {
  const { state, entries_done, error, parts } = made;
  return (
    <>
      <p>{text.export.made(state, entries_done)}</p>
      {error !== null && <p class="problem">{error}</p>}
      {isUnderWay(made) && <progress aria-label={text.export.title} />}
      <ul>
        {parts.filter(({ url }) => url !== undefined).map(({ part, entries, url }) => (
          <li key={part}>
            <a href={url!} download>{text.export.part(part, entries)}</a>
          </li>
        ))}
      </ul>
    </>
  );
}

/** Fetches one part after another and saves each as a file; a part at a time is in memory. */
async function saveParts(
  api: Api,
  parameters: Record<string, string>,
  signal: AbortSignal,
  tell: (state: State) => void,
): Promise<State> {
  let total = 0;
  let answer: Answer<Response> = await api.download("/export", parameters, signal);
  for (let part = 1;; part++) {
    if (isProblem(answer)) return { is: "failed", problem: answer };
    const entries = Number(answer.headers.get("audit-entries"));
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    let bytes = 0;
    for (const reader = answer.body!.getReader();;) {
      const { done, value } = await reader.read();
      if (done) break;
      chunks.push(value);
      bytes += value.length;
      tell({ is: "streaming", part, entries, bytes });
    }
    save(new Blob(chunks), /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1]);
    total += entries;
    const next = /<([^>]+)>; rel="next"/.exec(answer.headers.get("link") ?? "")?.[1];
    if (next === undefined) return { is: "saved", files: part, entries: total };
    answer = await api.download("/export", Object.fromEntries(new URL(next).searchParams), signal);
  }
}

function save(file: Blob, name = "audit-export"): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
