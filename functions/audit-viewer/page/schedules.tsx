// Reports by schedule: when, in which time zone, about what, and where to.
import { Cron } from "croner";
import { useCallback, useEffect, useState } from "preact/hooks";
import { isProblem, type Problem } from "./api.ts";
import type { ViewProps } from "./app.tsx";
import type { Channel } from "./channels.tsx";
import { ConfirmButton } from "./confirm.tsx";
import { formatTime, timeZones } from "./format.ts";
import { ProblemNote } from "./problem_note.tsx";
import { SavingNote, useSaving } from "./saving.tsx";
import { text } from "./text.ts";

type Schedule = {
  id: string;
  organization_id: string;
  template: string;
  cron: string;
  time_zone: string;
  channels: string[] | null;
  next_at: string | null;
  last_at: string | null;
  paused_at: string | null;
};
type Template = { template: string; title: string };
type Props = Pick<ViewProps, "api" | "membership"> & { templates: Template[] };

const words = text.schedules;
const OFTEN = { week: "0 6 * * 1", month: "0 6 1 * *", quarter: "0 6 1 1,4,7,10 *", year: "0 6 1 1 *" };

export function Schedules({ api, membership, templates }: Props) {
  const { organization_id, as } = membership;
  const { save, state, isBusy } = useSaving();
  const [schedules, setSchedules] = useState<Schedule[] | Problem>();
  const [channels, setChannels] = useState<Channel[]>([]);
  const load = useCallback(async () => {
    const [made, known] = await Promise.all([
      api.get<{ schedules: Schedule[] }>("/report-schedules", { organization_id }),
      api.get<{ channels: Channel[] }>("/channels", { organization_id }),
    ]);
    setSchedules(isProblem(made) ? made : made.schedules);
    if (!isProblem(known)) setChannels(known.channels);
  }, [api, organization_id]);
  useEffect(() => void load(), [load]);

  const title = (wanted: string) => templates.find(({ template }) => template === wanted)?.title ?? wanted;
  const to = (ids: string[] | null) =>
    ids === null ? words.usual : ids.map((id) => channels.find((each) => each.id === id)?.name ?? id).join(", ");
  return (
    <section aria-labelledby="schedules" class="schedules">
      <h2 id="schedules">{words.title}</h2>
      <p class="quiet">{words.about}</p>
      {schedules !== undefined && isProblem(schedules) && <ProblemNote problem={schedules} retry={load} />}
      {Array.isArray(schedules) && (
        <ul class="things">
          {schedules.map((schedule) => {
            const isOwn = schedule.organization_id === organization_id;
            const name = title(schedule.template);
            return (
              <li key={schedule.id}>
                <div>
                  <strong>{name}</strong>{" "}
                  <span class="quiet">
                    <code>{schedule.cron}</code> {schedule.time_zone}
                  </span>
                  <p>
                    {schedule.paused_at === null
                      ? words.next(nextRuns(schedule.cron, schedule.time_zone))
                      : words.paused(formatTime(schedule.paused_at))}
                  </p>
                  <p class="quiet">
                    {words.to(to(schedule.channels))}
                    {schedule.last_at !== null && ` · ${words.last(formatTime(schedule.last_at))}`}
                    {!isOwn && ` · ${words.ofProject}`}
                  </p>
                </div>
                {as === "admin" && isOwn && (
                  <div class="buttons">
                    <button
                      type="button"
                      disabled={isBusy}
                      aria-label={`${schedule.paused_at === null ? words.pause : words.goOn}: ${name}`}
                      onClick={() =>
                        void save(
                          api.patch(`/report-schedules/${schedule.id}`, { paused: schedule.paused_at === null }),
                          load,
                        )}
                    >
                      {schedule.paused_at === null ? words.pause : words.goOn}
                    </button>
                    <ConfirmButton
                      label={words.remove}
                      about={name}
                      title={words.confirm(name)}
                      disabled={isBusy}
                      confirm={() => save(api.remove(`/report-schedules/${schedule.id}`), load, words.removed)}
                    >
                      <p>{words.then}</p>
                    </ConfirmButton>
                  </div>
                )}
              </li>
            );
          })}
        </ul>
      )}
      <SavingNote state={state} />
      {as === "admin" && <NewSchedule {...{ api, membership, templates, channels }} made={load} />}
    </section>
  );
}

function NewSchedule(
  { api, membership, templates, channels, made }: Props & { channels: Channel[]; made: () => unknown },
) {
  const { organization_id, time_zone } = membership;
  const { save, state, isBusy } = useSaving();
  const [cron, setCron] = useState(OFTEN.month);
  const [zone, setZone] = useState(time_zone);
  const runs = nextRuns(cron, zone);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    const chosen = fields.getAll("channel");
    const body = {
      organization_id,
      template: fields.get("template"),
      cron,
      time_zone: zone,
      ...(chosen.length === 0 ? {} : { channels: chosen }),
    };
    void save(api.post("/report-schedules", body), made);
  };
  return (
    <form onSubmit={submit} aria-labelledby="new-schedule">
      <h3 id="new-schedule">{words.new}</h3>
      <div class="ask">
        <label>
          {text.reports.template}
          <select name="template">
            {templates.map(({ template, title }) => <option key={template} value={template}>{title}</option>)}
          </select>
        </label>
        <label>
          {words.often}
          <select
            value={Object.entries(OFTEN).find(([, each]) => each === cron)?.[0] ?? "other"}
            onChange={({ currentTarget: { value } }) => setCron(OFTEN[value as keyof typeof OFTEN] ?? cron)}
          >
            {[...Object.keys(OFTEN), "other"].map((name) => <option key={name} value={name}>{words.times[name]}
            </option>)}
          </select>
        </label>
        <label>
          {words.cron}
          <input
            name="cron"
            value={cron}
            required
            maxLength={100}
            spellcheck={false}
            autocomplete="off"
            aria-describedby="next-runs"
            onInput={({ currentTarget: { value } }) => setCron(value)}
          />
        </label>
        <label>
          {words.zone}
          <select value={zone} onChange={({ currentTarget: { value } }) => setZone(value)}>
            {timeZones(zone).map((name) => <option key={name} value={name}>{name}</option>)}
          </select>
        </label>
      </div>
      <p id="next-runs" role="status" class={runs.length === 0 ? "problem" : ""}>{words.next(runs)}</p>
      {channels.length > 0 && (
        <fieldset>
          <legend>{words.channels}</legend>
          {channels.map(({ id, name }) => (
            <label key={id} class="choice">
              <input type="checkbox" name="channel" value={id} />
              <span dir="auto">{name}</span>
            </label>
          ))}
        </fieldset>
      )}
      <button type="submit" disabled={isBusy || runs.length === 0}>{words.make}</button>
      <SavingNote state={state} />
    </form>
  );
}

/** When a schedule comes round next, in its own zone; none where the expression cannot be read. */
function nextRuns(cron: string, timezone: string): string[] {
  try {
    return new Cron(cron, { mode: "5-part", timezone }).nextRuns(3).map((run) =>
      formatTime(run.toISOString(), timezone)
    );
  } catch {
    return [];
  }
}
