// A log that was lost, put back into an empty database: everything in one transaction, so there is all of it or nothing.
import type pg from "pg";
import { entryHash, MAX_ENTRY_BYTES, parseEntryText } from "../../../functions/_shared/entry.ts";
import { TlogError } from "../../../functions/_shared/tlog/error.ts";
import { formatOrigin } from "../../../functions/_shared/tlog/origin.ts";
import { decodeText } from "../../../functions/_shared/tlog/text.ts";
import { LOG_CHAIN } from "../verify/bundle_check.ts";
import type { LogFiles } from "../verify/files.ts";
import type { Target } from "../verify/target.ts";
import {
  type Backup,
  type BackupBound,
  type BackupCheckpoint,
  type BackupHead,
  type BackupLog,
  rowsOf,
} from "./backup.ts";
import { chainKey, type Facts, noFacts, noteFacts, SYSTEM } from "./facts.ts";
import { type LogRead, type LogReader, readLog, type SealedEntry } from "./log.ts";

export type RebuildTask = {
  /** Of the deployment: the beginning of every origin. */
  base: string;
  target: Target;
  reader: LogReader;
  /** Undefined: from the archive alone, without personal data, settings, and what was not sealed. */
  backup: Backup | undefined;
  /** Restores what is there though it does not verify. */
  despiteFindings: boolean;
  /** Told what is being done. */
  onStep(step: string): void;
};

export type Rebuilt = {
  incarnation: number;
  logs: number;
  /** How many entries are back in the database. */
  entries: number;
  /** Of them, those that the backup alone had. */
  unsealed: number;
  /** Entries that were known of and are nowhere: [chain, first, last] by organisation. */
  lost: { organizationId: string; chains: [number, number, number][] }[];
  erased: number;
  /** Tables that were tracked and are not there. */
  missingTables: string[];
  /** Whether the roles of people are known as before. */
  membership: boolean;
  /** A backup that is newer than the one given. */
  newerBackup: string | undefined;
  /** What audit.verify() and audit.verify_logs() say that is not as it should be. */
  broken: string[];
};

/** It was put back, and is not what it should be: nothing was kept. */
export class RestoreError extends Error {
  override name = "RestoreError";
}

export async function rebuild(client: pg.Client, task: RebuildTask): Promise<Rebuilt> {
  await client.query("begin; set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0");
  try {
    const rebuilt = await new Rebuild(client, task).run();
    await client.query("commit");
    return rebuilt;
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
}

/** The last entry of a chain that is back. */
type Head = { organizationId: string; chain: number; seq: number; lastAt: string; prevHash: string; hash: string };

const BATCH = 1_000;
/** What an entry can name. */
const MOST_NAMED = 100;

class Rebuild {
  readonly #client: pg.Client;
  readonly #task: RebuildTask;
  readonly #facts: Facts = noFacts();
  /** How far each chain was purged. */
  readonly #bounds = new Map<string, number>();
  readonly #heads = new Map<string, Head>();
  readonly #logs = new Map<string, BackupLog>();
  readonly #known = new Map<string, BackupCheckpoint[]>();
  #entries = 0;

  constructor(client: pg.Client, task: RebuildTask) {
    this.#client = client;
    this.#task = task;
    for (const log of rowsOf<BackupLog>(task.backup, "logs")) this.#logs.set(log.origin, log);
    for (const checkpoint of rowsOf<BackupCheckpoint>(task.backup, "checkpoints")) {
      this.#known.set(checkpoint.origin, [...this.#known.get(checkpoint.origin) ?? [], checkpoint]);
    }
  }

  async run(): Promise<Rebuilt> {
    const { target, backup, onStep } = this.#task;
    await this.#call("begin_restore");
    onStep("reading the archive");
    await this.#forEachLog((origin, files, organizationId) =>
      this.#read(origin, files, (entries) => noteFacts(this.#facts, organizationId, entries))
    );
    this.#checkBackup();
    await this.#call("ensure_partitions_since", monthOf(this.#facts.oldest ?? BigInt(Date.now()) * 1000n));
    await this.#restoreSections(["restores", "settings", "auditors", "retention_periods", "holds", "purges"]);
    await this.#restoreSections(["receivers", "findings", "backups", "erasures", "report_schedules", "reports"]);
    await this.#restoreBounds();

    let logs = 0;
    await this.#forEachLog(async (origin, files, organizationId, month, next) => {
      onStep(origin);
      await this.#restoreLog(origin, files, organizationId, month, next);
      logs++;
    });
    const sealed = [...this.#heads.values()];
    await this.#call(
      "restore_sequenced",
      sealed.map(({ organizationId, chain, seq, lastAt }) => ({
        organization_id: organizationId,
        chain,
        seq,
        last_at: lastAt,
      })),
    );
    if (target.anchor !== undefined) await this.#restoreAnchor(target.anchor);
    await this.#restoreSections(["receiver_logs"]);
    onStep("what was not sealed, and personal data");
    const unsealed = await this.#restoreLarge();
    this.#addPurgedHeads();
    await this.#call(
      "restore_heads",
      [...this.#heads.values()].map((head) => ({
        organization_id: head.organizationId,
        chain: head.chain,
        seq: head.seq,
        last_at: head.lastAt,
        prev_hash: head.prevHash,
        hash: head.hash,
      })),
    );
    for (const { organizationId, at, details } of this.#facts.erasures) {
      await this.#call("erase_again", organizationId, instantText(at), details);
    }
    await this.#call("release_unused");

    const incarnation = Math.max(this.#facts.incarnation, backup?.incarnation ?? 1) + 1;
    const lost = this.#lost();
    const membership = await this.#restoreMembership();
    const missingTables = await this.#end(incarnation, lost, unsealed);
    onStep("verifying the database");
    const broken = await this.#verify();
    if (broken.length > 0 && !this.#task.despiteFindings) {
      throw new RestoreError(`What was put back does not verify, and was not kept: ${broken.slice(0, 5).join("; ")}.`);
    }
    return {
      incarnation,
      logs,
      entries: this.#entries,
      unsealed,
      lost,
      erased: this.#facts.erasures.length,
      missingTables,
      membership,
      newerBackup: this.#newerBackup(),
      broken,
    };
  }

  async #forEachLog(
    work: (
      origin: string,
      files: LogFiles,
      organizationId: string,
      month: string,
      next: string | undefined,
    ) => Promise<unknown>,
  ): Promise<void> {
    const { base, target } = this.#task;
    for (const { organizationId, months } of target.organizations) {
      for (const [at, { month, files }] of months.entries()) {
        await work(formatOrigin({ base, organizationId, month }), files, organizationId, month, months[at + 1]?.month);
      }
    }
  }

  #read(origin: string, files: LogFiles, take: (entries: SealedEntry[]) => Promise<void> | void) {
    const known = (this.#known.get(origin) ?? []).map(({ size, root }) => [size, root] as const);
    return readLog(this.#task.reader, origin, files, take, new Map(known));
  }

  /** Those that stand beside a log: the last, and of the backup's older ones those that its entries led to. */
  #checkpointsOf(origin: string, { size, root, frontier, note }: LogRead): object[] {
    const known = this.#known.get(origin) ?? [];
    const last = known.find((each) => each.size === size && each.root === root);
    return [...known.filter((each) => each.size < size && each.note !== null && frontier !== null), {
      ...last,
      size,
      root,
      frontier: frontier ?? last?.frontier ?? "",
      note,
    }];
  }

  async #restoreSections(sections: string[]): Promise<void> {
    for (const section of sections) {
      const rows = this.#task.backup?.sections.get(section) ?? [];
      for (let at = 0; at < rows.length; at += BATCH) await this.#restoreRows(section, rows.slice(at, at + BATCH));
    }
  }

  /** Rows as JSON, which goes to the database as it came from there. */
  #restoreRows(section: string, rows: string[]): Promise<unknown> {
    return this.#call("restore_rows", section, `[${rows.join(",")}]`);
  }

  /**
   * Entries that were purged stay where they are, in the archive. What was purged after the backup comes back, and is purged
   * again by its retention: except where the archive has let go of it too, and a log.purged entry says so.
   */
  async #restoreBounds(): Promise<void> {
    const kept = this.#task.backup?.sections.get("chain_bounds") ?? [];
    const rows = new Map(kept.map((row) => {
      const { organization_id, chain, seq } = JSON.parse(row) as BackupBound;
      this.#bounds.set(chainKey(organization_id, chain), seq);
      return [chainKey(organization_id, chain), row];
    }));
    for (const [key, { seq, hash, stated }] of this.#facts.bounds) {
      const first = this.#facts.firsts.get(key);
      if (seq <= (this.#bounds.get(key) ?? 0) || first !== undefined && first.seq <= seq) continue;
      const [organizationId, chain] = key.split("/") as [string, string];
      this.#bounds.set(key, seq);
      rows.set(
        key,
        JSON.stringify({
          organization_id: organizationId,
          chain: Number(chain),
          seq,
          hash: `\\x${hash}`,
          created_at: instantText(first?.at ?? stated.at),
          stated_chain: stated.chain,
          stated_seq: stated.seq,
          stated_at: instantText(stated.at),
        }),
      );
    }
    if (rows.size > 0) await this.#restoreRows("chain_bounds", [...rows.values()]);
  }

  async #restoreLog(
    origin: string,
    files: LogFiles,
    organizationId: string,
    month: string,
    next: string | undefined,
  ): Promise<void> {
    const ranges: [number, number, number, number][] = [];
    let firstAt: bigint | undefined;
    let lastAt: bigint | undefined;
    let openedAt: bigint | undefined;
    /** What was purged had been read back; of the rest nobody knows. */
    let readBack = 0;
    const read = await this.#read(origin, files, async (entries) => {
      const texts: string[] = [];
      for (const { index, bytes, hash } of entries) {
        const row = parseEntryText(bytes);
        if (row === undefined) {
          throw new RestoreError(`Entry ${index} of ${origin} is not an entry of format version 1.`);
        }
        const { chain, seq, created_at: at, prev_hash: prevHash } = row;
        const key = chainKey(organizationId, chain);
        openedAt ??= at;
        if (firstAt === undefined || at < firstAt) firstAt = at;
        if (lastAt === undefined || at > lastAt) lastAt = at;
        const range = ranges.at(-1);
        if (range !== undefined && range[1] === chain && range[3] + 1 === seq) range[3] = seq;
        else ranges.push([index, chain, seq, seq]);
        this.#heads.set(key, { organizationId, chain, seq, lastAt: instantText(at), prevHash, hash });
        if (seq > (this.#bounds.get(key) ?? 0)) texts.push(decodeText(bytes, MAX_ENTRY_BYTES)!);
        else readBack = index + 1;
      }
      await this.#restoreEntries(texts);
    });
    const before = this.#logs.get(origin);
    await this.#call("restore_log", {
      ...before,
      organization_id: organizationId,
      month: `${month}-01`,
      origin,
      size: read.size,
      first_at: firstAt === undefined ? null : instantText(firstAt),
      last_at: lastAt === undefined ? null : instantText(lastAt),
      opened_at: before?.opened_at ?? (openedAt === undefined ? null : instantText(openedAt)),
      // The last one is open, whatever the backup says: the one behind it was never published.
      closed_at: next === undefined ? null : before?.closed_at ?? `${next}-01T00:00:00Z`,
      read_back: readBack,
      archive_deleted_at: before?.archive_deleted_at ?? (read.frontier === null ? new Date().toISOString() : null),
      archive_deletion_began_at: before?.archive_deletion_began_at ??
        (read.frontier === null ? new Date().toISOString() : null),
      ranges,
      checkpoints: this.#checkpointsOf(origin, read),
    });
  }

  async #restoreAnchor(files: LogFiles): Promise<void> {
    const origin = `${this.#task.base}/anchor`;
    const before = this.#logs.get(origin);
    const batches: { first: number; texts: string[] }[] = [];
    const read = await this.#read(origin, files, (entries) => {
      const texts = entries.map(({ bytes }) => decodeText(bytes, MAX_ENTRY_BYTES)!);
      batches.push({ first: entries[0]!.index, texts });
    });
    if (read.frontier === null) throw new TlogError("root_mismatch", `the entries of ${origin} are missing`);
    await this.#call("restore_log", {
      ...before,
      organization_id: SYSTEM,
      month: null,
      origin,
      size: read.size,
      read_back: 0,
      ranges: [],
      checkpoints: this.#checkpointsOf(origin, read),
    });
    for (const { first, texts } of batches) await this.#call("restore_anchor_entries", first, texts);
  }

  async #restoreEntries(texts: string[]): Promise<void> {
    for (let at = 0; at < texts.length; at += BATCH) {
      await this.#call("restore_entries", texts.slice(at, at + BATCH));
    }
    this.#entries += texts.length;
  }

  /** Personal data, and the entries that were not sealed: as far as the archive does not have them. Answers how many. */
  async #restoreLarge(): Promise<number> {
    let section = "";
    let waiting: string[] = [];
    let unsealed = 0;
    const flush = async () => {
      if (waiting.length > 0 && section === "entries") await this.#restoreEntries(waiting);
      else if (waiting.length > 0) await this.#restoreRows(section, waiting);
      waiting = [];
    };
    for await (const each of this.#task.backup?.large() ?? []) {
      if (each.section !== section || waiting.length === BATCH) await flush();
      section = each.section;
      if (section !== "entries") {
        waiting.push(each.row);
        continue;
      }
      const { text } = JSON.parse(each.row) as { text: string };
      if (!this.#continues(text)) continue;
      waiting.push(text);
      unsealed++;
    }
    await flush();
    return unsealed;
  }

  /** Whether an entry of the backup is behind what the archive has of its chain; moves the chain's head there. */
  #continues(text: string): boolean {
    const row = parseEntryText(text);
    if (row === undefined) throw new RestoreError("The backup has an entry that is not of format version 1.");
    const { organization_id: organizationId, chain, seq, prev_hash: prevHash } = row;
    // The log's own chain goes on where the archive ends: an opening or a heartbeat that was not published opens nothing.
    if (chain === LOG_CHAIN) return false;
    const key = chainKey(organizationId, chain);
    const head = this.#heads.get(key);
    const hash = entryHash(text);
    const isOther = head !== undefined &&
      (head.seq === seq && head.hash !== hash || head.seq + 1 === seq && head.hash !== prevHash);
    if (isOther) {
      throw new RestoreError(
        `The backup and the archive have different histories of chain ${chain} of ${organizationId}.`,
      );
    }
    if (head !== undefined && seq <= head.seq) return false;
    this.#heads.set(key, { organizationId, chain, seq, lastAt: instantText(row.created_at), prevHash, hash });
    return true;
  }

  /** Of chains of which nothing is left but the boundary of what was purged. */
  #addPurgedHeads(): void {
    for (const head of rowsOf<BackupHead>(this.#task.backup, "heads")) {
      const key = chainKey(head.organization_id, head.chain);
      if (this.#heads.has(key) || head.seq !== this.#bounds.get(key)) continue;
      this.#heads.set(key, {
        organizationId: head.organization_id,
        chain: head.chain,
        seq: head.seq,
        lastAt: head.last_at,
        prevHash: head.prev_hash.slice(2),
        hash: head.hash.slice(2),
      });
    }
  }

  /** Entries that a heartbeat or the backup knew of. Of others that are lost, nobody knows. */
  #lost(): Rebuilt["lost"] {
    const known = new Map([...this.#facts.claims].map(([key, { seq }]) => [key, seq]));
    for (const { organization_id, chain, seq } of rowsOf<BackupHead>(this.#task.backup, "heads")) {
      const key = chainKey(organization_id, chain);
      known.set(key, Math.max(known.get(key) ?? 0, seq));
    }
    const lost = new Map<string, [number, number, number][]>();
    for (const [key, seq] of known) {
      const [organizationId, chain] = key.split("/") as [string, string];
      if (Number(chain) === LOG_CHAIN) continue;
      const there = Math.max(this.#heads.get(key)?.seq ?? 0, this.#bounds.get(key) ?? 0);
      if (seq <= there) continue;
      lost.set(organizationId, [...lost.get(organizationId) ?? [], [Number(chain), there + 1, seq]]);
    }
    return [...lost].map(([organizationId, chains]) => ({ organizationId, chains }));
  }

  async #restoreMembership(): Promise<boolean> {
    const [membership] = rowsOf<{ source: string }>(this.#task.backup, "membership");
    return membership !== undefined && await this.#call("restore_membership", membership.source) === true;
  }

  async #end(incarnation: number, lost: Rebuilt["lost"], unsealed: number): Promise<string[]> {
    const { backup, base } = this.#task;
    const from = { made_at: backup?.madeAt, sha256: backup?.sha256, entries_left_out: backup?.entriesLeftOut };
    const details = { incarnation, base, backup: backup === undefined ? null : from, entries: this.#entries, unsealed };
    const organizations = new Set([SYSTEM, ...[...this.#heads.values()].map(({ organizationId }) => organizationId)]);
    const { rows } = await this.#client.query<{ organization_id: string; origin: string; size: string; root: string }>(
      `select distinct on (l.organization_id) l.organization_id, l.origin, l.size, encode(c.root, 'base64') as root
       from audit.logs l join audit.checkpoints c on c.log = l.id and c.size = l.size
       where l.month is not null order by l.organization_id, l.month desc`,
    );
    const checkpoints = new Map(
      rows.map(({ organization_id, origin, size, root }) => [organization_id, { origin, size: Number(size), root }]),
    );
    return await this.#call(
      "end_restore",
      incarnation,
      { ...details, lost },
      [...organizations].sort().map((organizationId) => {
        const chains = lost.find((each) => each.organizationId === organizationId)?.chains ?? [];
        return {
          organization_id: organizationId,
          details: {
            incarnation,
            backup: backup === undefined ? null : { made_at: backup.madeAt, sha256: backup.sha256 },
            checkpoint: checkpoints.get(organizationId) ?? null,
            lost: chains.slice(0, MOST_NAMED),
            ...(chains.length > MOST_NAMED ? { lost_chains: chains.length } : {}),
          },
        };
      }),
      `[${(backup?.sections.get("tracked_tables") ?? []).join(",")}]`,
    ) as string[];
  }

  async #verify(): Promise<string[]> {
    const { rows: chains } = await this.#client.query<{ name: string; finding: string }>(
      "select organization_id || ' chain ' || chain as name, finding from audit.verify() where status <> 'verified'",
    );
    const { rows: logs } = await this.#client.query<{ name: string; finding: string }>(
      "select origin as name, finding from audit.verify_logs() where status = 'broken'",
    );
    return [...chains, ...logs].map(({ name, finding }) => `${name}: ${finding}`);
  }

  /** The log says of each backup what its bytes were. */
  #checkBackup(): void {
    const { backup } = this.#task;
    const made = Date.parse(backup?.madeAt ?? "");
    const noted = this.#facts.backups.find(({ madeAt }) => Date.parse(`${madeAt}Z`) === made);
    if (noted !== undefined && noted.sha256 !== backup?.sha256) {
      throw new RestoreError(`The backup is not ${noted.name}, of which the log says that it was made at that moment.`);
    }
  }

  #newerBackup(): string | undefined {
    const made = Date.parse(this.#task.backup?.madeAt ?? "");
    return this.#facts.backups.filter(({ madeAt }) => !(Date.parse(`${madeAt}Z`) <= made)).at(-1)?.name;
  }

  /** Calls a function of schema audit: texts and lists of texts as they are, all else as JSON. */
  async #call(name: string, ...values: (string | number | object)[]): Promise<unknown> {
    const given = values.map((value) =>
      typeof value === "object" && !(Array.isArray(value) && typeof value[0] === "string")
        ? JSON.stringify(value)
        : value
    );
    const { rows: [row] } = await this.#client.query<unknown[]>({
      name,
      text: `select audit.${name}(${given.map((_, at) => `$${at + 1}`).join(", ")})`,
      values: given,
      rowMode: "array",
    });
    return row![0];
  }
}

/** Microseconds since 1970 as SQL reads them, all six digits. */
export function instantText(at: bigint): string {
  const micros = ((at % 1_000_000n) + 1_000_000n) % 1_000_000n;
  return new Date(Number((at - micros) / 1000n)).toISOString().replace(
    /\.\d+Z$/,
    `.${String(micros).padStart(6, "0")}Z`,
  );
}

function monthOf(at: bigint): string {
  return `${instantText(at).slice(0, 7)}-01`;
}
