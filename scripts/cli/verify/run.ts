// A verification from what was asked for to its report.
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { createGunzip } from "node:zlib";
import { parseArchiveKeys } from "../../../functions/_shared/archive/bundle_encryption.ts";
import { type Checkpoint, openCheckpoint, parseCheckpoint } from "../../../functions/_shared/tlog/checkpoint.ts";
import { type Cosignature, cosignatureVerifier } from "../../../functions/_shared/tlog/cosignature.ts";
import { TlogError } from "../../../functions/_shared/tlog/error.ts";
import { formatHash } from "../../../functions/_shared/tlog/hash.ts";
import { parseVerifierKey, type VerifierKey } from "../../../functions/_shared/tlog/key.ts";
import { parseNote } from "../../../functions/_shared/tlog/note.ts";
import { formatOrigin, parseOrigin } from "../../../functions/_shared/tlog/origin.ts";
import { isWitnessed, parsePolicy, type Policy } from "../../../functions/_shared/tlog/policy.ts";
import { TILE_WIDTH, tileWidth } from "../../../functions/_shared/tlog/tile.ts";
import { type AnchorVerdict, verifyAnchor } from "./anchor.ts";
import { entriesOf } from "./bundle_check.ts";
import { findMonths } from "./discover.ts";
import { compareExport, type ExportFile, verifyExport } from "./export.ts";
import { LogFiles } from "./files.ts";
import { openFolder } from "./folder.ts";
import { count, type Finding, Ledger, plural } from "./ledger.ts";
import { faultOf, type Kit, type LogVerdict, type Remembered, verifiersOf } from "./log.ts";
import { verifyOrganization } from "./organization.ts";
import { startPool } from "./pool.ts";
import { proveAnchored, proveReceipt } from "./receipt.ts";
import type { Target } from "./target.ts";
import { readFromWeb } from "./web.ts";

/** Texts are contents; whatever is named `…File` or folder is a path. */
export type Request = {
  /** A folder, a URL, or where to read. */
  target?: string | Target | undefined;
  keys: string[];
  /** Of a URL that ends with the organisation: the newest month to verify. */
  month?: string | undefined;
  receiptFiles?: string[];
  entryFile?: string | undefined;
  anchorFile?: string | undefined;
  oldFiles?: string[];
  exportFolder?: string | undefined;
  archiveKeys?: string | undefined;
  token?: string | undefined;
  policy?: string | undefined;
  fromIndex?: number;
  database?: string | undefined;
  threads?: number | undefined;
};

export type Report = {
  /** Whether everything that was asked for was proved. */
  verified: boolean;
  keys: string[];
  logs: {
    origin: string;
    state: LogVerdict["state"];
    size: number | null;
    root: string | null;
    entries_read: number;
  }[];
  proved: string[];
  not_proved: string[];
  findings: Finding[];
  /** How many more findings there were. */
  unlisted: number;
  entries: number;
  seconds: number;
};

/** What was asked for makes no sense. */
export class UsageError extends Error {}

export async function runVerification(request: Request, progress: Kit["progress"]): Promise<Report> {
  const start = performance.now();
  const ledger = new Ledger();
  const { keys, base } = readKeys(request.keys);
  const policy = request.policy === undefined ? undefined : parsePolicy(request.policy);
  const archiveKeys = request.archiveKeys === undefined ? undefined : parseArchiveKeys(request.archiveKeys);
  const pool = startPool(request.archiveKeys, request.threads);
  const kit: Kit = {
    keys,
    witnesses: policy?.witnesses.map(({ key }) => cosignatureVerifier(key)) ?? [],
    check: pool.check,
    entries: async (job) => (await entriesOf(job, archiveKeys)).entries,
    width: pool.width,
    ledger,
    progress,
  };
  try {
    const logs = await verifyAll(request, base, policy, kit);
    return {
      verified: ledger.isSound,
      keys: keys.map(({ name, keyId }) => `${name}+${keyId}`),
      logs: logs.map(({ origin, state, checkpoint, entries }) => ({
        origin,
        state,
        size: checkpoint?.size ?? null,
        root: checkpoint === undefined ? null : formatHash(checkpoint.root),
        entries_read: entries,
      })),
      proved: ledger.proved,
      not_proved: ledger.notProved,
      findings: ledger.findings,
      unlisted: ledger.unlisted,
      entries: logs.reduce((sum, { entries }) => sum + entries, 0),
      seconds: (performance.now() - start) / 1000,
    };
  } finally {
    await pool.stop();
  }
}

async function verifyAll(request: Request, base: string, policy: Policy | undefined, kit: Kit): Promise<LogVerdict[]> {
  const { ledger } = kit;
  const target = await openTarget(request, kit);
  const exported = await readExport(request, base, kit);
  const memory = new Memory(base, target, kit);
  const { checkpoint } = exported?.manifest ?? {};
  if (checkpoint) await memory.takeCheckpoint(() => Promise.resolve(checkpoint), "The checkpoint in the manifest");

  for (const file of request.oldFiles ?? []) await memory.takeOld(file);
  for (const file of request.receiptFiles ?? []) await memory.takeReceipt(file, request, policy);
  if (target === undefined) return [];

  const verdicts: LogVerdict[] = [];
  const anchor = target.anchor === undefined
    ? undefined
    : await verifyAnchor(base, target.anchor, (origin) => memory.of(origin), kit);
  if (anchor !== undefined) {
    verdicts.push(anchor.log);
    findAnchoredLogs(anchor, target, base, ledger);
  }
  let chains = 0;
  let onTrust = 0;
  let heartbeats = 0;
  for (const { organizationId, months } of target.organizations) {
    const isExported = exported?.manifest.organization_id === organizationId;
    const organization = await verifyOrganization({
      base,
      organizationId,
      months,
      remembered: (origin) => [...memory.of(origin), ...anchor?.anchored.get(origin) ?? []],
      fromIndex: request.fromIndex ?? 0,
      keepsHashes: request.database !== undefined || isExported,
    }, kit);
    verdicts.push(...organization.logs);
    chains += organization.chains.heads.size;
    onTrust += organization.chains.onTrust.size;
    heartbeats += organization.heartbeats;
    if (isExported) compareExport(exported!, organization.chains, ledger);
    if (request.database !== undefined) {
      // Only here, so that nothing that reaches a database is loaded for whoever does not ask for one.
      const { compareDatabase } = await import("./database.ts");
      await compareDatabase(request.database, organization, ledger);
    }
  }
  if (
    exported !== undefined &&
    !target.organizations.some((each) => each.organizationId === exported.manifest.organization_id)
  ) {
    ledger.found({ code: "export_mismatch", message: "The archive has no log of the organisation of the export." });
  }
  memory.end(verdicts);
  if (policy !== undefined) judgeWitnesses(policy, verdicts, anchor, ledger);
  sumUp(request, verdicts, { chains, onTrust, heartbeats }, anchor, ledger);
  return verdicts;
}

/** All keys are of one deployment: a key may change, its name stays. One of a single log stands for all of them. */
function readKeys(texts: string[]): { keys: VerifierKey[]; base: string } {
  const keys = texts.map((text) => parseVerifierKey(text.trim(), "note"));
  const bases = new Set(keys.map(({ name }) => baseOf(name)));
  const [base] = bases;
  if (base === undefined || bases.size > 1) {
    throw new UsageError("Give the keys of one deployment: all with the same name.");
  }
  return { keys, base };
}

function baseOf(name: string): string {
  try {
    return parseOrigin(name).base;
  } catch {
    return name.replace(/\/anchor$/, "");
  }
}

async function openTarget({ target, month, token }: Request, kit: Kit): Promise<Target | undefined> {
  if (typeof target !== "string") return target;
  if (/^https?:\/\//.test(target)) return await openWeb(new URL(target), month, token, kit);
  const isFolder = await stat(target).then((found) => found.isDirectory(), () => false);
  if (!isFolder) throw new UsageError(`${target} is no folder, and no URL.`);
  const opened = await openFolder(target);
  if (opened !== undefined) return opened;
  kit.ledger.found({
    code: "nothing_to_verify",
    message: `${target} holds no archive: no log, no organisation, no anchor.`,
  });
  return { kind: "archive", organizations: [] };
}

async function openWeb(url: URL, month: string | undefined, token: string | undefined, kit: Kit): Promise<Target> {
  const path = url.pathname.replace(/\/$/, "");
  const [, prefix, organizationId, own] =
    /^(.*\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))(?:\/(\d{4}-\d{2}))?$/.exec(path) ?? [];
  const newest = own ?? month;
  if (organizationId === undefined || newest === undefined) {
    throw new UsageError(
      "A URL ends with organisation and month, …/<organization_id>/<yyyy-mm>, or --month gives the month.",
    );
  }
  const months = await findMonths(newest, (each) => {
    const at = new URL(url);
    at.pathname = `${prefix}/${each}`;
    return new LogFiles(readFromWeb(at, token), `${organizationId}/${each}`);
  }, kit.entries);
  return { kind: "organization", organizations: [{ organizationId, months }] };
}

async function readExport({ exportFolder }: Request, base: string, { keys, ledger }: Kit) {
  if (exportFolder === undefined) return undefined;
  const names = (await readdir(exportFolder)).sort();
  const manifest = await readFile(join(exportFolder, "manifest.json")).catch(() => {
    throw new UsageError(`${exportFolder} has no manifest.json.`);
  });
  const note = names.includes("manifest.note") ? await readFile(join(exportFolder, "manifest.note")) : undefined;
  const files = names.filter((name) => !/^manifest\.(json|note)$/.test(name)).map((name): ExportFile => ({
    name,
    chunks: () => chunksOf(join(exportFolder, name)),
  }));
  return await verifyExport(manifest, note, files, { base, keys, ledger });
}

/** The bytes of a file; the manifest counts and hashes them before compression. */
function chunksOf(path: string): AsyncIterable<Uint8Array> {
  const file = createReadStream(path);
  if (!path.endsWith(".gz")) return file;
  const gunzip = createGunzip();
  file.on("error", (error) => gunzip.destroy(error));
  return file.pipe(gunzip);
}

/** What was remembered outside of the archive, and whether a log of the archive answers to it. */
class Memory {
  readonly #base: string;
  readonly #target: Target | undefined;
  readonly #kit: Kit;
  readonly #trees = new Map<string, Remembered[]>();

  constructor(base: string, target: Target | undefined, kit: Kit) {
    this.#base = base;
    this.#target = target;
    this.#kit = kit;
  }

  of(origin: string): Remembered[] {
    return this.#trees.get(origin) ?? [];
  }

  async takeOld(file: string): Promise<void> {
    await this.takeCheckpoint(() => readSmall(file), `The remembered checkpoint ${file}`);
  }

  async takeCheckpoint(read: () => Promise<string | Uint8Array>, what: string): Promise<void> {
    try {
      const note = await read();
      const { origin } = parseCheckpoint(parseNote(note).text);
      const isOurs = origin === `${this.#base}/anchor` || parseOrigin(origin).base === this.#base;
      if (!isOurs) throw new TlogError("wrong_origin", `it is of ${origin}, not of a log of ${this.#base}`);
      const { checkpoint } = openCheckpoint(note, { origin, log: verifiersOf(this.#kit.keys, origin) });
      this.#add(origin, { tree: checkpoint, what });
    } catch (error) {
      this.#kit.ledger.found({ code: "bad_checkpoint", message: `${what} is not to be believed: ${faultOf(error)}.` });
    }
  }

  async takeReceipt(file: string, { entryFile, anchorFile }: Request, policy: Policy | undefined): Promise<void> {
    const { ledger, keys, witnesses } = this.#kit;
    try {
      const entry = entryFile === undefined ? undefined : await readSmall(entryFile);
      const { name, index, checkpoint, cosignatures } = await proveReceipt(
        await readSmall(file),
        entry,
        (origin, index) => this.#findEntry(origin, index),
        { base: this.#base, keys, witnesses },
      );
      ledger.prove(
        `Receipt ${file}: entry ${name} is in ${checkpoint.origin}, at index ${count(index)}, as it stands.`,
      );
      if (this.#target !== undefined) this.#add(checkpoint.origin, { tree: checkpoint, what: `Receipt ${file}` });
      const seenAs = anchorFile === undefined ? [] : await this.#takeAnchored(anchorFile, checkpoint);
      if (this.#target !== undefined || policy === undefined) return;
      if (isWitnessed(policy, cosignatures) || isWitnessed(policy, seenAs)) {
        ledger.prove(`Receipt ${file}: enough witnesses have seen it for the policy.`);
      } else {
        ledger.found({ code: "not_witnessed", message: `The checkpoint in receipt ${file} has too few cosignatures.` });
      }
    } catch (error) {
      ledger.found({ code: "bad_receipt", message: `Receipt ${file} proves nothing: ${faultOf(error)}.` });
    }
  }

  /** Who cosigned the anchor log that has the checkpoint. */
  async #takeAnchored(file: string, of: Checkpoint): Promise<Cosignature[]> {
    const { ledger, keys, witnesses } = this.#kit;
    try {
      const { index, checkpoint, cosignatures } = proveAnchored(await readSmall(file), of, {
        base: this.#base,
        keys,
        witnesses,
      });
      ledger.prove(`Receipt ${file}: that checkpoint is in ${checkpoint.origin}, at index ${count(index)}.`);
      if (this.#target?.anchor !== undefined) {
        this.#add(checkpoint.origin, { tree: checkpoint, what: `Receipt ${file}` });
      }
      return cosignatures;
    } catch (error) {
      ledger.found({ code: "bad_receipt", message: `Receipt ${file} proves nothing: ${faultOf(error)}.` });
      return [];
    }
  }

  /** Says of what was remembered whether it was found; what did not fit, the logs have said. */
  end(verdicts: LogVerdict[]): void {
    const { ledger } = this.#kit;
    for (const [origin, remembered] of this.#trees) {
      const log = verdicts.find((verdict) => verdict.origin === origin);
      for (const { tree, what } of remembered) {
        if (log?.state === "verified") {
          ledger.prove(`${what} (${plural(tree.size, "entry", "entries")}) is the beginning of ${origin}.`);
        } else if (log === undefined) {
          ledger.found({
            code: "missing_log",
            log: origin,
            message: `${what} is of ${origin}, which is not in this archive.`,
          });
        } else if (log.state === "expired") {
          ledger.found({
            code: "missing_bundle",
            log: origin,
            message: `${what} cannot be compared: the entries of ${origin} are not in this archive any more.`,
          });
        }
      }
    }
  }

  #add(origin: string, remembered: Remembered): void {
    const trees = this.#trees.get(origin);
    if (trees === undefined) this.#trees.set(origin, [remembered]);
    else trees.push(remembered);
  }

  async #findEntry(origin: string, index: number): Promise<Uint8Array | undefined> {
    const { organizationId, month } = parseOrigin(origin);
    const files = this.#target?.organizations.find((each) => each.organizationId === organizationId)?.months.find((
      each,
    ) => each.month === month)?.files;
    const note = await files?.checkpoint();
    if (files === undefined || note === undefined || note === null) return undefined;
    const n = Math.floor(index / TILE_WIDTH);
    const width = tileWidth("entries", n, parseCheckpoint(parseNote(note).text).size);
    const bundle = width === 0 ? null : await files.bundle(n, width);
    const entries = bundle === null ? [] : await this.#kit.entries({ ...bundle, width, tile: null });
    return entries[index % TILE_WIDTH];
  }
}

/** Whether logs that the anchor log tells of are gone. */
function findAnchoredLogs({ anchored }: AnchorVerdict, target: Target, base: string, ledger: Ledger): void {
  const there = new Map(target.organizations.map(({ organizationId, months }) => [organizationId, months]));
  for (const origin of anchored.keys()) {
    const { organizationId, month } = parseOrigin(origin);
    const months = there.get(organizationId) ?? [];
    if (months.some((each) => formatOrigin({ base, organizationId, month: each.month }) === origin)) continue;
    const oldest = months[0]?.month;
    if (oldest !== undefined && month < oldest) {
      ledger.leaveOpen(`The entries of ${origin}: the anchor log tells of it, and it is not in this archive any more.`);
    } else {
      ledger.found({
        code: "missing_log",
        log: origin,
        message: "The anchor log tells of this log, and the archive has none.",
      });
    }
  }
}

/** A log is witnessed by itself, or through the anchor log as far as that tells of it. */
function judgeWitnesses(
  policy: Policy,
  verdicts: LogVerdict[],
  anchor: AnchorVerdict | undefined,
  ledger: Ledger,
): void {
  const isAnchorMet = anchor !== undefined && isWitnessed(policy, anchor.log.cosignatures);
  let logs = 0;
  for (const { origin, checkpoint, cosignatures } of verdicts) {
    if (checkpoint === undefined) continue;
    if (isWitnessed(policy, cosignatures)) {
      logs++;
      continue;
    }
    const anchored = isAnchorMet ? anchor.anchored.get(origin)?.at(-1)?.tree.size : undefined;
    if (anchored === undefined) {
      const message = "Too few witnesses have cosigned it, itself or through the anchor log.";
      ledger.found({ code: "not_witnessed", log: origin, message });
    } else {
      logs++;
      if (anchored < checkpoint.size) {
        ledger.leaveOpen(
          `That witnesses have seen the last ${count(checkpoint.size - anchored)} entries of ${origin}.`,
        );
      }
    }
  }
  if (logs > 0) ledger.prove(`Witnesses have seen ${plural(logs, "log")}, enough of them for the policy.`);
}

function sumUp(
  { oldFiles = [], policy, fromIndex = 0 }: Request,
  verdicts: LogVerdict[],
  { chains, onTrust, heartbeats }: { chains: number; onTrust: number; heartbeats: number },
  anchor: AnchorVerdict | undefined,
  ledger: Ledger,
): void {
  const verified = verdicts.filter(({ state }) => state === "verified");
  const entries = verified.reduce((sum, log) => sum + log.entries, 0);
  if (verified.length > 0) {
    const of = verified.length === verdicts.length ? "" : ` (of ${count(verdicts.length)})`;
    ledger.prove(
      `${plural(entries, "entry", "entries")} in ${
        plural(verified.length, "log")
      }${of}: each is the one that was signed, in its ` + "place. None was changed, left out, added or moved since.",
    );
  }
  if (ledger.isSound && chains > 0) {
    const from = onTrust === 0 ? "from its first entry on" : "from where this archive begins";
    ledger.prove(
      `${plural(chains, "chain")}: every entry follows the one before it, by number, hash and time, ${from}.`,
    );
    if (heartbeats > 0) {
      ledger.prove(`${plural(heartbeats, "heartbeat")}: what they say of the chains is what is in the log.`);
    }
    if (anchor !== undefined) ledger.prove("What the anchor log says of each log here is the beginning of that log.");
  }
  if (fromIndex > 0) {
    ledger.leaveOpen(`Entries in bundles before index ${count(fromIndex)}: they were not read, only their hashes.`);
  }
  if (verdicts.length === 0) return;
  if (oldFiles.length === 0 && policy === undefined) {
    ledger.leaveOpen(
      "That nobody was shown another history: whoever has the signing key could sign two. A checkpoint that you kept (--old) " +
        "or witnesses (--witness-policy) would show it.",
    );
  }
  ledger.leaveOpen("That everything that happened was recorded, and what has happened since the newest checkpoint.");
}

/** A file that is handed in: none of them is large. */
async function readSmall(path: string): Promise<Uint8Array> {
  const { size } = await stat(path).catch(() => {
    throw new UsageError(`${path} cannot be read.`);
  });
  if (size > MOST_OF_A_FILE) throw new TlogError("too_large", `${path} has ${size} bytes`);
  return new Uint8Array(await readFile(path));
}

const MOST_OF_A_FILE = 1_000_000;
