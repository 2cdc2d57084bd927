/** From the newest log of an organisation back to the oldest that is there: each log's first entry names the one before. */
import { parseCheckpoint } from "../../../functions/_shared/tlog/checkpoint.ts";
import { parseNote } from "../../../functions/_shared/tlog/note.ts";
import { parseOrigin } from "../../../functions/_shared/tlog/origin.ts";
import { tileWidth } from "../../../functions/_shared/tlog/tile.ts";
import type { LogFiles } from "./files.ts";
import { faultOf, type Kit } from "./log.ts";
import { readOpening } from "./month.ts";

/** Nothing of it is believed: what a log says of the one before is only where to look. Months from the oldest. */
export async function findMonths(
  newest: string,
  open: (month: string) => LogFiles,
  entries: Kit["entries"],
): Promise<{ month: string; files: LogFiles }[]> {
  const months = [{ month: newest, files: open(newest) }];
  for (;;) {
    const { month, files } = months[0]!;
    const before = await monthBefore(files, entries);
    // Only ever back, so it ends.
    if (before === undefined || before >= month) return months;
    const earlier = { month: before, files: open(before) };
    if (await earlier.files.checkpoint().then((note) => note === null, isReported)) return months;
    months.unshift(earlier);
  }
}

async function monthBefore(files: LogFiles, entries: Kit["entries"]): Promise<string | undefined> {
  try {
    const note = await files.checkpoint();
    const width = note === null ? 0 : tileWidth("entries", 0, parseCheckpoint(parseNote(note).text).size);
    const bundle = width === 0 ? null : await files.bundle(0, width);
    const [first] = bundle === null ? [] : await entries({ ...bundle, width, tile: null });
    const previous = first && readOpening(first)?.previous;
    return previous ? parseOrigin(previous.origin).month : undefined;
  } catch (error) {
    faultOf(error);
    return undefined;
  }
}

/** What is wrong with it, its verification will say. */
function isReported(error: unknown): boolean {
  faultOf(error);
  return false;
}
