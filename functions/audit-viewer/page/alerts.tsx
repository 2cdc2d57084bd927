// What the rules found: read by those who read everything, moved by admins.
import { useCallback, useEffect, useState } from "preact/hooks";
import { isProblem, type Problem } from "./api.ts";
import type { ViewProps } from "./app.tsx";
import { formatTime } from "./format.ts";
import { useLast } from "./last.ts";
import { ProblemNote } from "./problem_note.tsx";
import { formatRoute, go } from "./route.ts";
import { text } from "./text.ts";

type State = "open" | "acknowledged" | "silenced" | "resolved";
type Alert = {
  id: string;
  rule_id: string;
  severity: string;
  title: string;
  reason: Record<string, unknown>;
  state: State;
  opened_at: string;
  last_seen_at: string;
  silenced_until: string | null;
  occurrences: number;
  entries: string[];
};
type Page = { alerts: Alert[]; next: string | null };
type Move = "acknowledge" | "silence" | "accept" | "resolve" | "reopen";

const SHOWN = ["unresolved", "open", "acknowledged", "silenced", "resolved"] as const;
const MOVES: Record<State, Move[]> = {
  open: ["acknowledge", "silence", "accept", "resolve"],
  acknowledged: ["silence", "accept", "resolve"],
  silenced: ["accept", "resolve", "reopen"],
  resolved: ["reopen"],
};

export function Alerts({ api, membership, parameters }: ViewProps) {
  const organization = membership.organization_id;
  const state = SHOWN.find((each) => each === parameters.get("state")) ?? "unresolved";
  const [page, setPage] = useState<Page>();
  const [problem, setProblem] = useState<Problem>();

  const ask = useLast();
  const load = useCallback(async (cursor?: string) => {
    const isLast = ask();
    const answer = await api.get<Page>("/alerts", { organization_id: organization, state, cursor });
    if (!isLast()) return;
    if (isProblem(answer)) return setProblem(answer);
    setProblem(undefined);
    setPage((before) => ({
      ...answer,
      alerts: [...(cursor === undefined ? [] : before?.alerts ?? []), ...answer.alerts],
    }));
  }, [api, organization, state]);
  useEffect(() => void load(), [load]);

  const move = async (id: string, how: Move, body: object) => {
    const answer = await api.post<Alert>(`/alerts/${id}/${how}`, body);
    if (isProblem(answer)) return setProblem(answer);
    setProblem(undefined);
    setPage((before) => before && { ...before, alerts: before.alerts.map((each) => each.id === id ? answer : each) });
  };

  return (
    <section>
      <h1>{text.views.alerts}</h1>
      <p>
        <a href={formatRoute("rules", "", { organization })}>{text.views.rules}</a>
      </p>
      <label>
        {text.alerts.show}{" "}
        <select
          value={state}
          onChange={({ currentTarget }) => go(formatRoute("alerts", "", { organization, state: currentTarget.value }))}
        >
          {SHOWN.map((each) => <option key={each} value={each}>{text.alerts.states[each]}</option>)}
        </select>
      </label>
      {problem !== undefined && <ProblemNote problem={problem} retry={() => load()} />}
      <ul class="alerts" aria-live="polite">
        {page?.alerts.map((alert) => (
          <li key={alert.id}>
            <AlertItem alert={alert} organization={organization} move={membership.as === "admin" ? move : undefined} />
          </li>
        ))}
      </ul>
      {page?.alerts.length === 0 && <p>{text.alerts.none}</p>}
      {page?.next != null && <button type="button" onClick={() => load(page.next!)}>{text.list.more}</button>}
    </section>
  );
}

type ItemProps = {
  alert: Alert;
  organization: string;
  /** Undefined where the reader may not. */
  move: ((id: string, how: Move, body: object) => void) | undefined;
};

function AlertItem({ alert, organization, move }: ItemProps) {
  const { id, rule_id, severity, title, state, occurrences, last_seen_at, silenced_until, entries, reason } = alert;
  return (
    <article class={`alert ${severity}`} aria-label={title}>
      <h2 dir="auto">{title}</h2>
      <p class="quiet">
        {text.alerts.severities[severity] ?? severity} · {text.alerts.states[state]}
        {silenced_until !== null && state === "silenced" && ` ${text.alerts.until(formatTime(silenced_until))}`} ·{" "}
        {text.alerts.seen(occurrences, formatTime(last_seen_at))}
      </p>
      {entries.length > 0 && (
        <p>
          {text.alerts.entries}{" "}
          {entries.map((name) => <a key={name} href={formatRoute("entry", name, { organization })}>{name}</a>)}
        </p>
      )}
      <details>
        <summary>{text.alerts.reason}</summary>
        <pre tabIndex={0}>{JSON.stringify(reason, null, 1)}</pre>
        <a href={formatRoute("rule", rule_id, { organization })}>{text.alerts.rule}</a>
      </details>
      {move !== undefined && (
        <div class="buttons">
          {MOVES[state].filter((how) => how !== "accept" || isAnomaly(reason)).map((how) => (
            <button
              key={how}
              type="button"
              onClick={() => move(id, how, how === "silence" ? { until: "8h" } : {})}
            >
              {text.alerts.moves[how]}
            </button>
          ))}
        </div>
      )}
    </article>
  );
}

/** Only these say what was usual, and can become it. */
function isAnomaly(reason: Record<string, unknown>): boolean {
  return "usual" in reason;
}
