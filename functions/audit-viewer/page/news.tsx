// Whether there is anything newer than what is shown. Only counted: a search leaves an entry, and would be news itself.
import { useEffect, useState } from "preact/hooks";
import { type Api, isProblem, type Membership } from "./api.ts";
import { text } from "./text.ts";

const EVERY = 10_000;

export type News = { count: number; more: boolean; access: Membership["access"]; at: string };

type Props = {
  api: Api;
  membership: Membership;
  /** The time of what is shown. */
  since: string | undefined;
  load: () => void;
  /** Asks anew what the caller may read. */
  recheck: () => void;
};

export function NewsButton({ api, membership, since, load, recheck }: Props) {
  const [news, setNews] = useState<News>();
  const { organization_id, access } = membership;
  useEffect(() => {
    setNews(undefined);
    if (since === undefined) return;
    const timer = setInterval(async () => {
      if (document.hidden) return;
      const answer = await api.get<News>("/news", { organization_id, since });
      if (isProblem(answer)) return;
      setNews(answer);
      if (answer.access !== access) recheck();
    }, EVERY);
    return () => clearInterval(timer);
  }, [api, organization_id, access, since, recheck]);

  return (
    <span class="news" role="status">
      {news !== undefined && news.count > 0 && (
        <button type="button" onClick={load}>{text.list.newer(news.count, news.more)}</button>
      )}
    </span>
  );
}
