// Receipts: the proof that an entry is in a signed log, for whoever wants to check it without asking us.
import { createRoute, z } from "@hono/zod-openapi";
import { tilesOf } from "../../_shared/archive/tiles.ts";
import { parseCheckpoint } from "../../_shared/tlog/checkpoint.ts";
import { parseNote } from "../../_shared/tlog/note.ts";
import { proveInclusion } from "../../_shared/tlog/prove.ts";
import { formatReceipt } from "../../_shared/tlog/receipt.ts";
import { encodeText, parseHex } from "../../_shared/tlog/text.ts";
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
    "the minute in which it is not sealed yet.",
  security: SIGNED_IN,
  request: { params: EntryPath, query: OrganizationParameters },
  responses: { 200: { description: "The receipt.", content: { "text/plain": { schema: z.string() } } }, ...PROBLEMS },
});

/** What audit.entry_proof() answers. */
type Place = { folder: string; index: number; checkpoint: string; hash: string; entry_text: string };

export function addProof(app: App, deps: Deps): void {
  app.openapi(proof, async (c) => {
    const { name } = c.req.valid("param");
    const request = JSON.stringify({ ...c.req.valid("query"), name });
    const { folder, index, checkpoint, hash, entry_text } = JSON.parse(
      await ask(c, deps, "entry_proof", request),
    ) as Place;
    const note = parseNote(checkpoint);
    const path = await proveInclusion(parseCheckpoint(note.text), index, parseHex(hash), tilesOf(deps.archive, folder));
    const receipt = formatReceipt({ index, path, checkpoint: note, extra: encodeText(entry_text) });
    return c.text(receipt, 200, {
      "content-disposition": `attachment; filename="${name}.tlog-proof"`,
      "cache-control": "no-store",
    });
  });
}
