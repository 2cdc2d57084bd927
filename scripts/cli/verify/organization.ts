/** All logs of an organisation that an archive has: each for itself, and that together they are one history. */
import { formatOrigin } from "../../../functions/_shared/tlog/origin.ts";
import type { BundleResult } from "./bundle_check.ts";
import { type Break, Chains } from "./chains.ts";
import type { LogFiles } from "./files.ts";
import { sameBytes } from "./hashing.ts";
import { Heartbeats } from "./heartbeats.ts";
import { count } from "./ledger.ts";
import { type Follower, type Kit, type LogVerdict, type Remembered, verifyLog } from "./log.ts";
import { type Opening, type Purge, readOpening, readPurge } from "./month.ts";

export type OrganizationTask = {
  base: string;
  organizationId: string;
  /** From the oldest; "2026-11". */
  months: { month: string; files: LogFiles }[];
  /** What others remember of a log. */
  remembered(origin: string): Remembered[];
  fromIndex: number;
  /** Whether what follows needs the hashes of all entries, and not only of the last log's. */
  keepsHashes: boolean;
};

export type OrganizationVerdict = {
  organizationId: string;
  logs: LogVerdict[];
  chains: Chains;
  heartbeats: number;
  purges: Purge[];
};

export async function verifyOrganization(task: OrganizationTask, kit: Kit): Promise<OrganizationVerdict> {
  const { base, organizationId, months, remembered, fromIndex, keepsHashes } = task;
  const chains = new Chains(organizationId);
  const heartbeats = new Heartbeats(kit.ledger);
  const logs: LogVerdict[] = [];
  const purges: Purge[] = [];
  for (const { month, files } of months) {
    const origin = formatOrigin({ base, organizationId, month });
    const follower = new MonthFollower(origin, chains, heartbeats, purges);
    const log = await verifyLog(
      { origin, files, organizationId, remembered: remembered(origin), fromIndex },
      kit,
      follower,
    );
    heartbeats.compare(chains);
    if (log.state !== "unread" && log.state !== "expired") linkMonths(log, logs, follower, fromIndex > 0, kit);
    logs.push(log);
    if (!keepsHashes) chains.forget();
  }
  heartbeats.end(chains);
  for (const log of logs) if (log.state === "expired") reportExpired(log, purges, kit);
  return { organizationId, logs, chains, heartbeats: heartbeats.count, purges };
}

class MonthFollower implements Follower {
  /** What entry 0 says; undefined where it opens no log. */
  opening: Opening | "unread" | undefined = "unread";
  readonly #origin: string;
  readonly #chains: Chains;
  readonly #heartbeats: Heartbeats;
  readonly #purges: Purge[];

  constructor(origin: string, chains: Chains, heartbeats: Heartbeats, purges: Purge[]) {
    this.#origin = origin;
    this.#chains = chains;
    this.#heartbeats = heartbeats;
    this.#purges = purges;
  }

  get heads() {
    return this.#chains.heads;
  }

  take(result: BundleResult, first: number): Break[] {
    if (first === 0 && result.leaves.length > 0) {
      const [opener] = result.texts;
      this.opening = opener?.position === 0 ? readOpening(opener.text) : undefined;
      if (this.opening?.previous === null && this.#chains.heads.size === 0) this.#chains.isWhole = true;
      if (this.opening !== undefined) this.#heartbeats.alive(this.opening.at, this.#origin);
    }
    const breaks: Break[] = [];
    for (const segment of result.segments) {
      const found = this.#chains.join(segment, result.hashes, this.#origin, first);
      if (found !== undefined) breaks.push(found);
    }
    for (const { position, text } of result.texts) {
      this.#heartbeats.take(text, this.#origin, first + position);
      const purge = readPurge(text);
      if (purge !== undefined) this.#purges.push(purge);
    }
    return breaks;
  }
}

/** Retention lets go of a log's archive but for its checkpoint, and leaves an entry in a later log. */
function reportExpired({ origin, checkpoint }: LogVerdict, purges: Purge[], { ledger }: Kit): void {
  const { size, root } = checkpoint!;
  const purge = purges.find(({ log }) => log?.origin === origin && log.size === size && sameBytes(log.root, root));
  if (purge !== undefined) {
    return ledger.leaveOpen(
      `The ${count(size)} entries of ${origin}: retention let go of them, as entry ${purge.name} says.`,
    );
  }
  const message = `All ${
    count(size)
  } entries are missing, and no entry of a later log says that retention let go of them.`;
  ledger.found({ code: "missing_bundle", message, log: origin });
}

/** Whether a log begins with what the one before ended with. */
function linkMonths(
  { origin, checkpoint }: LogVerdict,
  before: LogVerdict[],
  { opening }: MonthFollower,
  isPruned: boolean,
  { ledger }: Kit,
): void {
  const found = (code: "bad_opening" | "month_missing" | "previous_mismatch" | "rolled_back", message: string) =>
    ledger.found({ code, message, log: origin, index: 0 });
  const last = before.at(-1);
  if (checkpoint!.size === 0) return ledger.leaveOpen(`Which log was before ${origin}: it has no entries.`);
  if (isPruned) return ledger.leaveOpen(`Which log was before ${origin}: its beginning was not read.`);
  // Which has been said.
  if (opening === "unread") return;
  if (opening === undefined || opening.origin !== origin) {
    return found("bad_opening", "Its first entry does not open this log.");
  }
  const { previous } = opening;
  if (previous === null) {
    if (last !== undefined) {
      found("previous_mismatch", `It says that it is the first log, but there is ${last.origin}.`);
    }
    return;
  }
  if (previous.origin >= origin) {
    return found("bad_opening", `It says that it continues ${previous.origin}, which is not older.`);
  }
  if (last === undefined) {
    return ledger.leaveOpen(
      `What was before ${origin}: ${previous.origin} (${count(previous.size)} entries) is not in this archive. The ` +
        "beginnings of its chains are taken on trust.",
    );
  }
  if (last.origin !== previous.origin) {
    return found(
      "month_missing",
      `It continues ${previous.origin}, which is missing: before it there is ${last.origin}.`,
    );
  }
  // Without a checkpoint that can be believed there is nothing to compare, which has been said.
  if (last.checkpoint === undefined) return;
  const { size, root } = last.checkpoint;
  if (size < previous.size) {
    const message = `${last.origin} ended with ${count(previous.size)} entries, and this archive has ${count(size)}.`;
    ledger.found({ code: "rolled_back", message, log: last.origin });
  } else if (size !== previous.size || !sameBytes(root, previous.root)) {
    found("previous_mismatch", `It continues a history of ${previous.origin} that is not the one in this archive.`);
  }
}
