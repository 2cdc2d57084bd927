// Searches that are kept, one's own and those that admins share; and what can be made of the search that is shown.
import { useCallback, useEffect, useId, useState } from "preact/hooks";
import { type Api, isProblem, type Membership, type Problem } from "./api.ts";
import { ConfirmButton } from "./confirm.tsx";
import { ProblemNote } from "./problem_note.tsx";
import { termsOf } from "./query_terms.ts";
import { formatRoute } from "./route.ts";
import { text } from "./text.ts";

type SavedSearch = { id: string; name: string; query: string; shared: boolean; own: boolean };

type Props = { api: Api; membership: Membership; query: string; search: (query: string) => void };

export function SavedSearches({ api, membership, query, search }: Props) {
  const organization = membership.organization_id;
  const isAdmin = membership.as === "admin";
  const [searches, setSearches] = useState<SavedSearch[]>([]);
  const [problem, setProblem] = useState<Problem>();
  const [name, setName] = useState("");
  const [isShared, setShared] = useState(false);
  const [says, setSays] = useState("");
  const id = useId();

  const load = useCallback(async () => {
    const answer = await api.get<{ searches: SavedSearch[] }>("/searches", { organization_id: organization });
    if (isProblem(answer)) return setProblem(answer);
    setProblem(undefined);
    setSearches(answer.searches);
  }, [api, organization]);
  useEffect(() => void load(), [load]);

  const done = async (answer: SavedSearch | Problem, told: (name: string) => string) => {
    setSays("");
    if (isProblem(answer)) return setProblem(answer);
    setSays(told(answer.name));
    await load();
  };
  const save = async (event: SubmitEvent) => {
    event.preventDefault();
    const body = { organization_id: organization, name, query, ...(isShared ? { shared: true } : {}) };
    const answer = await api.post<SavedSearch>("/searches", body);
    if (!isProblem(answer)) setName("");
    await done(answer, text.saved.kept);
  };
  const isOfName = problem?.path === "/name";
  return (
    <details class="saved-searches">
      <summary>{text.saved.title(searches.length)}</summary>
      {searches.length > 0 && (
        <ul aria-label={text.saved.list}>
          {searches.map((each) => (
            <li key={each.id}>
              <button type="button" class="plain" title={each.query} onClick={() => search(each.query)}>
                <bdi>{each.name}</bdi>
              </button>
              {each.shared && <span class="quiet">{text.saved.shared}</span>}
              {(each.shared ? isAdmin : each.own) && (
                <span class="buttons">
                  {isAdmin && (
                    <button
                      type="button"
                      aria-label={each.shared ? text.saved.unsharing(each.name) : text.saved.sharing(each.name)}
                      onClick={async () =>
                        done(
                          await api.patch<SavedSearch>(`/searches/${each.id}`, { shared: !each.shared }),
                          each.shared ? text.saved.isUnshared : text.saved.isShared,
                        )}
                    >
                      {each.shared ? text.saved.unshare : text.saved.share}
                    </button>
                  )}
                  <ConfirmButton
                    label={text.saved.remove}
                    about={each.name}
                    title={text.saved.removeTitle(each.name)}
                    confirm={async () =>
                      done(await api.remove<SavedSearch>(`/searches/${each.id}`), text.saved.removed)}
                  >
                    <p>{each.shared ? text.saved.removeShared : text.saved.removeOwn}</p>
                  </ConfirmButton>
                </span>
              )}
            </li>
          ))}
        </ul>
      )}
      <form onSubmit={save}>
        <label for={id}>
          {text.saved.name}
          <input
            id={id}
            value={name}
            required
            maxLength={100}
            aria-invalid={isOfName}
            aria-describedby={isOfName ? `${id}-wrong` : undefined}
            onInput={({ currentTarget }) => setName(currentTarget.value)}
          />
        </label>
        {isAdmin && (
          <label class="check">
            <input
              type="checkbox"
              checked={isShared}
              onChange={({ currentTarget }) => setShared(currentTarget.checked)}
            />{" "}
            {text.saved.forAll}
          </label>
        )}
        <button type="submit" class="second">{text.saved.save}</button>
        {isAdmin && (
          <a href={formatRoute("rule", "new", { organization, match: matchOf(query), name })}>{text.saved.alert}</a>
        )}
      </form>
      {isOfName && <p id={`${id}-wrong`} class="problem" role="alert">{problem!.detail} {problem!.hint}</p>}
      {problem !== undefined && !isOfName && <ProblemNote problem={problem} retry={load} />}
      <p class="quiet" role="status">{says}</p>
    </details>
  );
}

/** A rule looks at entries as they come: when and where they were written has no place in it. */
function matchOf(query: string): string {
  return termsOf(query).filter((term) => !/^-?(created|chain|seq):/.test(term)).join(" ");
}
