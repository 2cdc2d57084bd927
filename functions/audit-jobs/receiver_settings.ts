// Who outside gets checkpoints, as the environment names them. A setting is read when a job first needs it, so one that is
// wrong stops no other job; what is wrong is named and never quoted, because it may be a secret.
import { z } from "zod";
import { type Archive, ArchiveError } from "../_shared/archive/archive.ts";
import { parseS3, s3Archive } from "../_shared/archive/s3_archive.ts";
import { ARCHIVE_BUCKET } from "../_shared/archive/storage_archive.ts";
import { isSafeAddress } from "../_shared/outside.ts";
import { Problem } from "../_shared/problem.ts";
import { BUCKET } from "../_shared/storage.ts";
import { TlogError } from "../_shared/tlog/error.ts";
import { parsePolicy, type Policy } from "../_shared/tlog/policy.ts";
import { isWebhookSecret } from "../_shared/webhook.ts";
import { archiveReceiver, type CheckpointReceiver, webhookReceiver } from "./receivers.ts";

/** The second archive. Its name tells it from every other place, so that another place begins anew. */
export type Mirror = { name: string; archive: Archive };

/** Each throws a Problem where its setting cannot be used. */
export type Outside = {
  receivers(): CheckpointReceiver[];
  /** Undefined where there is none. */
  mirror(): Mirror | undefined;
  policy(): Policy | undefined;
};

export type OutsideOptions = {
  setting(name: string): string | undefined;
  /** A bucket of the project's own Storage. */
  openBucket(bucket: string): Archive;
};

const MOST_RECEIVERS = 20;
/** A run serves many, each within a lease: what takes longer is tried again later. */
export const RECEIVER_PATIENCE = { attempt: 10_000, total: 20_000 };

const common = {
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/),
  logs: z.enum(["anchor", "all"]).default("anchor"),
};
const ReceiversSchema = z.array(z.discriminatedUnion("kind", [
  z.strictObject({
    ...common,
    kind: z.literal("webhook"),
    url: z.string().max(2_000).refine(isSafeAddress, "HTTPS, and no name or password in it."),
    secret: z.string().refine(isWebhookSecret, "whsec_ and the base64 of 24 to 64 bytes."),
  }),
  z.strictObject({
    ...common,
    kind: z.literal("bucket"),
    bucket: z.string().regex(/^[a-z0-9][a-z0-9_-]{2,62}$/).refine((name) => ![ARCHIVE_BUCKET, BUCKET].includes(name)),
  }),
  // What else it has is what AUDIT_S3 has, and is read as strictly.
  z.looseObject({ ...common, kind: z.literal("s3") }),
])).max(MOST_RECEIVERS);

export function readOutside({ setting, openBucket }: OutsideOptions): Outside {
  return {
    receivers: once("AUDIT_RECEIVERS", () => parseReceivers(setting("AUDIT_RECEIVERS"), openBucket)),
    mirror: once("AUDIT_S3", () => parseMirror(setting("AUDIT_S3"))),
    policy: once("AUDIT_WITNESSES", () => parseWitnesses(setting("AUDIT_WITNESSES"))),
  };
}

function parseReceivers(text: string | undefined, openBucket: OutsideOptions["openBucket"]): CheckpointReceiver[] {
  if (text === undefined) return [];
  const { success, data, error } = ReceiversSchema.safeParse(jsonOf(text));
  if (!success) {
    const at = error.issues.map(({ code, path }) =>
      `${path.join(".") || "it"} ${code === "unrecognized_keys" ? "has fields that there are not" : "is not valid"}`
    );
    throw new SettingError(at.join("; "));
  }
  if (new Set(data.map(({ name }) => name)).size < data.length) {
    throw new SettingError("two receivers have one name");
  }
  return data.map((receiver) => {
    const { kind, name, logs } = receiver;
    const allLogs = logs === "all";
    if (kind === "webhook") return webhookReceiver(name, allLogs, { url: receiver.url, secrets: [receiver.secret] });
    if (kind === "bucket") {
      return archiveReceiver(kind, name, allLogs, openBucket(receiver.bucket));
    }
    const { kind: _, name: __, logs: ___, ...config } = receiver;
    return archiveReceiver("s3", name, allLogs, s3Archive(parseS3(JSON.stringify(config)), RECEIVER_PATIENCE));
  });
}

function parseMirror(text: string | undefined): Mirror | undefined {
  if (text === undefined) return undefined;
  const config = parseS3(text);
  const name = [new URL(config.endpoint).host, config.bucket, config.prefix].filter(Boolean).join("/");
  return { name, archive: s3Archive(config, RECEIVER_PATIENCE) };
}

function parseWitnesses(text: string | undefined): Policy | undefined {
  if (text === undefined) return undefined;
  const policy = parsePolicy(text);
  const unsafe = policy.witnesses.find(({ url }) => url !== undefined && !isSafeAddress(url));
  if (unsafe !== undefined) {
    throw new SettingError(`the address of witness ${unsafe.name} is not HTTPS`);
  }
  return policy;
}

class SettingError extends Error {}

/** What was read is kept. What cannot be used is a Problem that names the variable. */
function once<T>(variable: string, read: () => T): () => T {
  let kept: { value: T } | undefined;
  return () => {
    try {
      return (kept ??= { value: read() }).value;
    } catch (error) {
      // Whose messages quote no secrets.
      const isSafe = error instanceof SettingError || error instanceof TlogError || error instanceof ArchiveError;
      const why = isSafe ? error.message.replace(/^AUDIT_S3: /, "") : "it could not be read";
      throw new Problem("not_configured", `${variable} cannot be used: ${why.replace(/\.$/, "")}.`);
    }
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // which is no list either; the parser's own message quotes the text
  }
}
