// The archive in a bucket of any service that speaks S3, also as a second place that the project's owner cannot rewrite:
// with Object Lock, where the bucket has it. The bucket is never made here, and its rules are never changed.
import { createHash } from "node:crypto";
import { AwsV4Signer } from "aws4fetch";
import { z } from "zod";
import { type Archive, ArchiveError, checkPath, OBJECT_HEADERS } from "./archive.ts";
import { type Patience, patientFetch } from "./patient_fetch.ts";

const S3Schema = z.strictObject({
  /** Without bucket or path, like https://s3.eu-central-1.amazonaws.com. */
  endpoint: z.url({ protocol: /^https?$/ }).refine((url) => /^https?:\/\/[^/?#@]+\/?$/.test(url), {
    error: "Only scheme, host and port.",
  }),
  region: z.string().regex(/^[a-z0-9-]{1,64}$/),
  bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/),
  /** The folder in the bucket; without slashes at its ends. */
  prefix: z.string().regex(/^[\w-]+(?:[./][\w-]+)*$/).max(200).optional(),
  access_key_id: z.string().regex(/^[!-~]+$/),
  secret_access_key: z.string().regex(/^[!-~]+$/),
  session_token: z.string().regex(/^[!-~]+$/).optional(),
  /** path: https://host/bucket/key, which all services know. virtual: https://bucket.host/key. */
  style: z.enum(["path", "virtual"]).default("path"),
  /** Retention that every object is written with. The bucket must have been made with Object Lock. */
  lock: z.strictObject({ mode: z.enum(["COMPLIANCE", "GOVERNANCE"]), days: z.int().min(1).max(36_500) }).optional(),
});

/** Where the bucket is, and with whose rights. Holds secrets. */
export type S3Config = z.infer<typeof S3Schema>;

/** AUDIT_S3: the settings as a JSON object. What is wrong is named and not quoted: it may be a secret. */
export function parseS3(text: string): S3Config {
  const { success, data, error } = S3Schema.safeParse(jsonOf(text));
  if (success) return data;
  const issues = error.issues.map((issue) => {
    const at = issue.path.join(".") || "it";
    return issue.code === "unrecognized_keys" ? `${at} has fields that there are not` : `${at} is not valid`;
  });
  throw new ArchiveError("refused", `AUDIT_S3: ${issues.join("; ")}.`);
}

const MOST_AT_ONCE = 1_000;
const DAY = 86_400_000;

export function s3Archive(config: S3Config, patience?: Patience): Archive {
  const patient = patientFetch(patience);
  const signingKeys = new Map<string, ArrayBuffer>();
  const bucketUrl = addressOf(config);
  const keyOf = (path: string) => config.prefix === undefined ? path : `${config.prefix}/${path}`;

  /** Asks, and throws what is no success; a missing object is none, and answers null where that is foreseen. */
  async function ask(
    method: string,
    key: string,
    what: string,
    { query = {}, headers = {}, body, missing = false }: {
      query?: Record<string, string>;
      headers?: Record<string, string>;
      body?: Uint8Array;
      missing?: boolean;
    } = {},
  ): Promise<Response | null> {
    const url = new URL(`${bucketUrl}${key}`);
    for (const [name, value] of Object.entries(query)) {
      url.searchParams.set(name, value);
    }
    const signed = await new AwsV4Signer({
      method,
      url: url.href,
      headers: { ...headers, "x-amz-content-sha256": digestOf("sha256", body, "hex") },
      body: body as BodyInit ?? null,
      service: "s3",
      region: config.region,
      accessKeyId: config.access_key_id,
      secretAccessKey: config.secret_access_key,
      ...(config.session_token === undefined ? {} : { sessionToken: config.session_token }),
      cache: signingKeys,
    }).sign();
    const response = await patient(signed.url, { method, headers: signed.headers, body: signed.body ?? null });
    if (response.ok) return response;
    const code = elements(await response.text(), "Code")[0] ?? "";
    if (missing && (code === "NoSuchKey" || response.status === 404 && code !== "NoSuchBucket")) return null;
    throw archiveError(response.status, code, what);
  }

  return {
    async put(path, bytes, kind) {
      checkPath(path);
      const checksum = digestOf("sha256", bytes, "base64");
      const headers = { ...OBJECT_HEADERS[kind], "x-amz-checksum-sha256": checksum, ...lockHeaders(config.lock) };
      const response = await ask("PUT", keyOf(path), `${path} could not be written`, { headers, body: bytes });
      const stored = response!.headers.get("x-amz-checksum-sha256") ?? checksum;
      if (stored !== checksum) {
        throw new ArchiveError("conflict", `S3: ${path} was stored with other bytes.`);
      }
    },
    async get(path) {
      checkPath(path);
      const response = await ask("GET", keyOf(path), `${path} could not be read`, { missing: true });
      return response && new Uint8Array(await response.arrayBuffer());
    },
    async list(folder) {
      checkPath(folder);
      const paths: string[] = [];
      for (let token: string | undefined, more = true; more;) {
        const response = await ask("GET", "", `${folder} could not be listed`, {
          query: {
            "list-type": "2",
            "prefix": keyOf(`${folder}/`),
            "max-keys": String(MOST_AT_ONCE),
            ...(token === undefined ? {} : { "continuation-token": token }),
          },
        });
        const page = await response!.text();
        paths.push(...elements(page, "Key").map((key) => key.slice(keyOf("").length)));
        token = elements(page, "NextContinuationToken")[0];
        more = token !== undefined;
      }
      return paths.sort();
    },
    async remove(paths) {
      paths.forEach(checkPath);
      for (let at = 0; at < paths.length; at += MOST_AT_ONCE) {
        // Paths have no character that means something in XML.
        const objects = paths.slice(at, at + MOST_AT_ONCE).map((path) => `<Object><Key>${keyOf(path)}</Key></Object>`);
        const body = new TextEncoder().encode(`<Delete><Quiet>true</Quiet>${objects.join("")}</Delete>`);
        const what = "objects could not be removed";
        const headers = { "content-type": "application/xml", "content-md5": digestOf("md5", body, "base64") };
        const response = await ask("POST", "", what, { query: { delete: "" }, headers, body });
        // It succeeds also where single objects could not be removed, and names those.
        const code = elements(await response!.text(), "Code")[0];
        if (code !== undefined) throw archiveError(200, code, what);
      }
    },
  };
}

function addressOf({ endpoint, bucket, style }: S3Config): string {
  const { protocol, host } = new URL(endpoint);
  return style === "path" ? `${protocol}//${host}/${bucket}/` : `${protocol}//${bucket}.${host}/`;
}

function lockHeaders(lock: S3Config["lock"]): Record<string, string> {
  if (lock === undefined) return {};
  return {
    "x-amz-object-lock-mode": lock.mode,
    "x-amz-object-lock-retain-until-date": new Date(Date.now() + lock.days * DAY).toISOString(),
  };
}

function archiveError(status: number, s3Code: string, what: string): ArchiveError {
  const code = s3Code === "EntityTooLarge" || status === 413
    ? "too_large"
    : status === 409 || status === 412
    ? "conflict"
    : ["InternalError", "SlowDown", "RequestTimeout"].includes(s3Code)
    ? "unavailable"
    : "refused";
  // The message of S3 is left out: it quotes keys and what was signed.
  return new ArchiveError(code, `S3: ${what} (${[status, s3Code.slice(0, 64)].filter(Boolean).join(" ")}).`);
}

/** The texts of all elements of a name, in answers as S3 writes them. */
function elements(xml: string, name: string): string[] {
  const entities: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return [...xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "g"))].map(([, text]) =>
    text!.replace(/&(lt|gt|quot|apos|amp);/g, (_, entity: string) => entities[entity]!)
  );
}

function digestOf(algorithm: string, body: Uint8Array | undefined, encoding: "hex" | "base64"): string {
  return createHash(algorithm).update(body ?? new Uint8Array()).digest(encoding);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
