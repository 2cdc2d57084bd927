// What is owed to whom outside, as the database keeps it (sql/350_receivers.sql): a run claims one checkpoint for one
// receiver, and says what became of it. A run that ends in between leaves a lease; when that is over, another run does the
// same again, which harms nobody:
//   before the receiver got it     it gets it then
//   after the receiver got it      it gets it twice: under the same id, in the same file, at the same size
import { ArchiveError } from "../_shared/archive/archive.ts";
import type { Database } from "../_shared/database.ts";
import { OutsideError } from "../_shared/outside.ts";
import { TlogError } from "../_shared/tlog/error.ts";

export type ReceiverKind = "webhook" | "bucket" | "s3" | "mirror" | "witness";

export type Receiver = { kind: ReceiverKind; name: string; allLogs: boolean };

/** The newest checkpoint of a log, for one receiver. */
export type Delivery = {
  lease: string;
  log: number;
  origin: string;
  folder: string;
  size: number;
  note: string;
  published_at: string;
  /** Of a mirror: up to where it has the full tiles and bundles. */
  copied: number;
};

/** Why a receiver does not have a checkpoint, in a word. */
export class DeliveryError extends Error {
  readonly code: string;
  /** Whether it is the log's own fault, and so none of the receiver's. */
  readonly ofLog: boolean;

  constructor(code: string, { ofLog = false } = {}) {
    super(`A checkpoint could not be delivered: ${code}.`);
    this.name = "DeliveryError";
    this.code = code;
    this.ofLog = ofLog;
  }
}

export async function registerReceivers(
  database: Database,
  kinds: ReceiverKind[],
  receivers: Receiver[],
): Promise<void> {
  const registered = receivers.map(({ kind, name, allLogs }) => ({ kind, name, all_logs: allLogs }));
  await database.askAsOwner({
    name: "register_receivers",
    text: "select audit.register_receivers($1, $2)::text",
    values: [kinds, JSON.stringify(registered)],
  });
}

export async function claimDelivery(
  database: Database,
  { kind, name }: Receiver,
  lease = "2 minutes",
): Promise<Delivery | null> {
  const answer = await database.askAsOwner({
    name: "claim_delivery",
    text: "select audit.claim_delivery($1, $2, $3)::text",
    values: [kind, name, lease],
  });
  return answer === null ? null : JSON.parse(answer) as Delivery;
}

type Claimed = Pick<Delivery, "lease" | "log">;

/** `at`, in seconds since 1970, where the receiver says when. */
export async function recordDelivery(
  database: Database,
  { lease, log, size }: Claimed & { size: number },
  at = Date.now() / 1_000,
): Promise<void> {
  await database.askAsOwner({
    name: "record_delivery",
    text: "select audit.record_delivery($1, $2, $3, to_timestamp($4))::text",
    // A clock that is ahead makes nothing newer.
    values: [lease, log, size, Math.min(at, Date.now() / 1_000)],
  });
}

/** Notes a failure; what nobody foresaw too, so that it does not come at once again. */
export async function failDelivery(
  database: Database,
  { kind, name }: Pick<Receiver, "kind" | "name">,
  { lease, log }: Claimed,
  error: unknown,
): Promise<void> {
  const isKnown = [DeliveryError, OutsideError, ArchiveError, TlogError].some((known) => error instanceof known);
  const code = isKnown ? (error as { code: string }).code : "internal_error";
  const details = isKnown ? {} : { name: (error as Error).name, detail: (error as { code?: string }).code };
  console.error(JSON.stringify({ level: "error", job: "deliveries", kind, receiver: name, log, code, ...details }));
  await database.askAsOwner({
    name: "fail_delivery",
    text: "select audit.fail_delivery($1, $2, $3, retry_after => $4, of_log => $5, gone => $6)::text",
    values: [
      lease,
      log,
      code,
      error instanceof OutsideError || error instanceof ArchiveError ? error.retryAfter ?? 0 : 0,
      error instanceof DeliveryError && error.ofLog,
      code === "http_410",
    ],
  });
}
