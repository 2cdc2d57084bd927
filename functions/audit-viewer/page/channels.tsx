// Where alerts and reports go: made, tested, given a new secret, disabled, deleted; and what did not arrive.
import { useCallback, useEffect, useState } from "preact/hooks";
import { type Api, isProblem, type Problem } from "./api.ts";
import { ConfirmButton } from "./confirm.tsx";
import { formatTime } from "./format.ts";
import { ProblemNote } from "./problem_note.tsx";
import { SavingNote, useSaving } from "./saving.tsx";
import { text } from "./text.ts";

export type Channel = {
  id: string;
  name: string;
  kind: "webhook" | "slack" | "email" | "smtp";
  default: boolean;
  personal: boolean;
  host: string;
  recipients: number;
  succeeded_at: string | null;
  failures: number;
  last_error: string | null;
  disabled_at: string | null;
  disabled_reason: string | null;
  old_secret_until: string | null;
  secret?: string;
};
type Delivery = {
  id: string;
  channel: string;
  type: string;
  state: "waiting" | "delivered" | "dead";
  last_error: string | null;
  created_at: string;
};
type Props = { api: Api; organization_id: string };

const words = text.channels;
const KINDS = ["webhook", "slack", "email", "smtp"] as const;
type Field = { name: string; type?: "text" | "url" | "number" | "password"; required?: boolean; list?: boolean };
const FIELDS: Record<Channel["kind"], Field[]> = {
  webhook: [{ name: "url", type: "url", required: true }],
  slack: [{ name: "url", type: "url", required: true }],
  email: [
    { name: "to", required: true, list: true },
    { name: "from" },
    { name: "api", type: "url" },
    { name: "key", type: "password" },
  ],
  smtp: [
    { name: "to", required: true, list: true },
    { name: "from", required: true },
    { name: "host", required: true },
    { name: "port", type: "number", required: true },
    { name: "username", required: true },
    { name: "password", type: "password", required: true },
  ],
};

export function Channels({ api, organization_id }: Props) {
  const { save, state, isBusy } = useSaving();
  const [channels, setChannels] = useState<Channel[] | Problem>();
  const [shown, setShown] = useState<Channel>();
  const load = useCallback(async () => {
    const answer = await api.get<{ channels: Channel[] }>("/channels", { organization_id });
    setChannels(isProblem(answer) ? answer : answer.channels);
  }, [api, organization_id]);
  useEffect(() => void load(), [load]);

  const move = (channel: Channel, how: "enable" | "disable" | "rotate") =>
    save(api.post<Channel>(`/channels/${channel.id}/${how}`, {}), (answer) => {
      if (answer.secret !== undefined) setShown(answer);
      return load();
    });

  return (
    <section aria-labelledby="channels">
      <h2 id="channels">{words.title}</h2>
      <p class="quiet">{words.about}</p>
      {channels !== undefined && isProblem(channels) && <ProblemNote problem={channels} retry={load} />}
      {shown?.secret !== undefined && <Secret channel={shown} done={() => setShown(undefined)} />}
      {channels !== undefined && !isProblem(channels) &&
        (channels.length === 0 ? <p>{words.none}</p> : (
          <ul class="things">
            {channels.map((channel) => (
              <li key={channel.id}>
                <Facts channel={channel} />
                <div class="buttons">
                  <TestButton api={api} channel={channel} done={load} />
                  {channel.kind === "webhook" && (
                    <ConfirmButton
                      label={words.rotate}
                      about={channel.name}
                      title={words.confirmRotate(channel.name)}
                      disabled={isBusy}
                      confirm={() => move(channel, "rotate")}
                    >
                      <p>{words.thenRotate}</p>
                    </ConfirmButton>
                  )}
                  {channel.disabled_at === null
                    ? (
                      <ConfirmButton
                        label={words.disable}
                        about={channel.name}
                        title={words.confirmDisable(channel.name)}
                        disabled={isBusy}
                        confirm={() => move(channel, "disable")}
                      >
                        <p>{words.thenDisable}</p>
                      </ConfirmButton>
                    )
                    : (
                      <button
                        type="button"
                        aria-label={`${words.enable}: ${channel.name}`}
                        disabled={isBusy}
                        onClick={() => void move(channel, "enable")}
                      >
                        {words.enable}
                      </button>
                    )}
                  <ConfirmButton
                    label={words.remove}
                    about={channel.name}
                    title={words.confirmRemove(channel.name)}
                    disabled={isBusy}
                    confirm={() =>
                      save(api.remove<Channel>(`/channels/${channel.id}`), load, words.removed(channel.name))}
                  >
                    <p>{words.thenRemove}</p>
                  </ConfirmButton>
                </div>
              </li>
            ))}
          </ul>
        ))}
      <SavingNote state={state} />
      <NewChannel
        api={api}
        organization_id={organization_id}
        made={async (channel) => {
          setShown(channel);
          await load();
        }}
      />
      <DeadLetters api={api} organization_id={organization_id} channels={Array.isArray(channels) ? channels : []} />
    </section>
  );
}

function Facts({ channel }: { channel: Channel }) {
  const { name, kind, host, recipients, disabled_at, disabled_reason, failures, last_error, succeeded_at } = channel;
  return (
    <div>
      <strong dir="auto">{name}</strong> {words.kinds[kind]}
      <p class="quiet">
        {words.leads(host, recipients)} · {words.usual(channel.default)} · {words.personal(channel.personal)}
      </p>
      <p class={disabled_at !== null || failures > 0 ? "problem" : "quiet"}>
        {disabled_at !== null
          ? words.disabled(formatTime(disabled_at), words.reasons[disabled_reason ?? ""] ?? disabled_reason ?? "")
          : failures > 0
          ? words.failing(failures, last_error ?? "")
          : succeeded_at === null
          ? words.unused
          : words.worked(formatTime(succeeded_at))}
      </p>
      {channel.old_secret_until !== null && <p class="quiet">{words.oldSecret(formatTime(channel.old_secret_until))}
      </p>}
    </div>
  );
}

function TestButton({ api, channel, done }: { api: Api; channel: Channel; done: () => unknown }) {
  const [says, setSays] = useState<string>();
  const [problem, setProblem] = useState<Problem>();
  const test = async () => {
    setSays(words.testing);
    setProblem(undefined);
    const answer = await api.post<Delivery>(`/channels/${channel.id}/test`, {});
    if (isProblem(answer)) {
      setSays(undefined);
      return setProblem(answer);
    }
    setSays(words.outcomes[answer.state](answer.last_error ?? ""));
    await done();
  };
  return (
    <>
      <button type="button" aria-label={`${words.test}: ${channel.name}`} onClick={() => void test()}>
        {words.test}
      </button>
      <span role="status" class="quiet">{says}</span>
      {problem !== undefined && <ProblemNote problem={problem} />}
    </>
  );
}

/** A signing secret is shown once. */
function Secret({ channel, done }: { channel: Channel; done: () => void }) {
  const [copied, setCopied] = useState(false);
  const copy = () => void navigator.clipboard.writeText(channel.secret!).then(() => setCopied(true));
  return (
    <div class="secret" role="status">
      <p>{words.secret(channel.name)}</p>
      <code>{channel.secret}</code>
      <div class="buttons">
        <button type="button" onClick={copy}>{copied ? text.entry.copied : words.copy}</button>
        <button type="button" onClick={done}>{words.noted}</button>
      </div>
    </div>
  );
}

function NewChannel({ api, organization_id, made }: Props & { made: (channel: Channel) => unknown }) {
  const { save, state, isBusy } = useSaving();
  const [kind, setKind] = useState<Channel["kind"]>("webhook");
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const fields = new FormData(form);
    const given = FIELDS[kind].flatMap(({ name, type, list }) => {
      const value = String(fields.get(name) ?? "").trim();
      if (value === "") return [];
      return [[name, list ? value.split(",").map((each) => each.trim()) : type === "number" ? Number(value) : value]];
    });
    const body = {
      organization_id,
      kind,
      name: String(fields.get("name")).trim(),
      default: fields.get("default") === "on",
      personal: fields.get("personal") === "on",
      ...Object.fromEntries(given),
    };
    void save(api.post<Channel>("/channels", body), made, words.made(body.name)).then((isSaved) =>
      isSaved && form.reset()
    );
  };
  return (
    <form onSubmit={submit} class="new-channel" aria-labelledby="new-channel">
      <h3 id="new-channel">{words.new}</h3>
      <div class="ask">
        <label>
          {words.kind}
          <select value={kind} onChange={({ currentTarget: { value } }) => setKind(value as Channel["kind"])}>
            {KINDS.map((each) => <option key={each} value={each}>{words.kinds[each]}</option>)}
          </select>
        </label>
        <label>
          {words.name}
          <input name="name" maxLength={100} required autocomplete="off" />
        </label>
        {FIELDS[kind].map(({ name, type = "text", required = false }) => (
          <label key={`${kind} ${name}`} class={type === "url" || name === "to" ? "wide" : undefined}>
            {words.fields[name]}
            <input
              name={name}
              // The types know each kind of input apart, and none that is chosen.
              type={type as "text"}
              required={required}
              autocomplete={type === "password" ? "new-password" : "off"}
              spellcheck={false}
            />
          </label>
        ))}
      </div>
      <label class="choice">
        <input type="checkbox" name="default" defaultChecked />
        <span>{words.makeUsual}</span>
      </label>
      <label class="choice">
        <input type="checkbox" name="personal" />
        <span>{words.makePersonal}</span>
      </label>
      <button type="submit" disabled={isBusy}>{words.make}</button>
      <SavingNote state={state} />
    </form>
  );
}

function DeadLetters({ api, organization_id, channels }: Props & { channels: Channel[] }) {
  const { save, state, isBusy } = useSaving();
  const [letters, setLetters] = useState<Delivery[] | Problem>();
  const load = useCallback(async () => {
    const answer = await api.get<{ deliveries: Delivery[] }>("/deliveries", { organization_id, state: "dead" });
    // A test that failed is not sent again.
    setLetters(isProblem(answer) ? answer : answer.deliveries.filter(({ type }) => type !== "channel.test"));
  }, [api, organization_id]);
  // Whatever happens to a channel can change what did not arrive.
  useEffect(() => void load(), [load, channels]);
  if (letters === undefined) return null;
  if (isProblem(letters)) return <ProblemNote problem={letters} retry={load} />;
  return (
    <div>
      <h3>{words.dead.title}</h3>
      {letters.length === 0 ? <p>{words.dead.none}</p> : (
        <ul class="things">
          {letters.map(({ id, channel, type, created_at, last_error }) => (
            <li key={id}>
              <div>
                {words.dead.says(
                  words.dead.types[type] ?? type,
                  channels.find((each) => each.id === channel)?.name ?? channel,
                )}
                <p class="quiet">{words.dead.why(formatTime(created_at), last_error ?? "")}</p>
              </div>
              <button
                type="button"
                disabled={isBusy}
                onClick={() => void save(api.post<Delivery>(`/deliveries/${id}/replay`, {}), load, words.dead.replayed)}
              >
                {words.dead.replay}
              </button>
            </li>
          ))}
        </ul>
      )}
      <SavingNote state={state} />
    </div>
  );
}
