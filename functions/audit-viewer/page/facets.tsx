// What the matching entries are made of: each count narrows the search, and a range of days can be picked.
import type { Count, Facets } from "./api.ts";
import { Days } from "./days.tsx";
import { quoted, withTerm } from "./query_terms.ts";
import { text } from "./text.ts";

const MOST = 6;

type Props = { facets: Facets; query: string; search: (query: string) => void };

export function FacetPanel({ facets, query, search }: Props) {
  const groups = (["action", "actor", "provider"] as const).filter((field) => facets[field].length > 0);
  if (facets.of === 0) return null;
  return (
    <details class="facets" open={matchMedia("(min-width: 46rem)").matches}>
      <summary>{text.facets.title}</summary>
      {!facets.complete && <p class="quiet">{text.facets.sample(facets.of)}</p>}
      <Days
        days={facets.day}
        pick={(from, to) => search(withTerm(query, "created", from === to ? from : `${from}..${to}`))}
      />
      <div class="groups">
        {groups.map((field) => (
          <section key={field} aria-label={text.facets.fields[field]}>
            <h2>{text.facets.fields[field]}</h2>
            <ul>
              {facets[field].slice(0, MOST).map((count) => (
                <li key={count.value}>
                  <Narrow count={count} onClick={() => search(withTerm(query, field, quoted(count.value ?? "")))} />
                </li>
              ))}
            </ul>
          </section>
        ))}
      </div>
    </details>
  );
}

function Narrow({ count, onClick }: { count: Count; onClick: () => void }) {
  return (
    <button type="button" class="plain" onClick={onClick}>
      <bdi>{count.email ?? count.value}</bdi> <span class="quiet">{count.count.toLocaleString()}</span>
    </button>
  );
}
