// What sealing needs, in the test's own process: the database as the functions see it, an archive in memory, faults in
// front of either, and a reader who believes nothing but the key.
import pg from "pg";
import { to as copyTo } from "pg-copy-streams";
import { type Archive, ArchiveError } from "../../functions/_shared/archive/archive.ts";
import type { Database } from "../../functions/_shared/database.ts";
import { type LogKeys, readLogKeys } from "../../functions/_shared/log_keys.ts";
import { decodeBundle } from "../../functions/_shared/tlog/bundle.ts";
import { openCheckpoint } from "../../functions/_shared/tlog/checkpoint.ts";
import { appendEntry, emptyEdge, type LogFile, partialFiles } from "../../functions/_shared/tlog/edge.ts";
import { treeOf } from "../../functions/_shared/tlog/frontier.ts";
import { formatSignerKey, generateKey } from "../../functions/_shared/tlog/key.ts";
import { equalBytes, formatHex } from "../../functions/_shared/tlog/text.ts";
import { TILE_WIDTH, tilePath } from "../../functions/_shared/tlog/tile.ts";

export type JobDatabase = Database & { pool: pg.Pool };

/** A database of the functions, by pg over TCP of this runtime. */
export function jobDatabase(connectionString: string): JobDatabase {
  const types = { getTypeParser: () => (value: unknown) => value } as never;
  const pool = new pg.Pool({ connectionString, max: 8, statement_timeout: 30_000, types });
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  return {
    pool,
    ask: () => Promise.reject(new Error("jobs act for nobody")),
    async askAsOwner({ text, values }) {
      const { rows } = await pool.query<(string | null)[]>({ text, values, rowMode: "array" });
      return rows[0]![0]!;
    },
    connect: () => pool.connect(),
    copy: (client, text) => client.query(copyTo(text)),
    cancel: () => {},
    abort: (client) => client.release(true),
    end: () => pool.end(),
  };
}

export type MemoryArchive = Archive & { files: Map<string, Uint8Array> };

/** Refuses to write other bytes to a path that never changes: what a crash must not lead to. */
export function memoryArchive(): MemoryArchive {
  const files = new Map<string, Uint8Array>();
  return {
    files,
    put(path, bytes, kind) {
      const old = files.get(path);
      if (kind !== "checkpoint" && old !== undefined && !equalBytes(old, bytes)) {
        throw new ArchiveError("conflict", `${path} would change`);
      }
      files.set(path, bytes.slice());
      return Promise.resolve();
    },
    get: (path) => Promise.resolve(files.get(path)?.slice() ?? null),
    list: (folder) => Promise.resolve([...files.keys()].filter((path) => path.startsWith(`${folder}/`)).sort()),
    remove(paths) {
      for (const path of paths) files.delete(path);
      return Promise.resolve();
    },
  };
}

export function newLogKeys(name = "test.example/audit"): LogKeys {
  return readLogKeys(formatSignerKey(generateKey(name, "note")));
}

/** Every log of an archive, from its entries: their texts in order. Fails where a single byte is not as the key says. */
export function readArchive({ files }: MemoryArchive, keys: LogKeys): Map<string, string[]> {
  const logs = new Map<string, string[]>();
  for (const [path, note] of files) {
    const folder = /^(.*)\/checkpoint$/.exec(path)?.[1];
    if (folder === undefined) continue;
    const origin = `${keys.base}/${folder}`;
    const { checkpoint } = openCheckpoint(note, { origin, log: keys.verifiers(origin) });
    const edge = emptyEdge();
    const entries: string[] = [];
    logs.set(folder, entries);
    // At once, not at the end: a log of millions would stand in memory once more.
    const compare = ({ tile, bytes }: LogFile) => {
      const stored = files.get(`${folder}/${tilePath(tile)}`);
      if (stored === undefined || !equalBytes(stored, bytes)) {
        throw new Error(`${tilePath(tile)} of ${folder} is wrong`);
      }
    };
    for (let index = 0; index * TILE_WIDTH < checkpoint.size; index++) {
      const width = Math.min(TILE_WIDTH, checkpoint.size - index * TILE_WIDTH);
      const bundle = files.get(`${folder}/${tilePath({ level: "entries", index, width })}`);
      if (bundle === undefined) throw new Error(`bundle ${index} of ${folder} is missing`);
      for (const entry of decodeBundle(bundle, width)) {
        appendEntry(edge, entry).forEach(compare);
        entries.push(new TextDecoder().decode(entry));
      }
    }
    partialFiles(edge).forEach(compare);
    if (formatHex(treeOf(edge.frontier).root) !== formatHex(checkpoint.root)) {
      throw new Error(`the root of ${folder} is wrong`);
    }
  }
  return logs;
}
