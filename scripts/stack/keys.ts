// The secrets of one checkout: made once, kept in a file that only its owner may read.
import { randomBytes } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { SignJWT } from "jose";
import { formatSignerKey, formatVerifierKey, generateKey, parseSignerKey } from "../../functions/_shared/tlog/key.ts";

export type Keys = {
  /** Of every database role that may log in. */
  db_password: string;
  jwt_secret: string;
  anon_key: string;
  service_role_key: string;
  /** What the clock shows to the jobs function. */
  jobs_secret: string;
  /** What a log drain shows to the ingest function. */
  drain_secret: string;
  /** Signs checkpoints: a signer key, `PRIVATE+KEY+…`. */
  log_key: string;
  /** Encrypts backups. */
  backup_key: string;
};

const LOG_NAME = "localhost/audit-logs";
const TEN_YEARS = 10 * 365 * 24 * 3600;

export async function loadKeys(file: string): Promise<Keys> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  // Of a file that an earlier version wrote, keys may be missing.
  const keys = { ...await makeKeys(), ...JSON.parse(text ?? "{}") as Partial<Keys> };
  await writePrivately(file, keys);
  return keys;
}

export async function makeKeys(): Promise<Keys> {
  const jwt_secret = randomBytes(32).toString("hex");
  return {
    db_password: randomBytes(18).toString("base64url"),
    jwt_secret,
    anon_key: await apiKey("anon", jwt_secret),
    service_role_key: await apiKey("service_role", jwt_secret),
    jobs_secret: randomBytes(32).toString("base64url"),
    drain_secret: randomBytes(32).toString("base64url"),
    log_key: formatSignerKey(generateKey(LOG_NAME, "note")),
    backup_key: randomBytes(32).toString("base64"),
  };
}

/** Whole or not at all, readable by the owner only. */
export async function writePrivately(file: string, value: unknown): Promise<void> {
  await writeFile(`${file}.new`, JSON.stringify(value, null, 2) + "\n", { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** The public half of the log's key, as verifiers are given it. */
export function logVkey(keys: Keys): string {
  return formatVerifierKey(parseSignerKey(keys.log_key, "note"));
}

function apiKey(role: "anon" | "service_role", secret: string): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ role, iss: "supabase-local", iat: now, exp: now + TEN_YEARS })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .sign(new TextEncoder().encode(secret));
}
