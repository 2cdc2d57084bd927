// What happened: the search, and the entries that match it.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Entry, isProblem, type Page, type Problem } from "./api.ts";
import type { ViewProps } from "./app.tsx";
import { EntryList } from "./entry_list.tsx";
import { ExportButton } from "./export.tsx";
import { FacetPanel } from "./facets.tsx";
import { formatTime } from "./format.ts";
import { type News, NewsButton } from "./news.tsx";
import { ProblemNote } from "./problem_note.tsx";
import { QueryBox } from "./query_box.tsx";
import { formatRoute, go } from "./route.ts";
import { SavedSearches } from "./saved_searches.tsx";
import { text } from "./text.ts";

export function Activity({ api, membership, parameters, recheck }: ViewProps) {
  const q = parameters.get("q") ?? "";
  const organization = membership.organization_id;
  const [entries, setEntries] = useState<Entry[]>([]);
  const [page, setPage] = useState<Page>();
  const [since, setSince] = useState<string>();
  const [problem, setProblem] = useState<Problem>();
  const [loading, setLoading] = useState(false);
  const asking = useRef<AbortController>(undefined);

  const load = useCallback(async (cursor?: string) => {
    asking.current?.abort();
    const { signal } = asking.current = new AbortController();
    setLoading(true);
    setProblem(undefined);
    if (cursor === undefined) {
      void api.get<News>("/news", { organization_id: organization }, signal)
        .then((news) => signal.aborted || isProblem(news) || setSince(news.at), () => {});
    }
    const answer = await api.get<Page>("/logs", {
      organization_id: organization,
      q,
      cursor,
      limit: "100",
      include: cursor === undefined ? "total,facets" : undefined,
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

  const search = useCallback(
    (wanted: string) => go(formatRoute("activity", "", { organization, q: wanted })),
    [organization],
  );

  return (
    <section class="activity">
      <h1 class="unseen">{text.views.activity}</h1>
      <QueryBox api={api} query={q} facets={page?.facets} search={search} />
      <SavedSearches {...{ api, membership, search }} query={q} />
      <div class="total">
        <span role="status">
          {page?.total !== undefined && text.list.total(page.total.value, page.total.exact)}
        </span>
        <NewsButton {...{ api, membership, since, recheck }} load={() => void load()} />
        <ExportButton api={api} organization={organization} query={q} />
      </div>
      {problem !== undefined && <ProblemNote problem={problem} retry={() => load(page?.next ?? undefined)} />}
      {page?.facets !== undefined && <FacetPanel facets={page.facets} query={q} search={search} />}
      <EntryList
        entries={entries}
        organization={organization}
        loading={loading}
        more={problem === undefined && page?.next != null ? () => load(page.next!) : undefined}
      />
      {page?.archived_before != null && <p class="after">{text.list.archived(formatTime(page.archived_before))}</p>}
    </section>
  );
}
