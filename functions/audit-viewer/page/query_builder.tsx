// The query as conditions to choose from, in groups. What is chosen is written into the text at once; what is typed there
// is read by the database and shown here, and until it is read nothing here can overwrite it.
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Api, type Facets, isProblem, type Problem } from "./api.ts";
import { valuesOf } from "./completion.ts";
import { ProblemNote } from "./problem_note.tsx";
import {
  type Condition,
  FIELDS,
  type Group,
  groupOf,
  isComplete,
  isGroup,
  isPath,
  newCondition,
  newGroup,
  opsOf,
  type Part,
  type Tree,
  withField,
  withOp,
  writeQuery,
} from "./query_tree.ts";
import { text } from "./text.ts";

/** So long nothing is typed before it is read, in milliseconds. */
const PAUSE = 250;

type Props = {
  api: Api;
  query: string;
  facets?: Facets | undefined;
  change: (query: string) => void;
};

export function QueryBuilder({ api, query, facets, change }: Props) {
  const wanted = query.trim();
  const [{ shown, group }, setShown] = useState<{ shown?: string; group: Group }>(() => ({
    // Nothing is read already: what is chosen at once is not overwritten by it.
    ...(wanted === "" && { shown: "" }),
    group: newGroup(false, [newCondition()]),
  }));
  const [problem, setProblem] = useState<Problem>();
  const [attempt, setAttempt] = useState(0);
  const [fresh, setFresh] = useState<number>();
  const isOwn = shown === wanted;

  useEffect(() => {
    if (wanted === "") {
      setProblem(undefined);
      if (!isOwn) setShown({ shown: "", group: newGroup(false, [newCondition()]) });
      return;
    }
    const asking = new AbortController();
    const timer = setTimeout(async () => {
      const answer = await api.get<{ filter: Tree }>("/query", { q: wanted }, asking.signal).catch(() => undefined);
      if (answer === undefined || asking.signal.aborted) return;
      setProblem(isProblem(answer) ? answer : undefined);
      if (!isProblem(answer) && !isOwn) setShown({ shown: wanted, group: groupOf(answer.filter) });
    }, shown === undefined ? 0 : PAUSE);
    return () => {
      clearTimeout(timer);
      asking.abort();
    };
  }, [api, wanted, attempt]);

  const edit = (next: Group) => {
    const written = writeQuery(next).query;
    setShown({ shown: written, group: next });
    change(written);
  };
  const add = (to: Group, part: Part) => {
    setFresh(isGroup(part) ? part.parts[0]!.id : part.id);
    edit(replaced(group, to.id, { ...to, parts: [...to.parts, part] })!);
  };
  const { position } = problem ?? {};
  const wrong = isOwn && position !== undefined
    ? writeQuery(group).places.filter(({ from }) => from <= position).at(-1)?.id
    : undefined;

  return (
    <div class="builder">
      {problem !== undefined && wrong === undefined && (
        <ProblemNote
          problem={problem}
          retry={() => setAttempt((before) => before + 1)}
        />
      )}
      <fieldset class="whole" disabled={!isOwn} aria-busy={!isOwn && problem === undefined}>
        <legend class="unseen">{text.builder.label}</legend>
        <GroupEditor
          {...{ group, facets, fresh, add }}
          wrong={problem !== undefined && wrong !== undefined ? { id: wrong, problem } : undefined}
          replace={(id, part) => edit(replaced(group, id, part) ?? newGroup(false, []))}
        />
      </fieldset>
    </div>
  );
}

export function BuilderToggle(
  { isOpen, toggle, controls }: { isOpen: boolean; toggle: () => void; controls: string },
) {
  return (
    <button type="button" aria-expanded={isOpen} aria-controls={controls} onClick={toggle}>
      {text.builder.open}
    </button>
  );
}

/** The group with one part, at any depth, changed or taken away. */
function replaced(group: Group, id: number, part: Part | undefined): Group | undefined {
  if (group.id === id) return part as Group | undefined;
  const parts = group.parts.flatMap((each): Part[] => {
    const kept = each.id === id ? part : isGroup(each) ? replaced(each, id, part) : each;
    return kept === undefined ? [] : [kept];
  });
  return { ...group, parts };
}

type Shared = {
  facets: Facets | undefined;
  /** The condition that was just added, which takes the focus. */
  fresh: number | undefined;
  wrong: { id: number; problem: Problem } | undefined;
  add: (to: Group, part: Part) => void;
  replace: (id: number, part: Part | undefined) => void;
};

type GroupProps = { group: Group; remove?: () => void } & Shared;

function GroupEditor({ group, remove: removeGroup, ...shared }: GroupProps) {
  const adding = useRef<HTMLButtonElement>(null);
  const { add, replace } = shared;
  return (
    <>
      <select
        aria-label={text.builder.joined}
        value={group.any ? "any" : "all"}
        onChange={({ currentTarget }) => replace(group.id, { ...group, any: currentTarget.value === "any" })}
      >
        <option value="all">{text.builder.all}</option>
        <option value="any">{text.builder.any}</option>
      </select>
      <ul>
        {group.parts.map((part, n) => {
          const remove = () => {
            adding.current?.focus();
            replace(part.id, undefined);
          };
          return (
            <li key={part.id}>
              {isGroup(part)
                ? (
                  <fieldset class="group">
                    <legend class="unseen">{text.builder.group(n + 1)}</legend>
                    <Negation part={part} replace={replace} /> <GroupEditor group={part} remove={remove} {...shared} />
                  </fieldset>
                )
                : <ConditionEditor condition={part} nth={n + 1} remove={remove} {...shared} />}
            </li>
          );
        })}
      </ul>
      <p class="adding">
        <button type="button" ref={adding} onClick={() => add(group, newCondition())}>{text.builder.add}</button>
        <button type="button" onClick={() => add(group, newGroup(!group.any, [newCondition()]))}>
          {text.builder.addGroup}
        </button>
        {removeGroup !== undefined && <button type="button" onClick={removeGroup}>{text.builder.removeGroup}</button>}
      </p>
    </>
  );
}

function Negation({ part, replace }: { part: Part; replace: Shared["replace"] }) {
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={part.not}
        onChange={({ currentTarget }) => replace(part.id, { ...part, not: currentTarget.checked })}
      />{" "}
      {text.builder.not}
    </label>
  );
}

type ConditionProps = { condition: Condition; nth: number; remove: () => void } & Shared;

function ConditionEditor({ condition, nth, remove, facets, fresh, wrong, replace }: ConditionProps) {
  const { id, field, op, values } = condition;
  const choice = useRef<HTMLSelectElement>(null);
  const note = useId();
  const known = useId();
  // At once: the next key is meant for it.
  useLayoutEffect(() => {
    if (id === fresh) choice.current?.focus();
  }, []);
  const put = (next: Condition) => replace(id, next);
  const setValue = (at: number, value: string) =>
    put({ ...condition, values: Object.assign([...values], { [at]: value }) });
  // The last input of a list is for one more.
  const shown = op === "in" ? [...values.filter((value) => value !== ""), ""] : values;
  const says = wrong?.id === id
    ? [wrong.problem.detail ?? wrong.problem.title, wrong.problem.hint].filter(Boolean).join(" ")
    : isComplete(condition)
    ? undefined
    : text.builder.incomplete;
  const described = { "aria-describedby": says === undefined ? undefined : note, "aria-invalid": wrong?.id === id };

  return (
    <div class="condition" role="group" aria-label={text.builder.condition(nth)}>
      <Negation part={condition} replace={replace} />
      <select
        ref={choice}
        aria-label={text.builder.field}
        value={isPath(field) ? "path" : field}
        onChange={({ currentTarget: { value } }) => put(withField(condition, value === "path" ? "details." : value))}
      >
        {Object.keys(FIELDS).map((name) => <option key={name} value={name}>{text.builder.fields[name] ?? name}
        </option>)}
        <option value="path">{text.builder.path}</option>
      </select>
      {isPath(field) && (
        <input
          aria-label={text.builder.pathName}
          value={field}
          spellcheck={false}
          autocapitalize="none"
          placeholder="changes.limit.new"
          onInput={({ currentTarget }) => put({ ...condition, field: currentTarget.value })}
          {...described}
        />
      )}
      <select
        aria-label={text.builder.op}
        value={op}
        onChange={({ currentTarget }) => put(withOp(condition, currentTarget.value))}
      >
        {opsOf(field).map((each) => <option key={each} value={each}>{text.builder.opName(field, each)}</option>)}
      </select>
      <datalist id={known}>
        {valuesOf(field, facets).filter((value) => !/^[<>]/.test(value)).map((value) => (
          <option key={value} value={value} />
        ))}
      </datalist>
      {shown.map((value, n) => (
        <input
          key={n}
          aria-label={op === "between" ? text.builder.ends[n] : n === 0 ? text.builder.value : text.builder.another}
          value={value}
          list={known}
          spellcheck={false}
          autocapitalize="none"
          autocomplete="off"
          placeholder={n > 0 && op === "in" ? text.builder.another : undefined}
          onInput={({ currentTarget }) => setValue(n, currentTarget.value)}
          {...described}
        />
      ))}
      <button type="button" aria-label={text.builder.remove(nth)} onClick={remove}>
        <span aria-hidden="true">×</span>
      </button>
      {says !== undefined && <p id={note} class={wrong?.id === id ? "problem" : "quiet"}>{says}</p>}
    </div>
  );
}
