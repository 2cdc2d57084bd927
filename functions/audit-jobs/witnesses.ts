// Witnesses: asks each (C2SP tlog-witness) to cosign the anchor log's newest checkpoint, and publishes it again with what
// they signed. A witness signs only what continues all that it signed before, so two histories of the log cannot both be
// cosigned; one that refuses may have seen another, which is a finding.
import type { Archive } from "../_shared/archive/archive.ts";
import { tilesOf } from "../_shared/archive/tiles.ts";
import type { Database } from "../_shared/database.ts";
import { checkSuccess, post } from "../_shared/outside.ts";
import { type Checkpoint, parseCheckpoint } from "../_shared/tlog/checkpoint.ts";
import { type Cosignature, cosignatureOf, cosignatureVerifier } from "../_shared/tlog/cosignature.ts";
import { TlogError } from "../_shared/tlog/error.ts";
import type { Hash } from "../_shared/tlog/hash.ts";
import { formatNote, isOf, type Note, parseNote, type Signature, withSignatures } from "../_shared/tlog/note.ts";
import { isWitnessed, type Policy, type PolicyWitness } from "../_shared/tlog/policy.ts";
import { proveConsistency } from "../_shared/tlog/prove.ts";
import { encodeText } from "../_shared/tlog/text.ts";
import { rememberTiles, type TileReader } from "../_shared/tlog/tile.ts";
import { formatAddCheckpoint, readWitnessAnswer } from "../_shared/tlog/witness.ts";
import { DeliveryError, failDelivery, recordDelivery, registerReceivers } from "./deliveries.ts";
import type { Outside } from "./receiver_settings.ts";
import { noteFinding } from "./findings.ts";

export type WitnessDeps = { database: Database; stored: Archive; outside: Outside };

/** `enough`: as many as the policy asks for. `published`: readers get the cosignatures. */
export type WitnessResult = { configured: false } | {
  configured: true;
  asked: number;
  cosigned: number;
  enough: boolean;
  published: boolean;
};

/** What audit.claim_cosigning() answers. */
type Claim = {
  log: number;
  origin: string;
  size: number;
  note: string;
  /** `size` is what the witness has cosigned, as far as we know. */
  witnesses: { name: string; lease: string; size: number }[];
};

type Subject = { claim: Claim; note: Note; checkpoint: Checkpoint; read: TileReader };
type Signed = { signatures: Signature[]; cosignatures: Cosignature[] };

const FOLDER = "anchor";
const MOST_ANSWER_BYTES = 262_144;
/** A witness may know of a size that we do not remember; if it names another each time, it does not mean it. */
const MOST_ATTEMPTS = 3;

/** Asks all witnesses whose turn it is, side by side. */
export async function cosignCheckpoint(deps: WitnessDeps): Promise<WitnessResult> {
  const { database, outside } = deps;
  const policy = outside.policy();
  const witnesses = (policy?.witnesses ?? []).filter(({ url }) => url !== undefined);
  await registerReceivers(
    database,
    ["witness"],
    witnesses.map(({ name }) => ({ kind: "witness", name, allLogs: false })),
  );
  if (policy === undefined || witnesses.length === 0) {
    return { configured: false };
  }
  const claim = await claimCosigning(database);
  if (claim === null) {
    return { configured: true, asked: 0, cosigned: 0, enough: false, published: false };
  }

  const note = parseNote(claim.note);
  const subject = {
    claim,
    note,
    checkpoint: parseCheckpoint(note.text),
    read: rememberTiles(tilesOf(deps.stored, FOLDER)),
  };
  const answers = await Promise.all(claim.witnesses.map(async ({ name, lease, size }) => {
    const witness = witnesses.find((known) => known.name === name);
    try {
      // Another instance has registered one that this one is not told of yet.
      if (witness === undefined) throw new DeliveryError("not_configured");
      return { lease, ...await ask(deps, subject, witness, size) };
    } catch (error) {
      await failDelivery(database, { kind: "witness", name }, { lease, log: claim.log }, error);
      return undefined;
    }
  }));
  const signed = answers.filter((answer) => answer !== undefined);
  const result = { configured: true as const, asked: claim.witnesses.length, cosigned: signed.length };
  if (signed.length === 0) {
    return { ...result, enough: false, published: false };
  }

  const cosigned = withSignatures(note, signed.flatMap(({ signatures }) => signatures));
  const enough = isWitnessed(policy, cosignaturesOf(cosigned, policy));
  await recordCosignatures(database, claim, cosigned, enough);
  const published = await publishAgain(deps, claim, cosigned);
  // A crash before this: the witness is asked again, and signs again.
  for (const { lease, cosignatures } of signed) {
    await recordDelivery(database, { lease, log: claim.log, size: claim.size }, cosignatures[0]!.time);
  }
  return { ...result, enough, published };
}

async function claimCosigning(database: Database): Promise<Claim | null> {
  const answer = await database.askAsOwner({
    name: "claim_cosigning",
    text: "select audit.claim_cosigning()::text",
    values: [],
  });
  return answer === null ? null : JSON.parse(answer) as Claim;
}

/** The witness's cosignature, verified. `known` is the size that it is believed to have. */
async function ask(deps: WitnessDeps, subject: Subject, witness: PolicyWitness, known: number): Promise<Signed> {
  const { note, checkpoint } = subject;
  let old = known;
  for (let attempt = 1;; attempt++) {
    const path = await prove(deps, subject, old);
    const answer = await post(`${witness.url!.replace(/\/+$/, "")}/add-checkpoint`, {
      headers: { "content-type": "text/plain; charset=utf-8" },
      body: formatAddCheckpoint({ old, path, checkpoint: note }),
      mostBytes: MOST_ANSWER_BYTES,
    });
    const told = readWitnessAnswer(answer, note, [cosignatureVerifier(witness.key)]);
    if (told.ok) return told;
    if (told.reason === "old_size" && told.size > checkpoint.size) {
      // A run that was held up meets what a later one has shown the witness meanwhile.
      if (told.size > await publishedSize(deps, subject)) {
        await noteDisagreement(deps, subject, witness, { witness_size: told.size });
      }
      throw new DeliveryError("ahead");
    }
    if (told.reason === "old_size" && attempt < MOST_ATTEMPTS) {
      old = told.size;
      continue;
    }
    if (told.reason === "inconsistent") {
      await noteDisagreement(deps, subject, witness, { witness_size: old });
    }
    if (told.reason === "unavailable") checkSuccess(answer);
    throw new DeliveryError(told.reason);
  }
}

async function publishedSize({ database }: WitnessDeps, { claim }: Subject): Promise<number> {
  const size = await database.askAsOwner({
    name: "published_size",
    text: "select l.published::text from audit.logs l where l.id = $1",
    values: [claim.log],
  });
  return Number(size);
}

/** What the archive does not prove, no witness would believe. */
async function prove(deps: WitnessDeps, { claim, checkpoint, read }: Subject, old: number): Promise<Hash[]> {
  try {
    return await proveConsistency(old, checkpoint, read);
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    await noteFinding(deps.database, undefined, "archive_damaged", `${FOLDER}/checkpoint`, {
      log: claim.origin,
      size: claim.size,
      problem: error.message,
    });
    throw new DeliveryError("damaged_file", { ofLog: true });
  }
}

/** It was shown another history than ours, or ours was taken back. */
function noteDisagreement(
  deps: WitnessDeps,
  { claim }: Subject,
  { name }: PolicyWitness,
  detail: { witness_size: number },
): Promise<void> {
  return noteFinding(deps.database, undefined, "witness_disagrees", name, {
    log: claim.origin,
    size: claim.size,
    ...detail,
  });
}

async function recordCosignatures(
  database: Database,
  { log, size }: Claim,
  note: Note,
  enough: boolean,
): Promise<void> {
  await database.askAsOwner({
    name: "record_cosignatures",
    text: "select audit.record_cosignatures($1, $2, $3, $4)::text",
    values: [log, size, formatNote(note), enough],
  });
}

/**
 * Gives readers the cosignatures, unless they have a newer checkpoint or are about to get one. Where writing failed the
 * lease is left to run out, because the request may take effect later.
 */
async function publishAgain({ database, stored }: WitnessDeps, { log, size }: Claim, note: Note): Promise<boolean> {
  const lease = await database.askAsOwner({
    name: "lease_checkpoint",
    text: "select audit.lease_checkpoint($1, $2)::text",
    values: [log, size],
  });
  if (lease === null) return false;
  await stored.put(`${FOLDER}/checkpoint`, encodeText(formatNote(note)), "checkpoint");
  await database.askAsOwner({
    name: "record_published",
    text: "select audit.record_published($1, $2, $3)::text",
    values: [log, size, lease],
  });
  return true;
}

/** Those of the policy's witnesses, as far as they verify. */
function cosignaturesOf({ text, signatures }: Note, { witnesses }: Policy): Cosignature[] {
  const verifiers = witnesses.map(({ key }) => cosignatureVerifier(key));
  return signatures.filter((signature) =>
    verifiers.some((key) => isOf(signature, key) && key.verify(text, signature.bytes))
  ).map(cosignatureOf);
}
