// What the admins of an organisation choose for it. Each change answers how it stands afterwards.
import { createRoute, type z } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, askBody, askOf, json } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, body, SIGNED_IN } from "../respond.ts";
import {
  AuditorBody,
  AuditorPath,
  HoldBody,
  HoldRelease,
  OrganizationParameters,
  RetentionBody,
  Settings,
  SettingsChange,
} from "../schemas.ts";

const TAG = { tags: ["Settings"], security: SIGNED_IN, responses: answers("What is chosen now.", Settings) };

const list = createRoute({
  ...TAG,
  method: "get",
  path: "/settings",
  summary: "What was chosen for an organisation",
  description: "Settings in force, retention, legal holds, auditors. For admins.",
  request: { query: OrganizationParameters },
});

const change = createRoute({
  ...TAG,
  method: "patch",
  path: "/settings",
  summary: "Choose settings",
  description:
    "Those that are given. What is the project's alone is its owner's to choose. Leaves an entry each. For admins.",
  request: { body: body(SettingsChange) },
});

const post = <S extends z.ZodType>(
  path: "/retention" | "/holds" | "/holds/release" | "/auditors",
  summary: string,
  description: string,
  schema: S,
) =>
  createRoute({
    ...TAG,
    method: "post",
    path,
    summary,
    description: `${description} Leaves an entry. For admins.`,
    request: { body: body(schema) },
  });

const retention = post(
  "/retention",
  "Choose how long entries are kept",
  "Longer applies at once. Shorter applies after some days (retention.next says when); until then setting it again takes it back.",
  RetentionBody,
);
const hold = post(
  "/holds",
  "Place a legal hold",
  "Nothing of the organisation is deleted while one holds, in the database or in the archive.",
  HoldBody,
);
const release = post("/holds/release", "Release a legal hold", "What is past its retention may go again.", HoldRelease);
const grant = post(
  "/auditors",
  "Let somebody audit the log",
  "Until a time, at which it ends by itself. Somebody who is an auditor already: until another time.",
  AuditorBody,
);

const revoke = createRoute({
  ...TAG,
  method: "delete",
  path: "/auditors/{user_id}",
  summary: "End an auditor's access",
  description: "At once. Leaves an entry. For admins.",
  request: { params: AuditorPath, query: OrganizationParameters },
});

export function addSettings(app: App, deps: Deps): void {
  app.openapi(list, async (c) => json(await ask(c, deps, "settings_page", JSON.stringify(c.req.valid("query")))));
  app.openapi(change, async (c) => json(await askBody(c, deps, "change_settings")));
  app.openapi(retention, async (c) => json(await askBody(c, deps, "change_retention")));
  app.openapi(hold, async (c) => json(await askBody(c, deps, "change_hold")));
  app.openapi(release, async (c) => json(await askOf(c, deps, "change_hold", { release: true })));
  app.openapi(grant, async (c) => json(await askBody(c, deps, "change_auditor")));
  app.openapi(revoke, async (c) => {
    const request = { ...c.req.valid("query"), ...c.req.valid("param"), revoke: true };
    return json(await ask(c, deps, "change_auditor", JSON.stringify(request)));
  });
}
