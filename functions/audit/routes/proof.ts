// Receipts: the proof that an entry is in a signed log, for whoever wants to check it without asking us; and that the log
// is in the anchor log, which witnesses cosign.
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
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
import type { Deps, Env } from "../deps.ts";
import { PROBLEMS, SIGNED_IN } from "../respond.ts";
import { EntryPath, OrganizationParameters, ReceiptParameters } from "../schemas.ts";

const RECEIPT = { "text/plain": { schema: z.string() } };

const proof = createRoute({
  method: "get",
  path: "/logs/{name}/proof",
  tags: ["Proof"],
  summary: "The receipt of an entry",
  description:
    "A C2SP tlog-proof: that the entry is in a log whose checkpoint is signed. Its extra data is the entry's " +
    "text, so the receipt can be verified by itself: npm run verify -- --receipt FILE --key VKEY. 409 not_sealed during " +
    "the minute in which it is not sealed yet; 409 not_proved where it is not the entry that was sealed. An entry that " +
    "was purged comes out of the archive, for those who read all of the organisation's log; 409 archive_encrypted where " +
    "only who has the archive's key can read it.",
  security: SIGNED_IN,
  request: { params: EntryPath, query: ReceiptParameters },
  responses: { 200: { description: "The receipt.", content: RECEIPT }, ...PROBLEMS },
});

const anchorProof = createRoute({
  method: "get",
  path: "/logs/{name}/proof/anchor",
  tags: ["Proof"],
  summary: "The receipt of the log that an entry is in",
  description:
    "A C2SP tlog-proof: that the anchor log has the checkpoint that the receipt with checkpoint=anchored is under. Where " +
    "witnesses cosigned the anchor log, the two together show that they have seen the entry: npm run verify -- --receipt " +
    "FILE --anchor FILE --key VKEY --witness-policy FILE. 409 not_anchored during the minutes in which it is not there yet.",
  security: SIGNED_IN,
  request: { params: EntryPath, query: OrganizationParameters },
  responses: { 200: { description: "The receipt.", content: RECEIPT }, ...PROBLEMS },
});

/** What audit.entry_proof() answers: of an entry that was purged, only where it stands. */
type Place =
  & { folder: string; index: number; size: number; checkpoint: string }
  & { anchored: { checkpoint: string; anchor: { index: number; entry: string; checkpoint: string } } | null }
  & ({ hash: string; entry_text: string } | { hash?: never });

export function addProof(app: App, deps: Deps): void {
  app.openapi(proof, async (c) => {
    const { name } = c.req.valid("param");
    const { checkpoint, ...query } = c.req.valid("query");
    const place = await findPlace(c, deps, { ...query, name });
    const { folder, index } = place;
    const note = parseNote(checkpoint === "anchored" ? anchoredOf(place, name).checkpoint : place.checkpoint);
    const entry = place.hash === undefined ? await archivedEntry(deps, place) : encodeText(place.entry_text);
    const leaf = place.hash === undefined ? leafHash(entry) : parseHex(place.hash);
    const path = await proveInclusion(parseCheckpoint(note.text), index, leaf, tilesOf(deps.archive, folder))
      .catch((error) => {
        if (!(error instanceof TlogError) || error.code !== "root_mismatch") throw error;
        throw new Problem("not_proved", `Entry ${name} does not lead to the root that was signed.`, {
          hint: "Somebody may have changed it: audit.verify() and npm run verify say more.",
        });
      });
    return send(c, formatReceipt({ index, path, checkpoint: note, extra: entry }), `${name}.tlog-proof`);
  });
  app.openapi(anchorProof, async (c) => {
    const { name } = c.req.valid("param");
    const place = await findPlace(c, deps, { ...c.req.valid("query"), name });
    const { index, entry, checkpoint } = anchoredOf(place, name).anchor;
    const note = parseNote(checkpoint);
    const extra = encodeText(entry);
    const path = await proveInclusion(
      parseCheckpoint(note.text),
      index,
      leafHash(extra),
      tilesOf(deps.archive, "anchor"),
    );
    return send(c, formatReceipt({ index, path, checkpoint: note, extra }), `${name}.anchor.tlog-proof`);
  });
}

async function findPlace(c: Context<Env>, deps: Deps, request: object): Promise<Place> {
  return JSON.parse(await ask(c, deps, "entry_proof", JSON.stringify(request))) as Place;
}

function anchoredOf({ anchored }: Place, name: string): NonNullable<Place["anchored"]> {
  if (anchored !== null) return anchored;
  throw new Problem("not_anchored", `The anchor log does not tell of the log of entry ${name} yet.`, {
    hint: "It takes in what is new every five minutes, and is sealed a minute later: ask again then.",
  });
}

function send(c: Context<Env>, receipt: string, filename: string) {
  return c.text(receipt, 200, {
    "content-disposition": `attachment; filename="${filename}"`,
    "cache-control": "no-store",
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
