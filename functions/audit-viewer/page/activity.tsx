// What happened: the search, and the entries that match it.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Entry, isProblem, type Page, type Problem } from "./api.ts";
import type { ViewProps } from "./app.tsx";
import { EntryList } from "./entry_list.tsx";
import { ProblemNote } from "./problem_note.tsx";
import { formatRoute, go } from "./route.ts";
import { text } from "./text.ts";

export function Activity({ api, membership, parameters }: ViewProps) {
  const q = parameters.get("q") ?? "";
  const organization = membership.organization_id;
  const [entries, setEntries] = useState<Entry[]>([]);
  const [page, setPage] = useState<Page>();
  const [problem, setProblem] = useState<Problem>();
  const [loading, setLoading] = useState(false);
  const asking = useRef<AbortController>(undefined);

  const load = useCallback(async (cursor?: string) => {
    asking.current?.abort();
    const { signal } = asking.current = new AbortController();
    setLoading(true);
    setProblem(undefined);
    const answer = await api.get<Page>("/logs", {
      organization_id: organization,
      q,
      cursor,
      limit: "100",
      include: cursor === undefined ? "total" : undefined,
    }, signal).catch(() => undefined);
    if (signal.aborted || answer === undefined) return;
    setLoading(false);
    if (isProblem(answer)) return setProblem(answer);
    setPage((before) => cursor === undefined ? answer : { ...before, ...answer });
    setEntries((before) => cursor === undefined ? answer.entries : [...before, ...answer.entries]);
  }, [api, organization, q]);

  useEffect(() => {
    setEntries([]);
    setPage(undefined);
    void load();
    return () => asking.current?.abort();
  }, [load]);

  const search = (event: SubmitEvent) => {
    event.preventDefault();
    const wanted = String(new FormData(event.currentTarget as HTMLFormElement).get("q")).trim();
    go(formatRoute("activity", "", { organization, q: wanted }));
  };

  return (
    <section class="activity">
      <h1 class="unseen">{text.views.activity}</h1>
      <form class="search" role="search" onSubmit={search}>
        <label class="unseen" for="q">{text.search.label}</label>
        <input id="q" name="q" key={q} defaultValue={q} placeholder={text.search.placeholder} spellcheck={false} />
        <button type="submit">{text.search.submit}</button>
      </form>
      <p class="total" aria-live="polite">
        {page?.total !== undefined && text.list.total(page.total.value, page.total.exact)}
      </p>
      {problem !== undefined && <ProblemNote problem={problem} retry={() => load(page?.next ?? undefined)} />}
      <EntryList
        entries={entries}
        organization={organization}
        loading={loading}
        more={problem === undefined && page?.next != null ? () => load(page.next!) : undefined}
      />
    </section>
  );
}
