/** Paths of the archive, taken apart: whose log an object belongs to, and which of its files it is. */
import { TlogError } from "../tlog/error.ts";
import { parseOrigin } from "../tlog/origin.ts";
import { parseTilePath, type TileId } from "../tlog/tile.ts";
import type { ObjectKind } from "./archive.ts";

/** The anchor log of the deployment, or the log of an organisation and month ("2026-11"). */
export type LogId = "anchor" | { organizationId: string; month: string };

export type ArchivePath = { log: LogId; file: "checkpoint" | TileId };

/** The folder of a log, which is also its origin without the base. */
export function logFolder(log: LogId): string {
  return log === "anchor" ? log : `${log.organizationId}/${log.month}`;
}

/** What a path names. A path has one spelling; all others are refused. */
export function parseArchivePath(path: string): ArchivePath {
  const [, folder, file] = /^(anchor|[^/]+\/[^/]+)\/(checkpoint|tile\/.+)$/.exec(path) ?? [];
  if (folder === undefined || file === undefined) {
    throw new TlogError("malformed_path", `${JSON.stringify(path.slice(0, 100))} is not the path of a log's file`);
  }
  return { log: parseLogFolder(folder), file: file === "checkpoint" ? file : parseTilePath(file) };
}

export function kindOf(path: string): ObjectKind {
  const { file } = parseArchivePath(path);
  if (file === "checkpoint") return file;
  return file.level === "entries" ? "bundle" : "tile";
}

function parseLogFolder(folder: string): LogId {
  if (folder === "anchor") return folder;
  // An organisation's origin is a base and this folder: one rule for both.
  const { organizationId, month } = parseOrigin(`base/${folder}`);
  return { organizationId, month };
}
