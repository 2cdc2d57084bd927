// Rules: what is watched for. Read by admins and auditors, written by admins.
import { createRoute } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, askOf, json, replacing } from "../ask.ts";
import type { Place } from "../../_shared/problem.ts";
import type { Deps } from "../deps.ts";
import { answers, body, PROBLEMS, SIGNED_IN } from "../respond.ts";
import {
  NoParameters,
  OrganizationParameters,
  Rule,
  RuleChanges,
  RuleChoice,
  RuleDraft,
  RuleList,
  RulePath,
  RulePreview,
  RulePreviewBody,
  RuleTestBody,
  RuleTests,
} from "../schemas.ts";

const list = createRoute({
  method: "get",
  path: "/rules",
  tags: ["Rules"],
  summary: "The rules of an organisation",
  description: "The defaults, as the organisation has tuned them, and its own.",
  security: SIGNED_IN,
  request: { query: OrganizationParameters },
  responses: answers("Rules.", RuleList),
});

const create = createRoute({
  method: "post",
  path: "/rules",
  tags: ["Rules"],
  summary: "Make a rule",
  description: "It looks at entries from now on. Leaves a rule.changed entry. For admins.",
  security: SIGNED_IN,
  request: { body: body(RuleDraft) },
  responses: { 201: { description: "The rule.", content: { "application/json": { schema: Rule } } }, ...PROBLEMS },
});

const change = createRoute({
  method: "patch",
  path: "/rules/{id}",
  tags: ["Rules"],
  summary: "Change a rule",
  description:
    "The fields that are named; with version only if it is still that. Where what it is about changes, it begins anew. " +
    "Leaves a rule.changed entry with what was and what is. For admins.",
  security: SIGNED_IN,
  request: { params: RulePath, body: body(RuleChanges) },
  responses: answers("The rule.", Rule),
});

const remove = createRoute({
  method: "delete",
  path: "/rules/{id}",
  tags: ["Rules"],
  summary: "Delete a rule",
  description: "Its alerts are resolved, and stay. A default is switched off instead. For admins.",
  security: SIGNED_IN,
  request: { params: RulePath, query: NoParameters },
  responses: answers("The rule, as it was.", Rule),
});

const choose = createRoute({
  method: "post",
  path: "/rules/{id}/choice",
  tags: ["Rules"],
  summary: "Tune a default, or switch it off",
  description:
    "For one organisation; without any field it is the default again. Leaves a rule.changed entry. For admins.",
  security: SIGNED_IN,
  request: { params: RulePath, body: body(RuleChoice) },
  responses: answers("The rule as it holds for the organisation.", Rule),
});

const preview = createRoute({
  method: "post",
  path: "/rules/preview",
  tags: ["Rules"],
  summary: "What a rule would have raised",
  description:
    "A dry run over history: of 100,000 entries at most, 200 alerts of it. next says from where to go on. Leaves nothing behind.",
  security: SIGNED_IN,
  request: { body: body(RulePreviewBody) },
  responses: answers("What would have fired, and when.", RulePreview),
});

const test = createRoute({
  method: "post",
  path: "/rules/test",
  tags: ["Rules"],
  summary: "Test a rule on samples",
  description: "On those that are kept with it, or on those of the request. Leaves nothing behind.",
  security: SIGNED_IN,
  request: { body: body(RuleTestBody) },
  responses: answers("A verdict for each sample.", RuleTests),
});

export function addRules(app: App, deps: Deps): void {
  app.openapi(list, async (c) => json(await ask(c, deps, "list_rules", JSON.stringify(c.req.valid("query")))));
  app.openapi(create, async (c) => json(await ask(c, deps, "create_rule", await c.req.text()), 201));
  // SQL says where in the rule; the rule is a field of these requests.
  const inRule = (place: Place) => place.path === undefined ? place : { ...place, path: `/rule${place.path}` };
  app.openapi(
    preview,
    async (c) => json(await replacing(async () => ask(c, deps, "preview_rule", await c.req.text()), inRule)),
  );
  app.openapi(
    test,
    async (c) => json(await replacing(async () => ask(c, deps, "test_rule", await c.req.text()), inRule)),
  );
  app.openapi(change, async (c) => json(await askOf(c, deps, "change_rule", c.req.valid("param"))));
  app.openapi(remove, async (c) => json(await ask(c, deps, "delete_rule", JSON.stringify(c.req.valid("param")))));
  app.openapi(choose, async (c) => json(await askOf(c, deps, "choose_rule", c.req.valid("param"))));
}
