// Archives in a folder, as they were downloaded: whole, one organisation's, or one log.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { TlogError } from "../../../functions/_shared/tlog/error.ts";
import { LogFiles, type Read } from "./files.ts";
import type { Target } from "./target.ts";

const ORGANIZATION = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const MONTH = /^\d{4}-(?:0[1-9]|1[0-2])$/;

/** What a folder is, by what is in it. Undefined where it is no archive. */
export async function openFolder(folder: string): Promise<Target | undefined> {
  const path = resolve(folder);
  const names = (await readdir(path, { withFileTypes: true })).filter((entry) => entry.isDirectory() || entry.isFile())
    .map((entry) => entry.name).sort();
  const [parent, self] = [basename(dirname(path)), basename(path)];
  if (names.includes("checkpoint") || names.includes("tile")) {
    if (self === "anchor") return { kind: "log", organizations: [], anchor: logIn(path, "anchor") };
    const named = ORGANIZATION.test(parent) && MONTH.test(self) ? `${parent}/${self}` : await folderByCheckpoint(path);
    const [organizationId, month] = named?.split("/") ?? [];
    if (named === undefined || organizationId === undefined || month === undefined) return undefined;
    return { kind: "log", organizations: [{ organizationId, months: [{ month, files: logIn(path, named) }] }] };
  }
  const months = names.filter((name) => MONTH.test(name));
  if (months.length > 0) {
    const organizationId = ORGANIZATION.test(self)
      ? self
      : (await folderByCheckpoint(join(path, months.at(-1)!)))?.split("/")[0];
    return organizationId === undefined
      ? undefined
      : { kind: "organization", organizations: [organizationIn(path, organizationId, months)] };
  }
  const organizations = names.filter((name) => ORGANIZATION.test(name));
  if (organizations.length === 0 && !names.includes("anchor")) return undefined;
  return {
    kind: "archive",
    organizations: await Promise.all(organizations.map(async (organizationId) => {
      const inside = await readdir(join(path, organizationId));
      return organizationIn(
        join(path, organizationId),
        organizationId,
        inside.filter((name) => MONTH.test(name)).sort(),
      );
    })),
    ...(names.includes("anchor") ? { anchor: logIn(join(path, "anchor"), "anchor") } : {}),
  };
}

function organizationIn(path: string, organizationId: string, months: string[]): Target["organizations"][number] {
  return {
    organizationId,
    months: months.map((month) => ({ month, files: logIn(join(path, month), `${organizationId}/${month}`) })),
  };
}

function logIn(path: string, folder: string): LogFiles {
  return new LogFiles(readFrom(path), folder);
}

/** In a folder that was renamed, the checkpoint says whose it is, which its signature then vouches for. */
async function folderByCheckpoint(path: string): Promise<string | undefined> {
  const note = await readFrom(path)("checkpoint", MOST_OF_A_NAME).catch(() => null);
  const origin = note === null ? "" : new TextDecoder().decode(note).split("\n", 1)[0]!;
  return /([^/]+\/[^/]+)$/.exec(origin)?.[1];
}

const MOST_OF_A_NAME = 1_000_000;

function readFrom(folder: string): Read {
  // Synchronous, because a promise for each step of reading a file costs more than hashing all that is in it.
  return async (path, limit) => {
    const file = openIfThere(join(folder, path));
    if (file === null) return null;
    try {
      const { size } = fstatSync(file);
      if (size > limit) throw new TlogError("too_large", `${path} has ${size} bytes`);
      const bytes = new Uint8Array(size);
      let length = 0;
      while (length < size) {
        const read = readSync(file, bytes, length, size - length, null);
        if (read === 0) break;
        length += read;
      }
      return bytes.subarray(0, length);
    } finally {
      closeSync(file);
    }
  };
}

function openIfThere(path: string): number | null {
  try {
    return openSync(path, "r");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw error;
  }
}
