// Reports by schedule.
import { createRoute } from "@hono/zod-openapi";
import { Cron } from "croner";
import { Problem } from "../../_shared/problem.ts";
import type { App } from "../app.ts";
import { ask, askBody, askOf, json } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, body, SIGNED_IN } from "../respond.ts";
import {
  NoParameters,
  OrganizationParameters,
  ReportPath,
  Schedule,
  ScheduleBody,
  ScheduleChange,
  ScheduleList,
} from "../schemas.ts";

const create = createRoute({
  method: "post",
  path: "/report-schedules",
  tags: ["Reports"],
  summary: "Have a report made by schedule",
  description:
    "For admins. Each is about the last whole month, quarter or year in the time zone. A run that was missed is caught up " +
    "once.",
  security: SIGNED_IN,
  request: { body: body(ScheduleBody) },
  responses: answers("The schedule.", Schedule),
});

const list = createRoute({
  method: "get",
  path: "/report-schedules",
  tags: ["Reports"],
  summary: "Which reports are made by schedule",
  security: SIGNED_IN,
  request: { query: OrganizationParameters },
  responses: answers("Schedules, those of the whole project included.", ScheduleList),
});

const pause = createRoute({
  method: "patch",
  path: "/report-schedules/{id}",
  tags: ["Reports"],
  summary: "Pause a schedule, or go on with it",
  description: "What was due meanwhile is not caught up. Leaves an entry. For admins.",
  security: SIGNED_IN,
  request: { params: ReportPath, body: body(ScheduleChange) },
  responses: answers("The schedule.", Schedule),
});

const remove = createRoute({
  method: "delete",
  path: "/report-schedules/{id}",
  tags: ["Reports"],
  summary: "End a schedule",
  security: SIGNED_IN,
  request: { params: ReportPath, query: NoParameters },
  responses: answers("The schedule that was.", Schedule),
});

export function addSchedules(app: App, deps: Deps): void {
  app.openapi(create, async (c) => {
    checkCron(c.req.valid("json").cron);
    return json(await askBody(c, deps, "schedule_report"));
  });
  app.openapi(list, async (c) => json(await ask(c, deps, "list_schedules", JSON.stringify(c.req.valid("query")))));
  app.openapi(pause, async (c) => json(await askOf(c, deps, "pause_schedule", { schedule: c.req.valid("param").id })));
  app.openapi(
    remove,
    async (c) => json(await ask(c, deps, "unschedule_report", JSON.stringify({ schedule: c.req.param("id") }))),
  );
}

/** What comes round more often than once an hour would make the same report again and again. */
function checkCron(cron: string): void {
  const place = { path: "/cron" };
  let runs: Date[];
  try {
    runs = new Cron(cron, { mode: "5-part", timezone: "UTC" }).nextRuns(25);
  } catch {
    throw new Problem("invalid_request", "The cron expression cannot be read.", {
      place,
      hint: "Five fields: minute, hour, day of month, month, day of week; for example 0 6 1 * *.",
    });
  }
  if (runs.length === 0) throw new Problem("invalid_request", "The cron expression never comes round.", { place });
  if (runs.some((run, at) => at > 0 && run.getTime() - runs[at - 1]!.getTime() < 3_600_000)) {
    throw new Problem("invalid_request", "A report is made once an hour at most.", { place });
  }
}
