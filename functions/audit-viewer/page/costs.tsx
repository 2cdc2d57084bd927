// What was spent, by one thing at a time: exact digits in a table, a bar beside each.
import { useCallback, useEffect, useState } from "preact/hooks";
import { isProblem, type Problem } from "./api.ts";
import type { ViewProps } from "./app.tsx";
import { useLast } from "./last.ts";
import { ProblemNote } from "./problem_note.tsx";
import { quoted, withTerm } from "./query_terms.ts";
import { formatRoute, go } from "./route.ts";
import { text } from "./text.ts";

const BY = ["user", "provider", "model", "day"] as const;
type By = typeof BY[number];
/** The field of the query language that a row is about; of models there is none. */
const FIELDS: Record<By, string | undefined> = {
  user: "actor",
  provider: "provider",
  model: undefined,
  day: "created",
};

type Row = Partial<Record<By | "email", string | null>> & { cost: string; entries: number };
type Sums = { rows: Row[]; total: { cost: string; entries: number }; currency_note?: string };

export function Costs({ api, membership, parameters }: ViewProps) {
  const organization = membership.organization_id;
  const by = BY.find((each) => each === parameters.get("by")) ?? "provider";
  const q = parameters.get("q") ?? "created:30d";
  const [sums, setSums] = useState<Sums | Problem>();
  const ask = useLast();
  const load = useCallback(async () => {
    const isLast = ask();
    setSums(undefined);
    const answer = await api.get<Sums>("/costs", { organization_id: organization, q, by });
    if (isLast()) setSums(answer);
  }, [api, organization, q, by]);
  useEffect(() => void load(), [load]);
  const show = (changed: { by?: string; q?: string }) =>
    go(formatRoute("costs", "", { organization, by, q, ...changed }));

  return (
    <section>
      <h1>{text.views.costs}</h1>
      <form
        class="search"
        key={q}
        onSubmit={(event) => {
          event.preventDefault();
          show({ q: String(new FormData(event.currentTarget).get("q")).trim() || "created:30d" });
        }}
      >
        <label>
          {text.costs.by}{" "}
          <select value={by} onChange={({ currentTarget }) => show({ by: currentTarget.value })}>
            {BY.map((each) => <option key={each} value={each}>{text.costs.kinds[each]}</option>)}
          </select>
        </label>
        <label class="wide">
          <span class="unseen">{text.search.label}</span>
          <input name="q" defaultValue={q} spellcheck={false} />
        </label>
        <button type="submit">{text.search.submit}</button>
      </form>
      <div aria-live="polite">
        {sums === undefined && <p>{text.list.loading}</p>}
        {sums !== undefined && isProblem(sums) && <ProblemNote problem={sums} retry={load} />}
        {sums !== undefined && !isProblem(sums) && <Table sums={sums} by={by} q={q} organization={organization} />}
      </div>
    </section>
  );
}

function Table({ sums, by, q, organization }: { sums: Sums; by: By; q: string; organization: string }) {
  const most = Math.max(...sums.rows.map(({ cost }) => Number(cost)));
  const field = FIELDS[by];
  return (
    <>
      <table class="costs">
        <caption>{text.costs.total(sums.total.cost, sums.total.entries)}</caption>
        <thead>
          <tr>
            <th scope="col">{text.costs.kinds[by]}</th>
            <th scope="col" class="number">{text.list.cost}</th>
            <th scope="col" class="number">{text.costs.entries}</th>
            <td />
          </tr>
        </thead>
        <tbody>
          {sums.rows.map((row) => {
            const value = row[by] ?? null;
            const name = row.email ?? value ?? text.costs.none;
            return (
              <tr key={value}>
                <th scope="row" dir="auto">
                  {field === undefined || value === null
                    ? name
                    : (
                      <a href={formatRoute("activity", "", { organization, q: withTerm(q, field, quoted(value)) })}>
                        {name}
                      </a>
                    )}
                </th>
                <td class="number">{row.cost}</td>
                <td class="number">{row.entries.toLocaleString()}</td>
                <td class="bar-of">
                  <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
                    <rect width={most > 0 ? Math.max(0, 100 * Number(row.cost) / most) : 0} height="8" />
                  </svg>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {sums.currency_note !== undefined && <p class="quiet">{sums.currency_note}</p>}
    </>
  );
}
