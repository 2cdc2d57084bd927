// The secrets of one checkout: made once, kept in a file that only its owner may read.
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { SignJWT } from "jose";

export type Keys = {
  /** Of every database role that may log in. */
  db_password: string;
  jwt_secret: string;
  anon_key: string;
  service_role_key: string;
  /** What the clock shows to the jobs function. */
  jobs_secret: string;
  /** Ed25519 seed that signs checkpoints, base64. */
  log_seed: string;
};

const LOG_NAME = "localhost/audit-logs";
const TEN_YEARS = 10 * 365 * 24 * 3600;

export async function loadKeys(file: string): Promise<Keys> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text !== undefined) return JSON.parse(text) as Keys;
  const keys = await makeKeys();
  await writePrivately(file, keys);
  return keys;
}

export async function makeKeys(): Promise<Keys> {
  const jwt_secret = randomBytes(32).toString("hex");
  const { privateKey } = generateKeyPairSync("ed25519");
  return {
    db_password: randomBytes(18).toString("base64url"),
    jwt_secret,
    anon_key: await apiKey("anon", jwt_secret),
    service_role_key: await apiKey("service_role", jwt_secret),
    jobs_secret: randomBytes(32).toString("base64url"),
    log_seed: Buffer.from(privateKey.export({ format: "jwk" }).d!, "base64url").toString("base64"),
  };
}

/** Whole or not at all, readable by the owner only. */
export async function writePrivately(file: string, value: unknown): Promise<void> {
  await writeFile(`${file}.new`, JSON.stringify(value, null, 2) + "\n", { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** The public half of the checkpoint key as a C2SP signed-note verifier key. */
export function logVkey(keys: Keys): string {
  const pkcs8 = Buffer.concat([
    Buffer.from("302e020100300506032b657004220420", "hex"), // the fixed head of an Ed25519 private key
    Buffer.from(keys.log_seed, "base64"),
  ]);
  const publicKey = createPublicKey(createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" }));
  return vkey(LOG_NAME, Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url"));
}

export function vkey(name: string, publicKey: Uint8Array): string {
  const typed = Buffer.concat([Buffer.from([1]), publicKey]);
  const id = createHash("sha256").update(`${name}\n`).update(typed).digest().subarray(0, 4);
  return `${name}+${id.toString("hex")}+${typed.toString("base64")}`;
}

function apiKey(role: "anon" | "service_role", secret: string): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ role, iss: "supabase-local", iat: now, exp: now + TEN_YEARS })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .sign(new TextEncoder().encode(secret));
}
