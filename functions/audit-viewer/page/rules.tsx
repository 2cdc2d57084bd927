// What is watched for: the organisation's own rules and the defaults. Admins switch them, auditors read them.
import { useCallback, useEffect, useState } from "preact/hooks";
import { isProblem, type Problem } from "./api.ts";
import type { ViewProps } from "./app.tsx";
import { ConfirmButton } from "./confirm.tsx";
import { ProblemNote } from "./problem_note.tsx";
import { formatRoute } from "./route.ts";
import type { Rule } from "./rule_draft.ts";
import { text } from "./text.ts";

export function Rules({ api, membership }: ViewProps) {
  const organization = membership.organization_id;
  const isAdmin = membership.as === "admin";
  const [rules, setRules] = useState<Rule[]>();
  const [problem, setProblem] = useState<Problem>();

  const load = useCallback(async () => {
    const answer = await api.get<{ rules: Rule[] }>("/rules", { organization_id: organization });
    if (isProblem(answer)) return setProblem(answer);
    setProblem(undefined);
    setRules(answer.rules);
  }, [api, organization]);
  useEffect(() => void load(), [load]);

  const turn = async ({ id, default: isDefault, enabled }: Rule) => {
    const answer = isDefault
      ? await api.post<Rule>(`/rules/${id}/choice`, { organization_id: organization, enabled: !enabled })
      : await api.patch<Rule>(`/rules/${id}`, { enabled: !enabled });
    if (isProblem(answer)) return setProblem(answer);
    await load();
  };
  const remove = async ({ id }: Rule) => {
    const answer = await api.remove<Rule>(`/rules/${id}`);
    if (isProblem(answer)) return setProblem(answer);
    await load();
  };

  const list = (shown: Rule[]) => (
    <ul class="rules">
      {shown.map((rule) => (
        <li key={rule.id}>
          <RuleItem {...{ rule, organization }} turn={isAdmin ? turn : undefined} remove={remove} />
        </li>
      ))}
    </ul>
  );
  const own = rules?.filter((rule) => !rule.default) ?? [];
  return (
    <section class="watch">
      <h1>{text.views.rules}</h1>
      <p>
        <a href={formatRoute("alerts", "", { organization })}>{text.rules.alerts}</a>
        {isAdmin && (
          <>
            {" · "}
            <a href={formatRoute("rule", "new", { organization })}>{text.rules.make}</a>
          </>
        )}
      </p>
      {problem !== undefined && <ProblemNote problem={problem} retry={load} />}
      {rules !== undefined && (
        <>
          <h2>{text.rules.own}</h2>
          {own.length === 0 ? <p class="quiet">{text.rules.none}</p> : list(own)}
          <h2>{text.rules.defaults}</h2>
          <p class="quiet">{text.rules.about}</p>
          {list(rules.filter((rule) => rule.default))}
        </>
      )}
    </section>
  );
}

type ItemProps = {
  rule: Rule;
  organization: string;
  /** Undefined where the reader may not. */
  turn: ((rule: Rule) => void) | undefined;
  remove: (rule: Rule) => void;
};

function RuleItem({ rule, organization, turn, remove }: ItemProps) {
  const { id, name, kind, severity, enabled } = rule;
  return (
    <article class={`rule ${enabled ? severity : "off"}`} aria-label={name}>
      <h3 dir="auto">
        <a href={formatRoute("rule", id, { organization })}>{name}</a>
      </h3>
      <p class="quiet">
        {text.alerts.severities[severity] ?? severity} · {text.rules.kinds[kind] ?? kind}
        {rule.tuned === true && ` · ${text.rules.tuned}`}
        {!enabled && ` · ${text.rules.off}`}
      </p>
      {turn !== undefined && (
        <div class="buttons">
          <button
            type="button"
            aria-label={enabled ? text.rules.turnOff(name) : text.rules.turnOn(name)}
            onClick={() => turn(rule)}
          >
            {enabled ? text.rules.switchOff : text.rules.switchOn}
          </button>
          {!rule.default && (
            <ConfirmButton
              label={text.rules.remove}
              about={name}
              title={text.rules.removeTitle(name)}
              confirm={() => remove(rule)}
            >
              <p>{text.rules.removeSays}</p>
            </ConfirmButton>
          )}
        </div>
      )}
    </article>
  );
}
