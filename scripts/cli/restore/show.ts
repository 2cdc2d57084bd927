/** What became of a restore, as people read it. */
import { count, plural } from "../verify/ledger.ts";
import type { PeriodRestored } from "./period.ts";
import type { Rebuilt } from "./rebuild.ts";

export function showRebuilt(rebuilt: Rebuilt): string {
  const { incarnation, logs, entries, unsealed, lost, erased, missingTables, membership, newerBackup, broken } =
    rebuilt;
  const chains = lost.flatMap(({ organizationId, chains }) => chains.map((chain) => ({ organizationId, chain })));
  const lines = [
    `RESTORED: ${plural(entries, "entry", "entries")} in ${plural(logs, "log")}; of them ${
      count(unsealed)
    } from the backup ` + "alone. This is incarnation " + `${incarnation} of the log.`,
  ];
  for (const { organizationId, chain: [chain, from, to] } of chains) {
    lines.push(`Lost, and known of: entries ${chain}-${from} to ${chain}-${to} of ${organizationId}.`);
  }
  lines.push("Lost, and not known of: whatever was written after the backup and not sealed before the end.");
  if (erased > 0) lines.push(`${plural(erased, "erasure")} of persons applied again.`);
  if (newerBackup !== undefined) lines.push(`There was a newer backup, says the log: ${newerBackup}.`);
  if (missingTables.length > 0) {
    lines.push(`Not tracked, because they are not there: ${missingTables.join(", ")}. Track them with audit.track().`);
  }
  if (!membership) lines.push("Nobody has a role yet: tell where they are with audit.use_membership().");
  for (const each of broken) lines.push(`Does not verify: ${each}`);
  return lines.join("\n");
}

export function showEntries({ table, found, added }: PeriodRestored): string {
  return `RESTORED: ${plural(found, "entry", "entries")} of the period, ${count(added)} of them new in ${table}. ` +
    `When they are no longer needed: drop table ${table};`;
}
