// The frame around every view: who looks, at which organisation, and where to go.
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { Activity } from "./activity.tsx";
import { Alerts } from "./alerts.tsx";
import { type Access, type Api, isProblem, type Membership, type Problem } from "./api.ts";
import type { Config } from "./config.ts";
import { Costs } from "./costs.tsx";
import { EntryPage } from "./entry.tsx";
import { formatTime } from "./format.ts";
import { later } from "./later.tsx";
import { ProblemNote } from "./problem_note.tsx";
import { formatRoute, go, useRoute } from "./route.ts";
import type { Auth, Session } from "./session.ts";
import { SignIn } from "./sign_in.tsx";
import { text } from "./text.ts";

export type ViewProps = {
  api: Api;
  config: Config;
  membership: Membership;
  parameters: URLSearchParams;
  name: string;
  /** Asks anew what the caller may read. */
  recheck: () => void;
};

export type View = (props: ViewProps) => preact.JSX.Element;

/** In the navigation, and besides. */
const VIEWS: Record<string, View> = {
  activity: Activity,
  alerts: Alerts,
  costs: Costs,
  reports: later(() => import("./reports.tsx").then(({ Reports }) => Reports)),
  health: later(() => import("./health.tsx").then(({ Health }) => Health)),
  settings: later(() => import("./settings.tsx").then(({ Settings }) => Settings)),
};
/** Of these a member reads nothing, and an auditor nothing of the second. */
const FOR_ALL_READERS = ["alerts", "reports", "health", "rule", "rules"];
const FOR_ADMINS = ["settings"];
const OTHERS: Record<string, View> = {
  entry: EntryPage,
  rule: later(() => import("./rule_editor.tsx").then(({ RuleEditor }) => RuleEditor)),
  rules: later(() => import("./rules.tsx").then(({ Rules }) => Rules)),
};

/** By what addresses say, which may be anything. */
const BY_NAME = new Map(Object.entries({ ...VIEWS, ...OTHERS }));

export function App({ config, auth, api }: { config: Config; auth: Auth; api: Api }) {
  // Undefined until supabase-js has looked.
  const [session, setSession] = useState<Session | null>();
  const [wasSignedIn, setWasSignedIn] = useState(false);
  useEffect(() => {
    const { data } = auth.onAuthStateChange((_event, next) => {
      setSession(next);
      if (next !== null) setWasSignedIn(true);
    });
    return () => data.subscription.unsubscribe();
  }, [auth]);

  if (session === undefined) return null;
  if (session === null) return <SignIn auth={auth} expired={wasSignedIn} />;
  return <SignedIn key={session.user.id} {...{ config, auth, api }} email={session.user.email ?? session.user.id} />;
}

function SignedIn({ config, auth, api, email }: { config: Config; auth: Auth; api: Api; email: string }) {
  const route = useRoute();
  const [access, setAccess] = useState<Access | Problem>();
  const load = useCallback(async () => setAccess(await api.get<Access>("/access")), [api]);
  useEffect(() => void load(), [load]);
  // An auditor's time ends while looking. (Timers of more than 24 days end at once.)
  useEffect(() => {
    if (access === undefined || isProblem(access)) return;
    const ends = access.organizations.flatMap(({ until }) => until === undefined ? [] : [Date.parse(until)]);
    const left = Math.min(...ends) - Date.now() + 500;
    if (left > 2 ** 31) return;
    const timer = setTimeout(load, Math.max(left, 500));
    return () => clearTimeout(timer);
  }, [access, load]);
  // Whoever is refused may have lost a role while looking.
  const watched = useMemo(() => watchingDenials(api, load), [api, load]);

  const wanted = route.parameters.get("organization");
  const membership = useMemo(() => {
    if (access === undefined || isProblem(access)) return undefined;
    return access.organizations.find(({ organization_id }) => organization_id === wanted) ?? access.organizations[0];
  }, [access, wanted]);

  const View = BY_NAME.get(route.view) ?? Activity;
  return (
    <>
      <a class="skip" href="#content" onClick={focusContent}>{text.skip}</a>
      <header class="bar">
        <span class="product">{text.product}</span>
        {membership !== undefined && <Navigation view={route.view} membership={membership} />}
        <div class="me">
          {access !== undefined && !isProblem(access) && access.organizations.length > 1 && membership !== undefined &&
            <OrganizationChoice access={access} membership={membership} view={route.view} />}
          <span class="email" title={email}>{email}</span>
          <button type="button" onClick={() => void auth.signOut({ scope: "local" })}>{text.signOut}</button>
        </div>
      </header>
      {membership !== undefined && <Banner membership={membership} />}
      <main id="content" tabIndex={-1}>
        {access !== undefined && isProblem(access) && <ProblemNote problem={access} retry={load} />}
        {access !== undefined && !isProblem(access) && membership === undefined && <Nothing access={access} />}
        {membership !== undefined && !isFor(membership, route.view) && <p>{text.notForYou}</p>}
        {membership !== undefined && isFor(membership, route.view) && (
          <View
            key={`${membership.organization_id} ${membership.as}`}
            {...{ config, membership }}
            {...route}
            api={watched}
            recheck={load}
          />
        )}
      </main>
    </>
  );
}

function isFor({ access, as }: Membership, view: string): boolean {
  return (access === "all" || !FOR_ALL_READERS.includes(view)) && (as === "admin" || !FOR_ADMINS.includes(view));
}

function Navigation({ view, membership }: { view: string; membership: Membership }) {
  return (
    <nav aria-label={text.product}>
      {Object.keys(VIEWS).filter((name) => isFor(membership, name)).map((name) => (
        <a
          key={name}
          href={formatRoute(name, "", { organization: membership.organization_id })}
          aria-current={view === name ? "page" : undefined}
        >
          {text.views[name]}
        </a>
      ))}
    </nav>
  );
}

function OrganizationChoice({ access, membership, view }: { access: Access; membership: Membership; view: string }) {
  return (
    <label>
      <span class="unseen">{text.organization}</span>
      <select
        value={membership.organization_id}
        onChange={({ currentTarget }) => go(formatRoute(view, "", { organization: currentTarget.value }))}
      >
        {access.organizations.map(({ organization_id, name = organization_id }) => (
          <option key={organization_id} value={organization_id}>{name}</option>
        ))}
      </select>
    </label>
  );
}

/** As whom, and how much, one sees. */
function Banner({ membership }: { membership: Membership }) {
  const { as, until } = membership;
  const says = as === "auditor" ? text.banner.auditor(until === undefined ? "…" : formatTime(until)) : text.banner[as];
  return <p class={`banner ${as}`} role="status">{says}</p>;
}

function Nothing({ access }: { access: Access }) {
  return (
    <section class="lone">
      <h1>{text.nothing.title}</h1>
      <p>{text.nothing.body}</p>
      <p>
        {text.nothing.id} <code>{access.user_id}</code>
      </p>
    </section>
  );
}

function watchingDenials(api: Api, denied: () => void): Api {
  const watch = <T,>(answer: T): T => {
    if (isProblem(answer) && answer.code === "access_denied") denied();
    return answer;
  };
  return {
    get: async (...request) => watch(await api.get(...request)),
    post: async (...request) => watch(await api.post(...request)),
    patch: async (...request) => watch(await api.patch(...request)),
    remove: async (...request) => watch(await api.remove(...request)),
    download: async (...request) => watch(await api.download(...request)),
  };
}

/** The address is the view's: following the link must not change it. */
function focusContent(event: Event): void {
  event.preventDefault();
  document.getElementById("content")?.focus();
}
