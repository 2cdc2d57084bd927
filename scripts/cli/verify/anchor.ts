/**
 * The anchor log: its entries are checkpoints of the other logs, so whoever remembers one checkpoint of it remembers all
 * logs of the deployment.
 */
import { type Checkpoint, parseCheckpoint } from "../../../functions/_shared/tlog/checkpoint.ts";
import { parseOrigin } from "../../../functions/_shared/tlog/origin.ts";
import type { Break } from "./chains.ts";
import type { LogFiles } from "./files.ts";
import { sameBytes } from "./hashing.ts";
import { count, type Finding } from "./ledger.ts";
import { type Follower, type Kit, type LogVerdict, type Remembered, verifyLog } from "./log.ts";

/** `anchored`: what it says of each log, by origin, from the oldest. */
export type AnchorVerdict = { log: LogVerdict; anchored: Map<string, Remembered[]> };

export async function verifyAnchor(
  base: string,
  files: LogFiles,
  remembered: (origin: string) => Remembered[],
  kit: Kit,
): Promise<AnchorVerdict> {
  const origin = `${base}/anchor`;
  const anchored = new Map<string, Remembered[]>();
  const follower: Follower = {
    heads: new Map(),
    take: ({ texts }, first) =>
      texts.flatMap(({ position, text }): Break[] => {
        const index = first + position;
        const found = readEntry(text, base, index, anchored);
        return found === undefined ? [] : [{ ...found, log: origin, index }];
      }),
  };
  const log = await verifyLog({ origin, files, remembered: remembered(origin), fromIndex: 0 }, kit, follower);
  if (log.state === "expired") {
    const message = `All ${count(log.checkpoint!.size)} entries are missing; the anchor log never lets go of any.`;
    kit.ledger.found({ code: "missing_bundle", message, log: origin });
  }
  // What nobody has signed says nothing of other logs.
  return { log, anchored: log.isSigned ? anchored : new Map() };
}

function readEntry(
  text: string,
  base: string,
  index: number,
  anchored: Map<string, Remembered[]>,
): Finding | undefined {
  const checkpoint = asCheckpoint(text, base);
  if (checkpoint === undefined) {
    const message = `The entry at index ${count(index)} of the anchor log is no checkpoint of this deployment.`;
    return { code: "bad_anchor_entry", message };
  }
  const { origin, size, root } = checkpoint;
  const earlier = anchored.get(origin);
  const last = earlier?.at(-1)?.tree;
  const remembered = { tree: { size, root }, what: `Entry ${count(index)} of the anchor log` };
  if (earlier === undefined) anchored.set(origin, [remembered]);
  else earlier.push(remembered);
  if (last === undefined || size > last.size || size === last.size && sameBytes(root, last.root)) return undefined;
  const message = size < last.size
    ? `Entry ${count(index)} of the anchor log says that ${origin} has ${count(size)} entries; it had ${
      count(last.size)
    } before.`
    : `Entry ${count(index)} of the anchor log has another root for ${origin} at ${count(size)} entries.`;
  return { code: "anchor_shrinks", message };
}

function asCheckpoint(text: string, base: string): Checkpoint | undefined {
  try {
    const checkpoint = parseCheckpoint(text);
    return parseOrigin(checkpoint.origin).base === base && checkpoint.extensions.length === 0 ? checkpoint : undefined;
  } catch {
    return undefined;
  }
}
