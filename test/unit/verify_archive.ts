// Archives in memory for the tests of the verifier: made as sealing makes them, then tampered with.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import { formatVerifierKey, generateKey, type SignerKey } from "../../functions/_shared/tlog/key.ts";
import { TlogError } from "../../functions/_shared/tlog/error.ts";
import { LogFiles } from "../../scripts/cli/verify/files.ts";
import { type Report, type Request, runVerification } from "../../scripts/cli/verify/run.ts";
import { type SampleOptions, SampleOrganization } from "../../scripts/bench/sample_archive.ts";
import type { Target } from "../../scripts/cli/verify/target.ts";

export const BASE = "localhost/audit";
export const ORGANIZATION = "0a000000-0000-4000-8000-000000000001";
export const OTHER = "0b000000-0000-4000-8000-000000000002";
export const KEY = generateKey(BASE, "note");
export const VKEY = formatVerifierKey(KEY);

export type Files = Map<string, Uint8Array>;

export function sample(
  files: Files,
  options: Partial<SampleOptions> = {},
  organizationId = ORGANIZATION,
): SampleOrganization {
  return new SampleOrganization(organizationId, {
    keys: [KEY],
    write: (path, bytes) => void files.set(path, new Uint8Array(bytes)),
    ...options,
  });
}

/** The log of one month, and what it published on the way. */
export async function oneLog(
  size: number,
  options: Partial<SampleOptions> = {},
  checkpoints: number[] = [],
  keys: SignerKey[] = [KEY],
): Promise<{ files: Files; folder: string; origin: string; checkpoints: Map<number, string> }> {
  const files: Files = new Map();
  const published = await sample(files, { keys, ...options }).month("2026-10", size, { checkpoints });
  const folder = `${ORGANIZATION}/2026-10`;
  return { files, folder, origin: `${BASE}/${folder}`, checkpoints: published };
}

export function targetOf(files: Files): Target {
  const months = new Map<string, Set<string>>();
  for (const path of files.keys()) {
    const [organizationId, month] = path.split("/") as [string, string];
    if (organizationId === "anchor") continue;
    months.set(organizationId, (months.get(organizationId) ?? new Set()).add(month));
  }
  return {
    kind: "archive",
    organizations: [...months].sort().map(([organizationId, own]) => ({
      organizationId,
      months: [...own].sort().map((month) => ({ month, files: logFiles(files, `${organizationId}/${month}`) })),
    })),
    ...([...files.keys()].some((path) => path.startsWith("anchor/")) ? { anchor: logFiles(files, "anchor") } : {}),
  };
}

function logFiles(files: Files, folder: string): LogFiles {
  return new LogFiles(async (path, limit) => {
    const bytes = files.get(`${folder}/${path}`);
    if (bytes === undefined) return null;
    if (bytes.length > limit) throw new TlogError("too_large", `${path} has ${bytes.length} bytes`);
    return bytes.slice();
  }, folder);
}

export function verify(files: Files, request: Partial<Request> = {}): Promise<Report> {
  return runVerification({ target: targetOf(files), keys: [VKEY], threads: 0, ...request }, {
    begin: () => {},
    advance: () => {},
  });
}

export function codes(report: Report): string[] {
  return [...new Set(report.findings.map(({ code }) => code))].sort();
}

/** A folder of its own with these files, gone when the test is. */
export async function folderOf(files: Iterable<[string, Uint8Array | string]>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "verify-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const [path, bytes] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), bytes);
  }
  return folder;
}

export function flipped(bytes: Uint8Array, at: number, mask = 1): Uint8Array {
  const copy = bytes.slice();
  copy[at]! ^= mask;
  return copy;
}
