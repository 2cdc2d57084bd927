/**
 * A downloaded export: whether its files are those that were signed, whether each entry in them has the hash that stands
 * beside it, and whether entries are missing.
 */
import { createHash, type Hash as Digest } from "node:crypto";
import { entryHash, firstPrevHash, parseEntryText } from "../../../functions/_shared/entry.ts";
import { parseNote, verifyNote } from "../../../functions/_shared/tlog/note.ts";
import { formatHex } from "../../../functions/_shared/tlog/text.ts";
import type { VerifierKey } from "../../../functions/_shared/tlog/key.ts";
import type { Chains } from "./chains.ts";
import { count, type Ledger, plural } from "./ledger.ts";
import { faultOf, verifiersOf } from "./log.ts";

/** What `audit.export_status()` makes; the fields that are verified. */
export type Manifest = {
  version: 1;
  organization_id: string;
  format: string;
  filter: unknown;
  complete: boolean;
  entries: number;
  first: string | null;
  last: string | null;
  /** The newest of the organisation's log when the export was signed. */
  checkpoint: string | null;
  parts: { part: number; entries: number; bytes: number; sha256: string; first: string | null; last: string | null }[];
};

/** A file of the export. `chunks` are its bytes, uncompressed. */
export type ExportFile = { name: string; chunks: () => AsyncIterable<Uint8Array> };

/** Entries that were exported, by chain in the order of the export: what an archive is compared with. */
export type Exported = Map<number, { seq: number; hash: string }[]>;

/** What the deployment's key signs for an export. */
export function manifestText(manifest: Uint8Array): string {
  return `supabase-audit-logs export manifest v1\n${createHash("sha256").update(manifest).digest("hex")}\n`;
}

/** Undefined where there is nothing that an archive could be compared with. */
export async function verifyExport(
  bytes: Uint8Array,
  note: Uint8Array | undefined,
  files: ExportFile[],
  { base, keys, ledger }: { base: string; keys: VerifierKey[]; ledger: Ledger },
): Promise<{ manifest: Manifest; entries: Exported } | undefined> {
  verifyManifestNote(bytes, note, base, keys, ledger);
  const manifest = readManifest(bytes);
  if (manifest === undefined) {
    ledger.found({ code: "bad_export", message: "manifest.json is not the manifest of an export, version 1." });
    return undefined;
  }
  if (!manifest.complete) {
    ledger.found({ code: "export_incomplete", message: "The manifest says that the export was not made to its end." });
  }
  const contents = new Map<string, ExportFile>();
  const digests = new Map<string, { bytes: number }>();
  for (const file of files) {
    const { sha256, length } = await digestOf(file);
    contents.set(sha256, file);
    digests.set(sha256, { bytes: length });
  }
  const reader = manifest.format === "ndjson" ? new EntryLines(manifest, ledger) : undefined;
  let whole = true;
  for (const part of manifest.parts) {
    const file = contents.get(part.sha256);
    if (file === undefined) {
      whole = false;
      const message = `Part ${part.part} is missing, or was changed: no file has the SHA-256 that was signed for it.`;
      ledger.found({ code: "export_incomplete", message });
      continue;
    }
    contents.delete(part.sha256);
    if (digests.get(part.sha256)!.bytes !== part.bytes) {
      const message = `Part ${part.part} has ${digests.get(part.sha256)!.bytes} bytes and not ${part.bytes}.`;
      ledger.found({ code: "bad_export", message });
    }
    await reader?.readPart(part, file);
  }
  for (const { name } of contents.values()) {
    ledger.found({ code: "bad_export", message: `${name} is no part of this export, or was changed.` });
  }
  if (reader === undefined) {
    ledger.leaveOpen(
      manifest.format === "report"
        ? "That the entries that the report lists are entries of the log: verify their receipts, with --receipt."
        : `That the entries of the export are entries of the log: format ${manifest.format} has no entry texts.`,
    );
    return undefined;
  }
  if (!whole) return undefined;
  reader.end();
  ledger.leaveOpen(
    "E-mail addresses, IP addresses and user agents in the export: entries hold only commitments to them.",
  );
  return { manifest, entries: reader.entries };
}

/** Whether an export that has no filter has every entry between the first and the last of each chain. */
export function isUnfiltered({ filter }: Manifest): boolean {
  return JSON.stringify(filter) === '{"and":[]}';
}

/** Compares an export with the chains of a verified archive, of which all hashes were kept. */
export function compareExport(
  { manifest, entries }: { manifest: Manifest; entries: Exported },
  chains: Chains,
  ledger: Ledger,
) {
  let differing = 0;
  let absent = 0;
  for (const [chain, exported] of entries) {
    for (const { seq, hash } of exported) {
      const ours = chains.hashOf(chain, seq);
      if (ours === undefined) {
        if (++absent === 1) {
          ledger.found({
            code: "export_mismatch",
            message: `Entry ${chain}-${seq} of the export is not in the archive.`,
            entry: `${chain}-${seq}`,
          });
        }
      } else if (formatHex(ours) !== hash && ++differing <= MOST_NAMED) {
        ledger.found({
          code: "export_mismatch",
          message: `Entry ${chain}-${seq} of the export is another one in the archive.`,
          entry: `${chain}-${seq}`,
        });
      }
    }
  }
  if (absent > 1) {
    ledger.found({
      code: "export_mismatch",
      message: `${count(absent)} entries of the export are not in the archive.`,
    });
  }
  if (differing > MOST_NAMED) {
    ledger.found({ code: "export_mismatch", message: `${count(differing)} entries of the export differ.` });
  }
  if (absent + differing === 0) {
    const whole = isUnfiltered(manifest) ? ", and it leaves none out between the first and the last of each chain" : "";
    ledger.prove(`Every entry of the export is the one in the archive${whole}.`);
  }
}

const MOST_NAMED = 50;

function verifyManifestNote(
  bytes: Uint8Array,
  note: Uint8Array | undefined,
  base: string,
  keys: VerifierKey[],
  ledger: Ledger,
) {
  if (note === undefined) {
    return ledger.found({ code: "bad_export", message: "There is no manifest.note: nobody has signed this export." });
  }
  try {
    const parsed = parseNote(note);
    verifyNote(parsed, verifiersOf(keys, base));
    if (parsed.text !== manifestText(bytes)) {
      return ledger.found({
        code: "bad_export",
        message: "What was signed is not this manifest.json: it was changed.",
      });
    }
    ledger.prove("The manifest of the export is signed, and vouches for its files.");
  } catch (error) {
    ledger.found({ code: "bad_export", message: `manifest.note is not to be believed: ${faultOf(error)}.` });
  }
}

function readManifest(bytes: Uint8Array): Manifest | undefined {
  try {
    const manifest = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as Manifest;
    const isManifest = manifest.version === 1 && typeof manifest.organization_id === "string" &&
      Array.isArray(manifest.parts) && manifest.parts.every(({ sha256 }) => /^[0-9a-f]{64}$/.test(sha256));
    return isManifest ? manifest : undefined;
  } catch {
    return undefined;
  }
}

async function digestOf({ chunks }: ExportFile): Promise<{ sha256: string; length: number }> {
  const digest: Digest = createHash("sha256");
  let length = 0;
  for await (const chunk of chunks()) {
    digest.update(chunk);
    length += chunk.length;
  }
  return { sha256: digest.digest("hex"), length };
}

/** Follows the entries of an export in NDJSON through its parts. */
class EntryLines {
  readonly entries: Exported = new Map();
  readonly #manifest: Manifest;
  readonly #ledger: Ledger;
  #count = 0;
  #first: string | null = null;
  #last: string | null = null;
  #gaps = 0;

  constructor(manifest: Manifest, ledger: Ledger) {
    this.#manifest = manifest;
    this.#ledger = ledger;
  }

  async readPart(part: Manifest["parts"][number], { chunks }: ExportFile): Promise<void> {
    const before = this.#count;
    let first: string | null = null;
    let number = 0;
    for await (const line of linesOf(chunks())) {
      number++;
      const name = this.#readLine(line, `part ${part.part}, line ${number}`);
      first ??= name ?? null;
    }
    const entries = this.#count - before;
    if (entries !== part.entries || first !== part.first || this.#last !== part.last && entries > 0) {
      const message =
        `Part ${part.part} has ${count(entries)} entries from ${first} to ${this.#last}; the manifest says ` +
        `${count(part.entries)} from ${part.first} to ${part.last}.`;
      this.#ledger.found({ code: "bad_export", message });
    }
  }

  end(): void {
    const { entries, first, last } = this.#manifest;
    if (this.#count !== entries || this.#first !== first || this.#last !== last) {
      this.#ledger.found({ code: "bad_export", message: `The parts are not what the manifest sums up.` });
    }
    if (!isUnfiltered(this.#manifest)) {
      this.#ledger.leaveOpen(`That the export has every entry that its filter asks for: only the database could tell.`);
    } else if (this.#gaps === 0) {
      this.#ledger.prove(
        `The export has ${plural(this.#count, "entry", "entries")} of ${
          plural(this.entries.size, "chain")
        }, each with its ` + "hash, linked and without gaps.",
      );
    }
  }

  #readLine(line: string, where: string): string | undefined {
    const [, hash, entry] = LINE.exec(line) ?? [];
    const row = entry === undefined ? undefined : parseEntryText(entry);
    if (row === undefined || row.organization_id !== this.#manifest.organization_id) {
      this.#ledger.found({ code: "bad_export", message: `In ${where} stands no entry of the organisation.` });
      return undefined;
    }
    const name = `${row.chain}-${row.seq}`;
    if (entryHash(entry!) !== hash) {
      this.#ledger.found({ code: "bad_export", message: `Entry ${name} (${where}) has another hash.`, entry: name });
    }
    let chain = this.entries.get(row.chain);
    if (chain === undefined) this.entries.set(row.chain, chain = []);
    const before = chain.at(-1);
    chain.push({ seq: row.seq, hash: hash! });
    this.#count++;
    this.#first ??= name;
    this.#last = name;
    if (isUnfiltered(this.#manifest)) {
      const follows = before === undefined
        ? row.seq > 1 || row.prev_hash === firstPrevHash(row.organization_id, row.chain)
        : row.seq === before.seq + 1 && row.prev_hash === before.hash;
      if (!follows) {
        this.#gaps++;
        const message = before === undefined
          ? `Entry ${name} (${where}) does not begin its chain.`
          : row.seq === before.seq + 1
          ? `Entry ${name} (${where}) does not link to the one before it.`
          : `Entry ${name} (${where}) stands behind ${row.chain}-${before.seq}: entries are missing, or repeated.`;
        this.#ledger.found({ code: "export_incomplete", message, entry: name });
      }
    }
    return name;
  }
}

/** A line as audit.export_columns() writes it. The three values beside the entry may hold anything but a line feed. */
const STRING = String.raw`(?:null|"(?:[^"\\]|\\.)*")`;
const LINE = new RegExp(
  `^\\{"hash":"([0-9a-f]{64})","email":${STRING},"ip_address":${STRING},"user_agent":${STRING},"entry":(\\{.*\\})\\}$`,
);

async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8");
  let rest = "";
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    if (rest.length > MOST_LINE) throw new Error("The export has a line of more than 1 MB.");
    yield* lines;
  }
  rest += decoder.decode();
  if (rest !== "") yield rest;
}

const MOST_LINE = 1_000_000;
