// The search: a query as text with completion, as conditions to build, and as terms that can be taken away. All are one
// string.
import { useState } from "preact/hooks";
import type { Api, Facets } from "./api.ts";
import { BuilderToggle, QueryBuilder } from "./query_builder.tsx";
import { QueryInput } from "./query_input.tsx";
import { termsOf, withoutTerm } from "./query_terms.ts";
import { text } from "./text.ts";

type Props = {
  api: Api;
  /** Of the address; `q` is the query. New ones come with every change of it. */
  parameters: URLSearchParams;
  facets: Facets | undefined;
  search: (query: string) => void;
};

export function QueryBox({ api, parameters, facets, search }: Props) {
  const query = parameters.get("q") ?? "";
  // What is typed is typed at an address. Once that has changed, by a chip, a facet or the browser's back, its query counts.
  const [draft, setDraft] = useState({ query, at: parameters });
  const typed = draft.at === parameters ? draft.query : query;
  const setTyped = (wanted: string) => setDraft({ query: wanted, at: parameters });
  const [isBuilding, setBuilding] = useState(false);
  const find = (wanted: string) => {
    setTyped(wanted);
    search(wanted);
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    find(typed.trim());
  };

  return (
    <>
      <form class="search" role="search" onSubmit={submit}>
        <label class="unseen" for="q">{text.search.label}</label>
        <QueryInput
          id="q"
          query={typed}
          facets={facets}
          change={setTyped}
          placeholder={text.search.placeholder}
          describedBy="q-help"
        />
        <button type="submit">{text.search.submit}</button>
        <BuilderToggle isOpen={isBuilding} toggle={() => setBuilding(!isBuilding)} controls="q-builder" />
        <span class="unseen" id="q-help">{text.search.help}</span>
      </form>
      <form id="q-builder" aria-label={text.builder.label} hidden={!isBuilding} onSubmit={submit}>
        {isBuilding && (
          <>
            <QueryBuilder api={api} query={typed} facets={facets} change={setTyped} />
            <button type="submit" class="second">{text.search.submit}</button>
          </>
        )}
      </form>
      {typed.trim() !== "" && (
        <ul class="chips" aria-label={text.search.terms}>
          {termsOf(typed).map((term, n) => (
            <li key={`${n} ${term}`}>
              <button
                type="button"
                title={term}
                aria-label={text.search.remove(term)}
                onClick={() => find(withoutTerm(typed, n))}
              >
                <bdi>{term}</bdi> <span aria-hidden="true">×</span>
              </button>
            </li>
          ))}
          <li>
            <button type="button" class="plain" onClick={() => find("")}>{text.search.clear}</button>
          </li>
        </ul>
      )}
    </>
  );
}
