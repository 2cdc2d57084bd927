// One entry: what, who, where, when, what changed, whether it is proved, and what else belongs to it.
import { useCallback, useEffect, useState } from "preact/hooks";
import { type Entry, type EntryView, isProblem, type Membership, type Problem } from "./api.ts";
import type { ViewProps } from "./app.tsx";
import { Changes } from "./changes.tsx";
import { actorOf, countryName, formatTime } from "./format.ts";
import { useLast } from "./last.ts";
import { ProblemNote } from "./problem_note.tsx";
import { ProofState } from "./proof_state.tsx";
import { quoted } from "./query_terms.ts";
import { formatRoute } from "./route.ts";
import { text } from "./text.ts";

export function EntryPage({ api, config, membership, name }: ViewProps) {
  const organization = membership.organization_id;
  const [view, setView] = useState<EntryView | Problem>();
  const ask = useLast();
  const load = useCallback(async () => {
    const isLast = ask();
    setView(undefined);
    const answer = await api.get<EntryView>(`/logs/${encodeURIComponent(name)}`, { organization_id: organization });
    if (isLast()) setView(answer);
  }, [api, organization, name]);
  useEffect(() => void load(), [load]);

  if (view === undefined) return <p aria-live="polite">{text.list.loading}</p>;
  if (isProblem(view)) return <ProblemNote problem={view} retry={load} />;
  const { entry, entry_text, place, previous, next, request } = view;
  const others = request.filter((other) => other.name !== entry.name);
  return (
    <article class="entry">
      <header>
        <h1>{entry.action}</h1>
        <span class={`outcome ${entry.outcome}`}>{text.outcome[entry.outcome]}</span>
        <CopyLink />
      </header>
      <ProofState {...{ api, config, entry, organization }} entryText={entry_text} />
      <Facts entry={entry} place={place} membership={membership} />
      <Changes details={entry.details} />
      {others.length > 0 && <Others title={text.entry.request} entries={others} organization={organization} />}
      <nav class="neighbours" aria-label={text.entry.chain(entry.chain)}>
        {previous !== null && <a href={formatRoute("entry", previous.name, { organization })}>{text.entry.previous}</a>}
        {next !== null && <a href={formatRoute("entry", next.name, { organization })}>{text.entry.next}</a>}
      </nav>
      <details class="raw">
        <summary>{text.entry.raw}</summary>
        <pre tabIndex={0}>{entry_text}</pre>
        <p class="hash">
          {text.entry.hash} <code>{entry.hash}</code>
        </p>
      </details>
    </article>
  );
}

type FactsProps = { entry: Entry; place: EntryView["place"]; membership: Membership };

function Facts({ entry, place, membership }: FactsProps) {
  const { created_at, resource_type, resource_id } = entry;
  const { organization_id: organization, time_zone } = membership;
  const about = resource_type !== null && resource_id !== null
    ? formatRoute("activity", "", {
      organization,
      q: `resource_type:${quoted(resource_type)} resource_id:${quoted(resource_id)}`,
    })
    : undefined;
  const by = entry.created_by === null
    ? undefined
    : formatRoute("activity", "", { organization, q: `actor:${entry.created_by}` });
  return (
    <dl class="facts">
      <dt>{text.list.when}</dt>
      <dd>
        <time dateTime={created_at}>{formatTime(created_at)}</time>
        <span class="quiet">
          {[...new Set([time_zone, "UTC"])].map((zone) => ` · ${formatTime(created_at, zone)} ${zone}`)}
        </span>
      </dd>
      <dt>{text.list.who}</dt>
      <dd dir="auto">
        <bdi>{by === undefined ? actorOf(entry) : <a href={by}>{actorOf(entry)}</a>}</bdi>
        <span class="quiet">{` · ${text.actor[entry.actor_type] ?? entry.actor_type}`}</span>
      </dd>
      <dt>{text.list.resource}</dt>
      <dd dir="auto">
        <bdi>{[resource_type, resource_id].filter(Boolean).join(" ") || text.entry.nothing}</bdi>
        {about !== undefined && (
          <>
            · <a href={about}>{text.entry.history}</a>
          </>
        )}
      </dd>
      {place !== null && (
        <>
          <dt>{text.entry.where}</dt>
          <dd>
            {[place.city, place.region === place.city ? null : place.region, countryName(place.country)]
              .filter(Boolean).join(", ")}
            {place.attribution !== null && <span class="quiet">{` · ${place.attribution}`}</span>}
          </dd>
        </>
      )}
      <Fact label={text.entry.client} value={[entry.ip_address, entry.user_agent].filter(Boolean).join(" · ")} />
      <Fact label={text.entry.provider} value={entry.provider} />
      <Fact label={text.list.cost} value={entry.cost} />
      <Fact label={text.entry.requestId} value={entry.request_id} />
      <Fact label={text.entry.name} value={entry.name} />
    </dl>
  );
}

function Fact({ label, value }: { label: string; value: string | null }) {
  if (!value) return null;
  return (
    <>
      <dt>{label}</dt>
      <dd dir="auto">{value}</dd>
    </>
  );
}

function Others({ title, entries, organization }: { title: string; entries: Entry[]; organization: string }) {
  return (
    <section>
      <h2>{title}</h2>
      <ul>
        {entries.map((entry) => (
          <li key={entry.name}>
            <a href={formatRoute("entry", entry.name, { organization })}>{entry.action}</a>{" "}
            {formatTime(entry.created_at)}
          </li>
        ))}
      </ul>
    </section>
  );
}

function CopyLink() {
  const [copied, setCopied] = useState(false);
  const copy = () => void navigator.clipboard.writeText(location.href).then(() => setCopied(true));
  return <button type="button" onClick={copy}>{copied ? text.entry.copied : text.entry.copy}</button>;
}
