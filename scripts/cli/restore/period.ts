// Entries of a period, from the archive into a table beside the log.
import type pg from "pg";
import { MAX_ENTRY_BYTES, parseEntryText } from "../../../functions/_shared/entry.ts";
import { formatOrigin } from "../../../functions/_shared/tlog/origin.ts";
import { decodeText } from "../../../functions/_shared/tlog/text.ts";
import type { LogFiles } from "../verify/files.ts";
import { type LogReader, readLog } from "./log.ts";

export type PeriodTask = {
  base: string;
  organizationId: string;
  /** From the oldest. */
  months: { month: string; files: LogFiles }[];
  reader: LogReader;
  from: Date;
  /** Not included. */
  to: Date;
  /** The table with its schema. */
  into: string;
  onStep(step: string): void;
};

/** `found` entries of the period are in the archive; `added` were not in the table before. */
export type PeriodRestored = { table: string; found: number; added: number };

export async function restorePeriod(client: pg.Client, task: PeriodTask): Promise<PeriodRestored> {
  const { base, organizationId, months, reader, into, onStep } = task;
  const [from, to] = [task.from, task.to].map((date) => BigInt(date.getTime()) * 1000n) as [bigint, bigint];
  let found = 0;
  let added = 0;
  await client.query("begin; set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0");
  try {
    const { rows: [opened] } = await client.query<{ name: string }>(
      "select audit.qualified_name(audit.open_restored_entries($1)) as name",
      [into],
    );
    const table = opened!.name;
    for (const { month, files } of months) {
      const origin = formatOrigin({ base, organizationId, month });
      onStep(origin);
      // Entries of a period are in the logs of its months and, sealed late, the one behind; the rest is read for the root.
      await readLog(reader, origin, files, async (entries) => {
        const texts = entries.flatMap(({ bytes }) => {
          const at = parseEntryText(bytes)?.created_at;
          return at !== undefined && at >= from && at < to ? [decodeText(bytes, MAX_ENTRY_BYTES)!] : [];
        });
        if (texts.length === 0) return;
        const { rows: [row] } = await client.query<{ added: string }>(
          "select audit.add_restored_entries($1::regclass, $2) as added",
          [table, texts],
        );
        found += texts.length;
        added += Number(row!.added);
      });
    }
    await client.query("select audit.record($1, 'entries.restored', 'table', $2, $3)", [
      organizationId,
      table,
      JSON.stringify({ from: task.from, to: task.to, entries: found }),
    ]);
    await client.query("commit");
    return { table, found, added };
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
}
