// What happened: the search, and the entries that match it.
import { useCallback, useEffect, useState } from "preact/hooks";
import { isProblem } from "./api.ts";
import type { ViewProps } from "./app.tsx";
import { EntryList } from "./entry_list.tsx";
import { ExportButton } from "./export.tsx";
import { FacetPanel } from "./facets.tsx";
import { formatTime } from "./format.ts";
import { type News, NewsButton } from "./news.tsx";
import { usePages } from "./pages.ts";
import { ProblemNote } from "./problem_note.tsx";
import { QueryBox } from "./query_box.tsx";
import { formatRoute, go } from "./route.ts";
import { SavedSearches } from "./saved_searches.tsx";
import { text } from "./text.ts";

export function Activity({ api, membership, parameters, recheck }: ViewProps) {
  const q = parameters.get("q") ?? "";
  const organization = membership.organization_id;
  const pages = usePages(api, organization, q);
  const { first, asked, problem, reload } = pages;
  const [since, setSince] = useState<string>();

  // What is newer than the list is newer than when it was asked for.
  useEffect(() => {
    const asking = new AbortController();
    void api.get<News>("/news", { organization_id: organization }, asking.signal)
      .then((news) => asking.signal.aborted || isProblem(news) || setSince(news.at), () => {});
    return () => asking.abort();
  }, [api, organization, asked]);

  const search = useCallback(
    (wanted: string) => go(formatRoute("activity", "", { organization, q: wanted })),
    [organization],
  );

  return (
    <section class="activity">
      <h1 class="unseen">{text.views.activity}</h1>
      <QueryBox {...{ api, parameters, search }} facets={first?.facets} />
      <SavedSearches {...{ api, membership, search }} query={q} />
      <div class="total">
        <span role="status">
          {first?.total !== undefined && text.list.total(first.total.value, first.total.exact)}
        </span>
        <NewsButton {...{ api, membership, since, recheck }} load={reload} />
        <ExportButton api={api} organization={organization} query={q} />
      </div>
      {problem !== undefined && <ProblemNote problem={problem} retry={pages.retry} />}
      {first?.facets !== undefined && <FacetPanel facets={first.facets} query={q} search={search} />}
      <EntryList pages={pages} organization={organization} />
      {pages.archivedBefore != null && <p class="after">{text.list.archived(formatTime(pages.archivedBefore))}</p>}
    </section>
  );
}
