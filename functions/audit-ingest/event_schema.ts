// What an event may say, strictly. What only the database knows (organisations, keys that were used) is checked there.
import { z } from "zod";

const MOST_DETAILS = 32 * 1024;
const MOST_LEVELS = 32;

/** PostgreSQL keeps no NUL and no half characters. */
const text = (most: number) =>
  z.string().min(1).max(most).refine((value) => !/\0|\p{Surrogate}/u.test(value), "It holds NUL or half a character.");

const details = z.record(z.string(), z.unknown())
  .refine((value) => levels(value) <= MOST_LEVELS, `Details have at most ${MOST_LEVELS} levels.`)
  .refine(
    (value) => levels(value) > MOST_LEVELS || new TextEncoder().encode(JSON.stringify(value)).length <= MOST_DETAILS,
    `Details have at most ${MOST_DETAILS} bytes.`,
  )
  .refine((value) => isStorable(value), "Details hold NUL or half a character.");

export const Event = z.strictObject({
  action: z.string().max(100).regex(
    /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$/,
    "An action is dotted, in lower case and past tense: report.generated.",
  ),
  organization_id: z.guid().optional(),
  resource_type: text(200).optional(),
  resource_id: text(500).optional(),
  outcome: z.enum(["success", "failure", "denied"]).default("success"),
  occurred_at: z.iso.datetime({ offset: true }).refine(
    (value) => Date.parse(value) > 0,
    "It is before 1970.",
  ).optional(),
  actor: z.strictObject({
    user_id: z.guid().optional(),
    type: z.enum(["user", "api_key", "service", "system"]).optional(),
    email: text(320).optional(),
    ip_address: text(64).optional(),
    user_agent: text(500).optional(),
  }).optional(),
  request_id: text(200).optional(),
  provider: text(200).optional(),
  cost: z.union([
    z.number().min(-1e15).max(1e15),
    z.string().regex(/^-?\d{1,15}(\.\d{1,15})?$/, "A decimal number."),
  ]).optional(),
  details: details.default({}),
  idempotency_key: text(200).optional(),
});

export type Event = z.infer<typeof Event>;

/** What the database is given. */
export function toRow({ actor = {}, idempotency_key, ...event }: Event, key: string | undefined): object {
  const { type, ...who } = actor;
  return { ...event, ...who, actor_type: type, key: idempotency_key ?? key };
}

function levels(value: unknown, depth = 0): number {
  if (typeof value !== "object" || value === null || depth > MOST_LEVELS) return depth;
  return Object.values(value).reduce((deepest: number, each) => Math.max(deepest, levels(each, depth + 1)), depth + 1);
}

function isStorable(value: unknown): boolean {
  if (typeof value === "string") return !/\0|\p{Surrogate}/u.test(value);
  if (typeof value !== "object" || value === null || levels(value) > MOST_LEVELS) return true;
  return Object.entries(value).every(([name, each]) => isStorable(name) && isStorable(each));
}
