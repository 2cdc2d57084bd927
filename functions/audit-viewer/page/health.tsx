// How the log stands, in plain words, and the way out of what does not stand well.
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import { isProblem, type Problem, type Retention } from "./api.ts";
import type { ViewProps } from "./app.tsx";
import { formatTime } from "./format.ts";
import { ProblemNote } from "./problem_note.tsx";
import { text } from "./text.ts";

type State = "well" | "wrong" | "missing";
type Finding = { kind: string; subject: string; seen: number; first_seen_at: string; last_seen_at: string };
type Status = {
  at: string;
  capture: { state: State; tables: number; broken: number };
  sealing: {
    state: State;
    waiting: number;
    since: string | null;
    published_at: string | null;
    origin: string | null;
    size: number | null;
    root: string | null;
  };
  verification: { state: State; was_verified: boolean | null; verified_at: string | null; begun_at: string | null };
  findings: { state: State; open: Finding[]; of_project: number };
  archive: { state: State; entries: number; read_back: number; read_back_at: string | null };
  outside: {
    state: State;
    kinds: {
      kind: string;
      receivers: number;
      behind: number;
      behind_since: string | null;
      last_success: string | null;
    }[];
  };
  delivery: {
    state: State;
    channels: number;
    disabled: number;
    failing: number;
    waiting: number;
    dead: number;
    oldest_due: string | null;
    succeeded_at: string | null;
  };
  retention: Retention;
};

const words = text.health;
const at = (time: string | null) => time === null ? words.never : formatTime(time);

export function Health({ api, membership }: ViewProps) {
  const organization_id = membership.organization_id;
  const [status, setStatus] = useState<Status | Problem>();
  const load = useCallback(
    async () => setStatus(await api.get<Status>("/status", { organization_id })),
    [api, organization_id],
  );
  useEffect(() => void load(), [load]);

  if (status === undefined) return <p aria-live="polite">{text.list.loading}</p>;
  if (isProblem(status)) return <ProblemNote problem={status} retry={load} />;
  const { capture, sealing, verification, findings, archive, outside, delivery, retention } = status;
  const wrong = [capture, sealing, verification, findings, archive, outside, delivery]
    .filter(({ state }) => state === "wrong").length;
  return (
    <section class="health">
      <h1>{text.views.health}</h1>
      <p role="status">
        {words.summary(wrong)} <span class="quiet">{words.asOf(formatTime(status.at))}</span>
      </p>
      <button type="button" onClick={load}>{words.again}</button>
      <div class="parts">
        <Part name="capture" state={capture.state}>
          <p>{words.capture.says(capture.tables, capture.broken)}</p>
        </Part>
        <Part name="sealing" state={sealing.state}>
          <p>{words.sealing.says(sealing.waiting, sealing.since && formatTime(sealing.since))}</p>
          {sealing.published_at !== null && <p>{words.sealing.last(at(sealing.published_at))}</p>}
          {sealing.origin !== null && (
            <details>
              <summary>{words.sealing.checkpoint}</summary>
              <p>
                <code>{sealing.origin}</code> · {words.sealing.size(sealing.size ?? 0)} · <code>{sealing.root}</code>
              </p>
            </details>
          )}
        </Part>
        <Part name="verification" state={verification.state}>
          <p>{words.verification.says(verification.was_verified, at(verification.verified_at))}</p>
          {verification.begun_at !== null && <p>{words.verification.begun(at(verification.begun_at))}</p>}
        </Part>
        <Part name="findings" state={findings.state}>
          <p>{words.findings.says(findings.open.length, findings.of_project)}</p>
          {findings.open.length > 0 && (
            <ul>
              {findings.open.map(({ kind, subject, seen, first_seen_at, last_seen_at }) => (
                <li key={`${kind} ${subject}`}>
                  {words.findings.kinds[kind] ?? kind} <bdi>{subject}</bdi>
                  <span class="quiet">{` · ${words.findings.seen(seen, at(first_seen_at), at(last_seen_at))}`}</span>
                </li>
              ))}
            </ul>
          )}
        </Part>
        <Part name="archive" state={archive.state}>
          <p>{words.archive.says(archive.entries, archive.read_back, at(archive.read_back_at))}</p>
        </Part>
        <Part name="outside" state={outside.state}>
          {outside.kinds.length === 0 ? <p>{words.outside.none}</p> : (
            <ul>
              {outside.kinds.map(({ kind, receivers, behind, behind_since, last_success }) => (
                <li key={kind}>
                  {words.outside.says(words.outside.kinds[kind] ?? kind, receivers, behind, at(last_success))}
                  {behind > 0 && behind_since !== null && ` ${words.outside.since(at(behind_since))}`}
                </li>
              ))}
            </ul>
          )}
        </Part>
        <Part name="delivery" state={delivery.state}>
          <p>{words.delivery.says(delivery.channels, at(delivery.succeeded_at))}</p>
          {delivery.disabled + delivery.failing + delivery.dead + delivery.waiting > 0 && (
            <p>{words.delivery.troubles(delivery.disabled, delivery.failing, delivery.dead, delivery.waiting)}</p>
          )}
        </Part>
        <Part name="retention">
          <RetentionWords retention={retention} />
        </Part>
      </div>
    </section>
  );
}

type PartName = "capture" | "sealing" | "verification" | "findings" | "archive" | "outside" | "delivery" | "retention";

function Part({ name, state, children }: { name: PartName; state?: State; children: ComponentChildren }) {
  const { title, wayOut }: { title: string; wayOut?: string } = words[name];
  return (
    <article class={`part ${state ?? ""}`} aria-labelledby={`health-${name}`}>
      <h2 id={`health-${name}`}>{title}</h2>
      {state !== undefined && <p class="state">{words.states[state]}</p>}
      {children}
      {state !== undefined && state !== "well" && <p class="way-out">{wayOut}</p>}
    </article>
  );
}

/** How long entries are kept, what waits, and what holds it. */
export function RetentionWords({ retention }: { retention: Retention }) {
  const { database_days, archive_days, chosen, next, oldest_in_database, oldest_in_archive, holds } = retention;
  return (
    <>
      <p>
        {words.retention.says(database_days, archive_days)} <span class="quiet">{words.retention.chosen(chosen)}</span>
      </p>
      {next !== null && <p>{words.retention.next(next.database_days, next.archive_days, formatTime(next.at))}</p>}
      <p class="quiet">{words.retention.oldest(at(oldest_in_database), at(oldest_in_archive))}</p>
      {holds.length > 0 && <p>{words.retention.holds(holds.map(({ name }) => name).join(", "))}</p>}
    </>
  );
}
