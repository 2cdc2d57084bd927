// POST /events: what applications and services know and no table shows. One event, or a list of up to 1,000, each with a
// verdict of its own: a bad one costs no other.
import type { z } from "zod";
import { Problem } from "../../_shared/problem.ts";
import type { App } from "../app.ts";
import { bearerOf, sourceOfBearer, sourceOfSignature } from "../authenticate.ts";
import { parseBody, readBody } from "../body.ts";
import type { Deps } from "../deps.ts";
import { Event, toRow } from "../event_schema.ts";

const LIMITS = { sent: 4 * 1024 * 1024, unpacked: 4 * 1024 * 1024 };
const MOST_EVENTS = 1_000;

type Rejection = { status: number; code: string; detail: string; path?: string };
type Verdict =
  | { event: number; verdict: "recorded" | "duplicate"; entry?: string; hash?: string }
  | { event: number; verdict: "rejected" } & Omit<Rejection, "status">;

/** Verdicts of audit.record_events() that are no entry. */
const REJECTIONS: Record<string, Rejection> = {
  reserved_action: {
    status: 422,
    code: "reserved_action",
    detail: "Entries of this action are written by the audit log alone.",
    path: "/action",
  },
  other_organization: {
    status: 403,
    code: "other_organization",
    detail: "The source reports for another organisation only.",
    path: "/organization_id",
  },
  in_the_future: {
    status: 422,
    code: "in_the_future",
    detail: "The event is said to happen more than a day from now.",
    path: "/occurred_at",
  },
  key_reused: { status: 409, code: "key_reused", detail: "Another event had this idempotency key." },
};

export function addEvents(app: App, { database, serviceKeys }: Deps): void {
  app.post("/events", async (c) => {
    // A token is looked at before the body is taken in; a signature is one of the body.
    const authorization = c.req.header("authorization");
    const isSigned = authorization === undefined && c.req.header("webhook-signature") !== undefined;
    const known = isSigned ? undefined : await sourceOfBearer(database, serviceKeys, bearerOf(authorization));
    const bytes = await readBody(c.req.raw, LIMITS);
    const source = known ?? await sourceOfSignature(database, c.req.raw.headers, bytes);
    const body = parseBody(bytes);
    const sent = Array.isArray(body) ? body : [body];
    if (sent.length > MOST_EVENTS) throw new Problem("too_large", `A batch has at most ${MOST_EVENTS} events.`);

    const key = c.req.header("idempotency-key") ?? (isSigned ? c.req.header("webhook-id") : undefined);
    if (key !== undefined && key.length > 200) {
      throw new Problem("invalid_request", "An idempotency key has at most 200 characters.");
    }
    const verdicts: Verdict[] = [];
    const rejections = new Map<number, Rejection>();
    const rows: object[] = [];
    const eventOf: number[] = [];
    sent.forEach((raw, event) => {
      const { success, data, error } = Event.safeParse(raw);
      if (!success) {
        rejections.set(event, toRejection(error));
        return;
      }
      rows.push(toRow(data, key === undefined || !Array.isArray(body) ? key : `${key}/${event}`));
      eventOf.push(event);
    });
    for (const { event, verdict, ...entry } of await record(source, rows)) {
      const rejection = REJECTIONS[verdict];
      if (rejection !== undefined) rejections.set(eventOf[event]!, rejection);
      else verdicts.push({ event: eventOf[event]!, verdict: verdict as "recorded", ...entry });
    }

    if (!Array.isArray(body)) {
      const rejection = rejections.get(0);
      if (rejection !== undefined) {
        const { status, code, detail, path } = rejection;
        throw new Problem(
          [status, code, "The event was not recorded."],
          detail,
          path === undefined ? {} : { place: { path } },
        );
      }
      const { event: _, ...verdict } = verdicts[0]!;
      return c.json(verdict, verdict.verdict === "recorded" ? 201 : 200);
    }
    for (const [event, { status: _, ...rejection }] of rejections) {
      verdicts.push({ event, verdict: "rejected", ...rejection });
    }
    const count = (verdict: Verdict["verdict"]) => verdicts.filter((each) => each.verdict === verdict).length;
    return c.json({
      recorded: count("recorded"),
      duplicate: count("duplicate"),
      rejected: count("rejected"),
      events: verdicts.sort((a, b) => a.event - b.event),
    });
  });

  type Recorded = { event: number; verdict: string; entry?: string; hash?: string };

  async function record(source: string, rows: object[]): Promise<Recorded[]> {
    if (rows.length === 0) return [];
    const answer = JSON.parse(
      (await database.askAsOwner({
        name: "record_events",
        text: "select audit.record_events($1, $2)::text",
        values: [source, JSON.stringify(rows)],
      }))!,
    ) as { results: Recorded[] } | { retry_after: number; events_per_minute: number };
    if ("results" in answer) return answer.results;
    throw new Problem("too_many_requests", `The source may report ${answer.events_per_minute} events a minute.`, {
      hint: `Try again in ${answer.retry_after} seconds.`,
      headers: { "retry-after": String(answer.retry_after) },
    });
  }
}

function toRejection(error: z.ZodError): Rejection {
  const issue = error.issues[0]!;
  const steps = issue.code === "unrecognized_keys" ? [...issue.path, issue.keys[0]!] : issue.path;
  return {
    status: 400,
    code: "invalid_event",
    detail: issue.code === "unrecognized_keys" ? "There is no such field." : issue.message,
    path: steps.map((step) => `/${String(step).slice(0, 50).replaceAll("~", "~0").replaceAll("/", "~1")}`).join(""),
  };
}
