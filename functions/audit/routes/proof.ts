// Receipts: the proof that an entry is in a signed log, for whoever wants to check it without asking us.
import { createRoute, z } from "@hono/zod-openapi";
import { maxObjectBytes } from "../../_shared/archive/archive.ts";
import { isEncrypted } from "../../_shared/archive/bundle_encryption.ts";
import { decoded } from "../../_shared/archive/decoded.ts";
import { readFile, tilesOf } from "../../_shared/archive/tiles.ts";
import { Problem } from "../../_shared/problem.ts";
import { TlogError } from "../../_shared/tlog/error.ts";
import { decodeBundle } from "../../_shared/tlog/bundle.ts";
import { parseCheckpoint } from "../../_shared/tlog/checkpoint.ts";
import { leafHash } from "../../_shared/tlog/hash.ts";
import { parseNote } from "../../_shared/tlog/note.ts";
import { proveInclusion } from "../../_shared/tlog/prove.ts";
import { formatReceipt } from "../../_shared/tlog/receipt.ts";
import { encodeText, parseHex } from "../../_shared/tlog/text.ts";
import { TILE_WIDTH, tileWidth } from "../../_shared/tlog/tile.ts";
import type { App } from "../app.ts";
import { ask } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { PROBLEMS, SIGNED_IN } from "../respond.ts";
import { EntryPath, OrganizationParameters } from "../schemas.ts";

const proof = createRoute({
  method: "get",
  path: "/logs/{name}/proof",
  tags: ["Proof"],
  summary: "The receipt of an entry",
  description:
    "A C2SP tlog-proof: that the entry is in a log whose checkpoint is signed. Its extra data is the entry's " +
    "text, so the receipt can be verified by itself: npm run verify -- --receipt FILE --key VKEY. 409 not_sealed during " +
    "the minute in which it is not sealed yet; 409 not_proved where it is not the entry that was sealed. An entry that was purged comes out of the archive, for those who read " +
    "all of the organisation's log; 409 archive_encrypted where only who has the archive's key can read it.",
  security: SIGNED_IN,
  request: { params: EntryPath, query: OrganizationParameters },
  responses: { 200: { description: "The receipt.", content: { "text/plain": { schema: z.string() } } }, ...PROBLEMS },
});

/** What audit.entry_proof() answers: of an entry that was purged, only where it stands. */
type Place =
  & { folder: string; index: number; size: number; checkpoint: string }
  & ({ hash: string; entry_text: string } | { hash?: never });

export function addProof(app: App, deps: Deps): void {
  app.openapi(proof, async (c) => {
    const { name } = c.req.valid("param");
    const request = JSON.stringify({ ...c.req.valid("query"), name });
    const place = JSON.parse(await ask(c, deps, "entry_proof", request)) as Place;
    const { folder, index } = place;
    const note = parseNote(place.checkpoint);
    const entry = place.hash === undefined ? await archivedEntry(deps, place) : encodeText(place.entry_text);
    const leaf = place.hash === undefined ? leafHash(entry) : parseHex(place.hash);
    const path = await proveInclusion(parseCheckpoint(note.text), index, leaf, tilesOf(deps.archive, folder))
      .catch((error) => {
        if (!(error instanceof TlogError) || error.code !== "root_mismatch") throw error;
        throw new Problem("not_proved", `Entry ${name} does not lead to the root that was signed.`, {
          hint: "Somebody may have changed it: audit.verify() and npm run verify say more.",
        });
      });
    const receipt = formatReceipt({ index, path, checkpoint: note, extra: entry });
    return c.text(receipt, 200, {
      "content-disposition": `attachment; filename="${name}.tlog-proof"`,
      "cache-control": "no-store",
    });
  });
}

/** Out of its bundle. Whether it is the one that was sealed, its proof tells. */
async function archivedEntry({ archive }: Deps, { folder, index, size }: Place): Promise<Uint8Array> {
  const bundle = Math.floor(index / TILE_WIDTH);
  const width = tileWidth("entries", bundle, size);
  const stored = await readFile(archive, folder, { level: "entries", index: bundle, width });
  const object = await decoded(stored, maxObjectBytes("bundle"));
  if (isEncrypted(object)) {
    throw new Problem("archive_encrypted", "The entry was purged, and the archive that has it is encrypted.", {
      hint: "Who has the archive's key brings it back: npm run restore -- --entries <organization_id>.",
    });
  }
  return decodeBundle(object, width)[index % TILE_WIDTH]!;
}
