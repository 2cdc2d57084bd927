// Manifests of exports, signed: the note's text is the digest of the manifest's bytes, and its key the log's own, by the
// name under which it is handed out. A run that is killed leaves a manifest that the next run signs, with the same bytes.
import { createHash } from "node:crypto";
import type { Database } from "../_shared/database.ts";
import type { LogKeys } from "../_shared/log_keys.ts";
import { formatNote, signNote } from "../_shared/tlog/note.ts";

export type ManifestDeps = { database: Database; keys: LogKeys };

/** Signing one takes a millisecond; a run does not go on for ever all the same. */
const MOST = 100;

/** Signs the manifests of exports that are done and whose entries are sealed. */
export async function signManifests({ database, keys }: ManifestDeps): Promise<{ signed: number }> {
  for (let signed = 0; signed < MOST; signed++) {
    const answer = await database.askAsOwner({
      name: "manifest_to_sign",
      text: "select audit.manifest_to_sign()::text",
      values: [],
    });
    if (answer === null) return { signed };
    const { export: id, manifest } = JSON.parse(answer) as { export: string; manifest: string };
    const digest = createHash("sha256").update(manifest).digest("hex");
    const note = await signNote(`supabase-audit-logs export manifest v1\n${digest}\n`, keys.signers(keys.base));
    await database.askAsOwner({
      name: "record_manifest_note",
      text: "select audit.record_manifest_note($1, $2)::text",
      values: [id, formatNote(note)],
    });
  }
  return { signed: MOST };
}
