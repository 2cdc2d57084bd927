// One rule: all that can be said of it, what is wrong said at the field, and what it would have raised.
import { type ComponentChildren } from "preact";
import { useCallback, useEffect, useId, useState } from "preact/hooks";
import { type Api, isProblem, type Problem } from "./api.ts";
import type { ViewProps } from "./app.tsx";
import { useLast } from "./last.ts";
import { ProblemNote } from "./problem_note.tsx";
import { BuilderToggle, QueryBuilder } from "./query_builder.tsx";
import { QueryInput } from "./query_input.tsx";
import { formatRoute, go } from "./route.ts";
import {
  changesOf,
  CHECKS,
  choiceOf,
  DIGESTS,
  type Draft,
  draftOf,
  fieldsOf,
  isTunable,
  KINDS,
  MEASURES,
  newDraft,
  PARAMETERS,
  type Rule,
  RULE_FIELDS,
  ruleOf,
  SEVERITIES,
  TRIED,
} from "./rule_draft.ts";
import { RulePreview } from "./rule_preview.tsx";
import { text } from "./text.ts";

type Channel = { id: string; name: string; kind: string };

/** `#/rule/new?match=…&name=…` or `#/rule/<id>`. */
export function RuleEditor(props: ViewProps) {
  const { api, membership, name: id, parameters } = props;
  const organization = membership.organization_id;
  const [rule, setRule] = useState<Rule | null>();
  const [channels, setChannels] = useState<Channel[]>([]);
  const [problem, setProblem] = useState<Problem>();

  const ask = useLast();
  const load = useCallback(async () => {
    const isLast = ask();
    const asked = { organization_id: organization };
    const [rules, listed] = await Promise.all([
      api.get<{ rules: Rule[] }>("/rules", asked),
      api.get<{ channels: Channel[] }>("/channels", asked),
    ]);
    if (!isLast()) return;
    if (isProblem(rules)) return setProblem(rules);
    if (isProblem(listed)) return setProblem(listed);
    setProblem(undefined);
    setChannels(listed.channels);
    setRule(id === "new" ? null : rules.rules.find((each) => each.id === id) ?? null);
  }, [api, organization, id]);
  useEffect(() => {
    // Another rule than the one before.
    setRule(undefined);
    void load();
  }, [load]);

  const isMissing = rule === null && id !== "new";
  return (
    <section class="watch">
      <h1>{id === "new" ? text.rule.new : text.rule.title}</h1>
      <p>
        <a href={formatRoute("rules", "", { organization })}>{text.rule.all}</a>
      </p>
      {problem !== undefined && <ProblemNote problem={problem} retry={load} />}
      {isMissing && <p>{text.rule.missing}</p>}
      {rule !== undefined && !isMissing && (
        <RuleForm
          key={id}
          {...{ api, organization, rule, channels }}
          isAdmin={membership.as === "admin"}
          first={rule === null ? newDraft(parameters.get("match") ?? "", parameters.get("name") ?? "") : draftOf(rule)}
        />
      )}
    </section>
  );
}

type FormProps = {
  api: Api;
  organization: string;
  /** null: a new one. */
  rule: Rule | null;
  first: Draft;
  channels: Channel[];
  isAdmin: boolean;
};

function RuleForm({ api, organization, rule, first, channels, isAdmin }: FormProps) {
  const [draft, setDraft] = useState(first);
  const [problem, setProblem] = useState<Problem>();
  const [isSaving, setSaving] = useState(false);
  const isDefault = rule?.default === true;
  const put = (changes: Partial<Draft>) => setDraft((before) => ({ ...before, ...changes }));
  const shown = fieldsOf(draft);
  // What belongs to no input of the form is said above its buttons.
  const isOfField = [...shown, ...COMMON].filter((each) => each !== "parameters").includes(fieldOf(problem) ?? "");

  // The eye, and the reader's voice, go to what is wrong.
  useEffect(() => {
    if (problem !== undefined) document.querySelector<HTMLElement>(".rule-form [aria-invalid=true]")?.focus();
  }, [problem]);

  const send = (work: () => Promise<unknown>) => async (event: Event) => {
    event.preventDefault();
    setSaving(true);
    setProblem(undefined);
    const answer = await work();
    setSaving(false);
    if (isProblem(answer)) setProblem(answer);
    else go(formatRoute("rules", "", { organization }));
  };
  const choose = (choice: object) =>
    api.post(`/rules/${rule!.id}/choice`, { organization_id: organization, ...choice });
  const save = () => {
    if (rule === null) return api.post("/rules", { organization_id: organization, ...ruleOf(draft) });
    if (!isDefault) return api.patch(`/rules/${rule.id}`, changesOf(rule, draft));
    const choice = choiceOf(rule, draft);
    return Object.keys(choice).length === 0 ? Promise.resolve(undefined) : choose(choice);
  };

  const inputs: Inputs = { api, draft, put, problem: isOfField ? problem : undefined, isDefault };
  return (
    <>
      {!isAdmin && <p class="quiet">{text.rule.readOnly}</p>}
      {isDefault && isAdmin && <p class="quiet">{text.rule.isDefault}</p>}
      <form class="rule-form" onSubmit={send(save)} aria-label={text.rule.title}>
        <fieldset class="whole" disabled={!isAdmin || isSaving}>
          <legend class="unseen">{text.rule.title}</legend>
          <Field of={inputs} name="name">
            {(attributes) => <Typed of={inputs} name="name" attributes={attributes} required maxLength={200} />}
          </Field>
          <Field of={inputs} name="description">
            {(attributes) => (
              <textarea
                {...attributes}
                rows={2}
                value={draft.description}
                onInput={({ currentTarget }) => put({ description: currentTarget.value })}
              />
            )}
          </Field>
          <div class="beside">
            <Field of={inputs} name="kind" hint={text.rules.kindSays[draft.kind]}>
              {(attributes) => (
                <Choice
                  attributes={attributes}
                  value={draft.kind}
                  options={Object.keys(KINDS).map((kind) => [kind, text.rules.kinds[kind]!])}
                  change={(kind) => put({ kind })}
                />
              )}
            </Field>
            <Field of={inputs} name="severity">
              {(attributes) => (
                <Choice
                  attributes={attributes}
                  value={draft.severity}
                  options={SEVERITIES.map((each) => [each, text.alerts.severities[each]!])}
                  change={(severity) => put({ severity })}
                />
              )}
            </Field>
          </div>
          {shown.map((field) => <Setting key={field} of={inputs} name={field} />)}
          <Field of={inputs} name="quiet_period">
            {(attributes) => <Typed of={inputs} name="quiet_period" attributes={attributes} />}
          </Field>
          <Channels of={inputs} channels={channels} />
          <label class="check">
            <input
              type="checkbox"
              checked={draft.enabled}
              onChange={({ currentTarget }) => put({ enabled: currentTarget.checked })}
            />{" "}
            {text.rule.fields.enabled}
          </label>
          {problem !== undefined && !isOfField && <ProblemNote problem={problem} />}
          {isAdmin && (
            <div class="buttons">
              <button type="submit">{text.rule.save}</button>
              {rule?.tuned === true && (
                <button type="button" onClick={send(() => choose({}))}>{text.rule.untuned}</button>
              )}
            </div>
          )}
        </fieldset>
      </form>
      {TRIED.includes(draft.kind) && (
        <RulePreview
          {...{ api, organization }}
          // It can be tried before it has a name.
          rule={() => ({ ...ruleOf(draft), name: draft.name.trim() || text.rule.new })}
          refused={setProblem}
        />
      )}
    </>
  );
}

const COMMON = ["name", "description", "kind", "severity", "quiet_period"];

/** The field that a problem is about, by its JSON pointer. */
function fieldOf(problem: Problem | undefined): string | undefined {
  return problem?.path?.split("/")[1];
}

/** What every input of the form shares. */
type Inputs = {
  api: Api;
  draft: Draft;
  put: (changes: Partial<Draft>) => void;
  problem: Problem | undefined;
  isDefault: boolean;
};

type Attributes = { id: string; "aria-describedby": string | undefined; "aria-invalid": boolean; disabled: boolean };
type FieldProps = {
  of: Inputs;
  name: string;
  hint?: string | undefined;
  children: (attributes: Attributes) => ComponentChildren;
};

/** A label, its input, what it means, and what is wrong with it. */
function Field({ of: { problem, isDefault }, name, hint = text.rule.hints[name], children }: FieldProps) {
  const id = useId();
  const isWrong = fieldOf(problem) === name;
  const described = [hint !== undefined && `${id}-hint`, isWrong && `${id}-wrong`].filter(Boolean).join(" ");
  return (
    <div class="field">
      <label for={id}>{text.rule.fields[name] ?? name}</label>
      {children({
        id,
        "aria-describedby": described || undefined,
        "aria-invalid": isWrong,
        disabled: isDefault && !isTunable(name),
      })}
      {isWrong && (
        <p id={`${id}-wrong`} class="problem" role="alert">
          {[problem!.detail ?? problem!.title, problem!.hint].filter(Boolean).join(" ")}
          {problem!.position !== undefined && ` ${text.at(problem!.position)}`}
        </p>
      )}
      {hint !== undefined && <p id={`${id}-hint`} class="quiet">{hint}</p>}
    </div>
  );
}

type TypedProps = {
  of: Inputs;
  name: string;
  attributes: Attributes;
  list?: string;
  required?: boolean;
  maxLength?: number;
};

function Typed({ of: { draft, put }, name, attributes, ...more }: TypedProps) {
  return (
    <input
      type="text"
      {...attributes}
      {...more}
      value={String(draft[name] ?? "")}
      autocomplete="off"
      spellcheck={false}
      onInput={({ currentTarget }) => put({ [name]: currentTarget.value })}
    />
  );
}

type ChoiceProps = {
  attributes: Attributes;
  value: string;
  options: [value: string, label: string][];
  change: (value: string) => void;
};

function Choice({ attributes, value, options, change }: ChoiceProps) {
  return (
    <select {...attributes} value={value} onChange={({ currentTarget }) => change(currentTarget.value)}>
      {options.map(([each, label]) => <option key={each} value={each}>{label}</option>)}
    </select>
  );
}

/** A field of the rule's kind. */
function Setting({ of, name }: { of: Inputs; name: string }) {
  const { draft, put } = of;
  const known = useId();
  switch (name) {
    case "match":
    case "then":
      return <QueryField of={of} name={name} />;
    case "group_by":
      return <GroupedBy of={of} />;
    case "hours":
      return <Hours of={of} />;
    case "parameters":
      return (
        <>
          {PARAMETERS.map((each) => (
            <Field key={each} of={of} name={each}>
              {(attributes) => <Typed of={of} name={each} attributes={{ ...attributes, disabled: false }} />}
            </Field>
          ))}
        </>
      );
    case "allowed":
      return (
        <Field of={of} name={name} hint={text.rule.allowed[draft.kind]}>
          {(attributes) => (
            <textarea
              {...attributes}
              rows={3}
              value={draft.allowed}
              onInput={({ currentTarget }) => put({ allowed: currentTarget.value })}
            />
          )}
        </Field>
      );
    case "value":
      if (draft.kind === "anomaly") break;
      return (
        <Field of={of} name={name} hint={text.rule.value[draft.kind]}>
          {(attributes) => (
            <>
              <Typed of={of} name={name} attributes={attributes} list={known} />
              <KnownFields id={known} fields={draft.kind === "sum" ? ["cost"] : RULE_FIELDS} />
            </>
          )}
        </Field>
      );
  }
  const options = CHOICES[name === "value" ? "measure" : name];
  return (
    <Field of={of} name={name}>
      {(attributes) =>
        options === undefined ? <Typed of={of} name={name} attributes={attributes} /> : (
          <Choice
            attributes={attributes}
            value={String(draft[name] ?? "")}
            options={options}
            change={(value) => put({ [name]: value })}
          />
        )}
    </Field>
  );
}

const CHOICES: Record<string, [value: string, label: string][]> = {
  measure: [
    ["", text.rule.measures.usual!],
    ...MEASURES.map((each): [string, string] => [each, text.rule.measures[each]!]),
  ],
  against: [["", text.rule.against.threshold], ["budgets", text.rule.against.budgets]],
  looks: [["check", text.rule.looks.check], ["digest", text.rule.looks.digest]],
  check: [["", ""], ...CHECKS.map((each): [string, string] => [each, text.rule.checks[each]!])],
  digest: [["", ""], ...DIGESTS.map((each): [string, string] => [each, text.rule.digests[each]!])],
  weekday: text.rule.weekdays.map((day, n) => [String(n + 1), day]),
};

function KnownFields({ id, fields }: { id: string; fields: string[] }) {
  return <datalist id={id}>{fields.map((each) => <option key={each} value={each} />)}</datalist>;
}

/** A query, as text or to build. */
function QueryField({ of, name }: { of: Inputs; name: "match" | "then" }) {
  const { api, draft, put } = of;
  const [isBuilding, setBuilding] = useState(false);
  const builder = useId();
  const query = String(draft[name] ?? "");
  const change = (next: string) => put({ [name]: next });
  return (
    <Field of={of} name={name}>
      {({ "aria-describedby": describedBy, "aria-invalid": invalid, id, disabled }) => (
        <>
          <div class="search">
            <QueryInput {...{ id, query, change, describedBy, invalid, disabled }} />
            {!disabled && (
              <BuilderToggle
                isOpen={isBuilding}
                toggle={() => setBuilding(!isBuilding)}
                controls={builder}
              />
            )}
          </div>
          <div id={builder} hidden={!isBuilding}>
            {isBuilding && <QueryBuilder api={api} query={query} change={change} />}
          </div>
        </>
      )}
    </Field>
  );
}

function GroupedBy({ of }: { of: Inputs }) {
  const { draft, put } = of;
  const known = useId();
  return (
    <Field of={of} name="group_by">
      {(attributes) => (
        <div class="beside">
          {[0, 1, 2].map((n) => (
            <input
              key={n}
              {...attributes}
              id={n === 0 ? attributes.id : undefined}
              aria-label={text.rule.groupBy(n + 1)}
              value={draft.group_by[n] ?? ""}
              list={known}
              autocomplete="off"
              onInput={({ currentTarget }) =>
                put({ group_by: [0, 1, 2].map((at) => at === n ? currentTarget.value : draft.group_by[at] ?? "") })}
            />
          ))}
          <KnownFields id={known} fields={RULE_FIELDS} />
        </div>
      )}
    </Field>
  );
}

function Hours({ of }: { of: Inputs }) {
  const { draft, put, isDefault } = of;
  const choices: [Draft["hours"], string][] = [
    ["", text.rule.hours.any],
    ["learned", text.rule.hours.learned],
    ["outside", text.rule.hours.outside],
  ];
  return (
    <>
      <Field of={of} name="hours">
        {(attributes) => (
          <Choice
            attributes={attributes}
            value={draft.hours}
            // A default can be given other hours, not none.
            options={isDefault && draft.hours !== "" ? choices.slice(1) : choices}
            change={(hours) => put({ hours: hours as Draft["hours"] })}
          />
        )}
      </Field>
      {draft.hours === "outside" && (
        <fieldset class="hours">
          <legend>{text.rule.hours.work}</legend>
          <div class="beside">
            {text.rule.weekdays.map((day, n) => (
              <label key={day} class="check">
                <input
                  type="checkbox"
                  checked={draft.days.includes(n + 1)}
                  onChange={({ currentTarget: { checked } }) =>
                    put({
                      days: checked ? [...draft.days, n + 1].sort() : draft.days.filter((each) => each !== n + 1),
                    })}
                />{" "}
                {day}
              </label>
            ))}
          </div>
          <div class="beside">
            {(["from", "to"] as const).map((end) => (
              <label key={end}>
                {text.rule.hours[end]}{" "}
                <input
                  value={draft[end]}
                  size={6}
                  placeholder="08:00"
                  onInput={({ currentTarget }) => put({ [end]: currentTarget.value })}
                />
              </label>
            ))}
          </div>
        </fieldset>
      )}
    </>
  );
}

function Channels({ of, channels }: { of: Inputs; channels: Channel[] }) {
  const { draft, put } = of;
  const chosen = draft.channels;
  // A channel that is gone is still named by the rule.
  const unknown = (chosen ?? []).filter((id) => channels.every((channel) => channel.id !== id));
  const all = [...channels, ...unknown.map((id) => ({ id, name: id, kind: text.rule.channels.gone }))];
  return (
    <fieldset class="hours">
      <legend>{text.rule.fields.channels}</legend>
      <label class="check">
        <input
          type="checkbox"
          checked={chosen === null}
          onChange={({ currentTarget }) => put({ channels: currentTarget.checked ? null : [] })}
        />{" "}
        {text.rule.channels.usual}
      </label>
      {chosen !== null && all.length === 0 && <p class="quiet">{text.rule.channels.none}</p>}
      {chosen !== null && all.map(({ id, name, kind }) => (
        <label key={id} class="check">
          <input
            type="checkbox"
            checked={chosen.includes(id)}
            onChange={({ currentTarget }) =>
              put({ channels: currentTarget.checked ? [...chosen, id] : chosen.filter((each) => each !== id) })}
          />{" "}
          <bdi>{name}</bdi> ({kind})
        </label>
      ))}
    </fieldset>
  );
}
