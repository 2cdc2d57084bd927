// Manifests of exports and certificates of erasures, signed: the note's text is the digest of their bytes, and its key the
// log's own, by the name under which it is handed out. A run that is killed leaves what the next run signs, with the same
// bytes.
import { createHash } from "node:crypto";
import type { Database } from "../_shared/database.ts";
import type { LogKeys } from "../_shared/log_keys.ts";
import { formatNote, signNote } from "../_shared/tlog/note.ts";

export type ManifestDeps = { database: Database; keys: LogKeys };

/** Functions that say what is to be signed, and those that keep the signature. */
const KINDS = [["manifest_to_sign", "record_manifest_note"], [
  "certificate_to_sign",
  "record_certificate_note",
]] as const;

/** Signing one takes a millisecond; a run does not go on for ever all the same. */
const MOST = 100;

/** Signs what is done and whose entries are sealed. */
export async function signManifests({ database, keys }: ManifestDeps): Promise<{ signed: number }> {
  let signed = 0;
  for (const [next, record] of KINDS) {
    while (signed < MOST) {
      const answer = await database.askAsOwner({ name: next, text: `select audit.${next}()::text`, values: [] });
      if (answer === null) break;
      const { id, manifest } = JSON.parse(answer) as { id: string; manifest: string };
      const note = await signManifest(manifest, keys);
      await database.askAsOwner({ name: record, text: `select audit.${record}($1, $2)::text`, values: [id, note] });
      signed++;
    }
  }
  return { signed };
}

/** The signed note over the digest of a manifest. */
export async function signManifest(manifest: string | Uint8Array, keys: LogKeys): Promise<string> {
  const digest = createHash("sha256").update(manifest).digest("hex");
  return formatNote(await signNote(`supabase-audit-logs export manifest v1\n${digest}\n`, keys.signers(keys.base)));
}
