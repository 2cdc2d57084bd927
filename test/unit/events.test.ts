// docs/events.md names every action that the source writes, and none that it does not.
import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";

const ROOT = new URL("../../", import.meta.url);

/** Dotted words of the source that are no actions: settings, types, tables and columns, by what stands before the dot. */
const SCHEMAS =
  /^(audit|auth\.(audit_log_entries|users)|cron|e|extensions|net|permitted_ip|pg_catalog|public|request|vault)\b/;
/** What a message is called, which is no entry. */
const MESSAGES = ["channel.test", "report.ready", "attestation.ready"];
/** Written as a prefix and a transition, or as a resource and a verb. */
const COMPOSED = ["alert.silenced", "alert.reopened", "row.created", "row.updated", "row.deleted"];

test("the catalogue of events is that of the source", async () => {
  const files = (await readdir(new URL("sql/", ROOT))).filter((name) => name.endsWith(".sql"));
  const source = (await Promise.all(files.map((name) => readFile(new URL(`sql/${name}`, ROOT), "utf8")))).join("\n");
  const written = [...source.matchAll(/'([a-z_]+\.[a-z_]+)'/g)].map(([, word]) => word!)
    .filter((word) => !SCHEMAS.test(word) && !MESSAGES.includes(word));
  const catalogue = await readFile(new URL("docs/events.md", ROOT), "utf8");
  const rows = catalogue.split("\n").filter((line) => line.startsWith("|")).join("\n");
  const listed = [...rows.matchAll(/`([a-z_]+\.[a-z_]+)`/g)].map(([, word]) => word!);
  expect([...new Set(listed)].sort()).toEqual([...new Set([...written, ...COMPOSED])].sort());
  expect(listed.length).toBe(new Set(listed).size);
});
