// What a rule would have raised, over entries that there are: nothing of it stays.
import { useState } from "preact/hooks";
import { type Api, isProblem, type Problem } from "./api.ts";
import { formatTime } from "./format.ts";
import { ProblemNote } from "./problem_note.tsx";
import { formatRoute } from "./route.ts";
import { text } from "./text.ts";

const PERIODS = ["24h", "7d", "30d", "90d"];

type Firing = {
  first_seen_at: string;
  last_seen_at: string;
  group: string;
  occurrences: number;
  seen: number | null;
  entries: string[];
};
type Trial = { from: string; to: string; next: string | null; alerts: number; would_fire: Firing[] };

type Props = {
  api: Api;
  organization: string;
  /** The rule as it stands in the form. */
  rule: () => object;
  /** Called with what is wrong with a field of the rule; undefined where nothing is. */
  refused: (problem: Problem | undefined) => void;
};

export function RulePreview({ api, organization, rule, refused }: Props) {
  const [period, setPeriod] = useState("7d");
  const [trial, setTrial] = useState<Trial>();
  const [problem, setProblem] = useState<Problem>();
  const [isBusy, setBusy] = useState(false);

  const look = async (from: string, before?: Trial) => {
    setBusy(true);
    const answer = await api.post<Trial>("/rules/preview", { organization_id: organization, rule: rule(), from });
    setBusy(false);
    if (isProblem(answer)) {
      // What is wrong with a field is said there.
      const isOfField = answer.path?.startsWith("/rule/") === true;
      refused(isOfField ? { ...answer, path: answer.path!.slice("/rule".length) } : undefined);
      return setProblem(isOfField ? undefined : answer);
    }
    refused(undefined);
    setProblem(undefined);
    setTrial(
      before === undefined ? answer : {
        ...answer,
        from: before.from,
        alerts: before.alerts + answer.alerts,
        would_fire: [...before.would_fire, ...answer.would_fire],
      },
    );
  };

  return (
    <section class="preview" aria-labelledby="preview-title">
      <h2 id="preview-title">{text.preview.title}</h2>
      <div class="ask">
        <label>
          {text.preview.period}{" "}
          <select value={period} onChange={({ currentTarget }) => setPeriod(currentTarget.value)}>
            {PERIODS.map((each) => <option key={each} value={each}>{text.preview.periods[each]}</option>)}
          </select>
        </label>
        <button type="button" disabled={isBusy} onClick={() => look(period)}>{text.preview.look}</button>
      </div>
      {problem !== undefined && <ProblemNote problem={problem} retry={() => look(period)} />}
      <div role="status">
        {isBusy ? text.preview.looking : trial !== undefined &&
          text.preview.found(trial.alerts, trial.would_fire.length, formatTime(trial.from), formatTime(trial.to))}
      </div>
      {trial !== undefined && trial.would_fire.length > 0 && (
        <div class="wide" tabIndex={0} role="region" aria-label={text.preview.table}>
          <table class="firings">
            <thead>
              <tr>
                {[text.preview.when, text.preview.about, text.preview.times, text.preview.entries].map((label) => (
                  <th key={label} scope="col">{label}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {trial.would_fire.map((firing, n) => (
                <tr key={n}>
                  <td>
                    {formatTime(firing.first_seen_at)}
                    {firing.last_seen_at !== firing.first_seen_at && ` – ${formatTime(firing.last_seen_at)}`}
                  </td>
                  <td dir="auto">{groupText(firing.group)}</td>
                  <td class="number">{firing.occurrences.toLocaleString()}</td>
                  <td>
                    {firing.entries.map((name) => (
                      <a key={name} href={formatRoute("entry", name, { organization })}>{name}</a>
                    ))}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {trial?.next != null && (
        <button type="button" disabled={isBusy} onClick={() => look(trial.next!, trial)}>{text.preview.more}</button>
      )}
    </section>
  );
}

/** `{"actor": "ada"}` as `actor ada`; what is no such text is shown as it is. */
function groupText(group: string): string {
  try {
    return Object.entries(JSON.parse(group) as object).map(([field, value]) => `${field} ${value}`).join(", ");
  } catch {
    return group;
  }
}
