// What admins choose for their organisation. Every change is an entry, and applies when it is saved.
import { useCallback, useEffect, useState } from "preact/hooks";
import { type Api, isProblem, type Problem, type Retention } from "./api.ts";
import type { ViewProps } from "./app.tsx";
import { Channels } from "./channels.tsx";
import { ConfirmButton } from "./confirm.tsx";
import { formatTime, timeZones } from "./format.ts";
import { RetentionWords } from "./health.tsx";
import { ProblemNote } from "./problem_note.tsx";
import { SavingNote, useSaving } from "./saving.tsx";
import { text } from "./text.ts";

type Auditor = {
  user_id: string;
  email: string | null;
  expires_at: string;
  expired: boolean;
  sees_identities: boolean;
  granted_at: string;
};
type Chosen = {
  ip_addresses: "on" | "truncated" | "off";
  query_text: boolean;
  time_zone: string;
  chosen: string[];
  retention: Retention;
  auditors: Auditor[];
};
type Props = { api: Api; organization_id: string; chosen: Chosen; choose: (chosen: Chosen) => void };

const words = text.settings;
const DAY = 86_400_000;

export function Settings({ api, membership }: ViewProps) {
  const organization_id = membership.organization_id;
  const [chosen, setChosen] = useState<Chosen | Problem>();
  const load = useCallback(
    async () => setChosen(await api.get<Chosen>("/settings", { organization_id })),
    [api, organization_id],
  );
  useEffect(() => void load(), [load]);

  if (chosen === undefined) return <p aria-live="polite">{text.list.loading}</p>;
  if (isProblem(chosen)) return <ProblemNote problem={chosen} retry={load} />;
  const parts = { api, organization_id, chosen, choose: setChosen };
  return (
    <section class="settings">
      <h1>{text.views.settings}</h1>
      <p class="quiet">{words.about}</p>
      <Recording {...parts} />
      <Hours {...parts} />
      <Keeping {...parts} />
      <Holds {...parts} />
      <Auditors {...parts} />
      <Channels api={api} organization_id={organization_id} />
    </section>
  );
}

function Recording({ api, organization_id, chosen, choose }: Props) {
  const { save, state, isBusy } = useSaving();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    const ip_addresses = String(fields.get("ip_addresses"));
    const query_text = fields.get("query_text") === "on";
    void save(api.patch<Chosen>("/settings", { organization_id, ip_addresses, query_text }), choose);
  };
  return (
    <section aria-labelledby="recording">
      <h2 id="recording">{words.recording.title}</h2>
      <form onSubmit={submit}>
        <fieldset>
          <legend>{words.recording.ip}</legend>
          {(["on", "truncated", "off"] as const).map((value) => (
            <label key={value} class="choice">
              <input type="radio" name="ip_addresses" value={value} defaultChecked={chosen.ip_addresses === value} />
              <span>{words.recording.ipChoices[value]}</span>
            </label>
          ))}
        </fieldset>
        <label class="choice">
          <input type="checkbox" name="query_text" defaultChecked={chosen.query_text} />
          <span>{words.recording.queryText}</span>
        </label>
        <p class="quiet">{words.recording.fromNowOn}</p>
        <button type="submit" disabled={isBusy}>{words.save}</button>
        <SavingNote state={state} />
      </form>
    </section>
  );
}

// Hours of work are a setting of the default rule that watches them.
const HOURS_RULE = "00000000-0000-4000-a000-000000000605";
type WorkingHours = "learned" | { days: number[]; from: string; to: string };

function Hours({ api, organization_id, chosen, choose }: Props) {
  const zone = useSaving();
  const hours = useSaving();
  const [rule, setRule] = useState<{ hours: WorkingHours } | Problem>();
  const [isLearned, setLearned] = useState(true);
  const take = (rule: { hours: WorkingHours }) => {
    setRule(rule);
    setLearned(rule.hours === "learned");
  };
  const load = useCallback(async () => {
    const answer = await api.get<{ rules: { id: string; hours: WorkingHours }[] }>("/rules", { organization_id });
    if (isProblem(answer)) return setRule(answer);
    const found = answer.rules.find(({ id }) => id === HOURS_RULE);
    if (found !== undefined) take(found);
  }, [api, organization_id]);
  useEffect(() => void load(), [load]);

  const submitZone = (event: SubmitEvent) => {
    event.preventDefault();
    const time_zone = String(new FormData(event.currentTarget as HTMLFormElement).get("time_zone"));
    void zone.save(api.patch<Chosen>("/settings", { organization_id, time_zone }), choose);
  };
  const submitHours = (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    const given: WorkingHours = isLearned
      ? "learned"
      : { days: fields.getAll("day").map(Number), from: String(fields.get("from")), to: String(fields.get("to")) };
    const body = { organization_id, hours: given };
    void hours.save(api.post<{ hours: WorkingHours }>(`/rules/${HOURS_RULE}/choice`, body), take);
  };
  const known = rule !== undefined && !isProblem(rule) && rule.hours !== "learned" ? rule.hours : undefined;
  return (
    <section aria-labelledby="hours">
      <h2 id="hours">{words.hours.title}</h2>
      <form class="ask" onSubmit={submitZone}>
        <label>
          {words.hours.zone}
          <select name="time_zone" key={chosen.time_zone}>
            {timeZones(chosen.time_zone).map((name) => (
              <option key={name} value={name} selected={name === chosen.time_zone}>{name}</option>
            ))}
          </select>
        </label>
        <button type="submit" disabled={zone.isBusy}>{words.hours.saveZone}</button>
      </form>
      <SavingNote state={zone.state} />
      {rule !== undefined && isProblem(rule) && <ProblemNote problem={rule} retry={load} />}
      {rule !== undefined && !isProblem(rule) && (
        <form onSubmit={submitHours} key={JSON.stringify(rule.hours)}>
          <fieldset>
            <legend>{words.hours.work}</legend>
            <label class="choice">
              <input type="radio" name="how" checked={isLearned} onChange={() => setLearned(true)} />
              <span>{words.hours.learned}</span>
            </label>
            <label class="choice">
              <input type="radio" name="how" checked={!isLearned} onChange={() => setLearned(false)} />
              <span>{words.hours.fixed}</span>
            </label>
            {!isLearned && (
              <div class="fixed-hours">
                <div role="group" aria-label={words.hours.days} class="days-of-week">
                  {words.hours.dayNames.map((name, n) => (
                    <label key={name} class="choice">
                      <input
                        type="checkbox"
                        name="day"
                        value={n + 1}
                        defaultChecked={known?.days.includes(n + 1) ?? n < 5}
                      />
                      <span>{name}</span>
                    </label>
                  ))}
                </div>
                <div class="ask">
                  <label>
                    {words.hours.from}
                    <input type="time" name="from" step={900} required defaultValue={known?.from ?? "08:00"} />
                  </label>
                  <label>
                    {words.hours.to}
                    <input type="time" name="to" step={900} required defaultValue={known?.to ?? "18:00"} />
                  </label>
                </div>
              </div>
            )}
          </fieldset>
          <p class="quiet">{words.hours.why}</p>
          <button type="submit" disabled={hours.isBusy}>{words.hours.save}</button>
          <SavingNote state={hours.state} />
        </form>
      )}
    </section>
  );
}

type Periods = { database_days: number | null; archive_days: number | null };

/** Whether one period is shorter than another; null is for ever. */
const isShorter = (a: number | null, b: number | null) => (a ?? Infinity) < (b ?? Infinity);

function Keeping({ api, organization_id, chosen, choose }: Props) {
  const { save, state, isBusy } = useSaving();
  const { retention } = chosen;
  const wanted = retention.next ?? retention;
  const [asked, setAsked] = useState<Periods>({
    database_days: wanted.database_days,
    archive_days: wanted.archive_days,
  });
  const waits = isShorter(asked.database_days, retention.database_days) ||
    isShorter(asked.archive_days, retention.archive_days);
  const from = formatTime(new Date(Date.now() + retention.shorten_after * DAY).toISOString());
  const send = (periods: Periods) =>
    void save(api.post<Chosen>("/retention", { organization_id, ...periods }), choose).then((isSaved) => {
      if (isSaved) setAsked(periods);
    });

  const period = (name: keyof Periods, legend: string) => (
    <label>
      {legend}
      <input
        type="number"
        name={name}
        min={90}
        max={36500}
        placeholder={words.keeping.forEver}
        value={asked[name] ?? ""}
        onInput={({ currentTarget: { value } }) =>
          setAsked((before) => ({ ...before, [name]: value === "" ? null : Number(value) }))}
      />
    </label>
  );
  return (
    <section aria-labelledby="keeping">
      <h2 id="keeping">{words.keeping.title}</h2>
      <RetentionWords retention={retention} />
      {retention.next !== null && (
        <button
          type="button"
          disabled={isBusy}
          onClick={() => send({ database_days: retention.database_days, archive_days: retention.archive_days })}
        >
          {words.keeping.takeBack}
        </button>
      )}
      <form class="ask" onSubmit={(event) => event.preventDefault()}>
        {period("database_days", words.keeping.database)}
        {period("archive_days", words.keeping.archive)}
        <ConfirmButton
          label={words.keeping.change}
          title={words.keeping.confirm}
          disabled={isBusy}
          confirm={() => send(asked)}
        >
          <p>{text.health.retention.says(asked.database_days, asked.archive_days)}</p>
          <p>{waits ? words.keeping.shorter(retention.shorten_after, from) : words.keeping.longer}</p>
          {waits && <p>{words.keeping.gone}</p>}
        </ConfirmButton>
      </form>
      <p class="quiet">{words.keeping.rules(retention.shorten_after)}</p>
      <SavingNote state={state} />
    </section>
  );
}

function Holds({ api, organization_id, chosen, choose }: Props) {
  const { save, state, isBusy } = useSaving();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const body = { organization_id, ...Object.fromEntries(new FormData(form)) };
    void save(api.post<Chosen>("/holds", body), choose).then((isSaved) => isSaved && form.reset());
  };
  const { holds } = chosen.retention;
  return (
    <section aria-labelledby="holds">
      <h2 id="holds">{words.holds.title}</h2>
      <p class="quiet">{words.holds.about}</p>
      {holds.length === 0 ? <p>{words.holds.none}</p> : (
        <ul class="things">
          {holds.map(({ name, reason, placed_at, of }) => (
            <li key={`${of} ${name}`}>
              <div>
                <strong dir="auto">{name}</strong> <bdi>{reason}</bdi>
                <p class="quiet">{words.holds.since(formatTime(placed_at))}</p>
              </div>
              {of === "project" ? <span class="quiet">{words.holds.ofProject}</span> : (
                <ConfirmButton
                  label={words.holds.release}
                  about={name}
                  title={words.holds.confirm(name)}
                  disabled={isBusy}
                  confirm={() => save(api.post<Chosen>("/holds/release", { organization_id, name }), choose)}
                >
                  <p>{words.holds.then}</p>
                </ConfirmButton>
              )}
            </li>
          ))}
        </ul>
      )}
      <form class="ask" onSubmit={submit}>
        <label>
          {words.holds.name}
          <input name="name" maxLength={200} required autocomplete="off" />
        </label>
        <label class="wide">
          {words.holds.reason}
          <input name="reason" maxLength={2000} required autocomplete="off" />
        </label>
        <button type="submit" disabled={isBusy}>{words.holds.place}</button>
      </form>
      <SavingNote state={state} />
    </section>
  );
}

function Auditors({ api, organization_id, chosen, choose }: Props) {
  const { save, state, isBusy } = useSaving();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const fields = new FormData(form);
    const body = {
      organization_id,
      user_id: String(fields.get("user_id")).trim(),
      // To the end of the day that is named.
      expires_at: new Date(`${fields.get("until")}T23:59:59`).toISOString(),
      sees_identities: fields.get("sees_identities") === "on",
    };
    void save(api.post<Chosen>("/auditors", body), choose).then((isSaved) => isSaved && form.reset());
  };
  const tomorrow = new Date(Date.now() + DAY).toISOString().slice(0, 10);
  const { auditors } = chosen;
  return (
    <section aria-labelledby="auditors">
      <h2 id="auditors">{words.auditors.title}</h2>
      <p class="quiet">{words.auditors.about}</p>
      {auditors.length === 0 ? <p>{words.auditors.none}</p> : (
        <ul class="things">
          {auditors.map(({ user_id, email, expires_at, expired, sees_identities }) => (
            <li key={user_id}>
              <div>
                <bdi>{email ?? user_id}</bdi>
                <p class="quiet">
                  {words.auditors.until(formatTime(expires_at), expired)} · {words.auditors.sees(sees_identities)}
                </p>
              </div>
              <ConfirmButton
                label={words.auditors.revoke}
                about={email ?? user_id}
                title={words.auditors.confirm(email ?? user_id)}
                disabled={isBusy}
                confirm={() =>
                  save(
                    api.remove<Chosen>(`/auditors/${user_id}?${new URLSearchParams({ organization_id })}`),
                    choose,
                  )}
              >
                <p>{words.auditors.then}</p>
              </ConfirmButton>
            </li>
          ))}
        </ul>
      )}
      <form class="ask" onSubmit={submit}>
        <label class="wide">
          {words.auditors.who}
          <input
            name="user_id"
            required
            autocomplete="off"
            spellcheck={false}
            pattern="\s*[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\s*"
            title={words.auditors.id}
          />
        </label>
        <label>
          {words.auditors.untilDay}
          <input type="date" name="until" min={tomorrow} required />
        </label>
        <label class="choice">
          <input type="checkbox" name="sees_identities" />
          <span>{words.auditors.identities}</span>
        </label>
        <button type="submit" disabled={isBusy}>{words.auditors.grant}</button>
      </form>
      <p class="quiet">{words.auditors.howToId}</p>
      <SavingNote state={state} />
    </section>
  );
}
