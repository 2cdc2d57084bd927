// The vectors are what the database says today. After a deliberate change (which is a new format version, never an edit
// of version 1) `npx vitest run test/vectors --update` rewrites them.
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";

const GENERATE = new URL("generate.sql", import.meta.url);

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase("product");
});
afterAll(() => db.drop());

test.each([
  ["as a client usually is", ""],
  [
    "with every session setting changed",
    `set timezone = 'Pacific/Chatham'; set datestyle = 'SQL, DMY'; set intervalstyle = 'sql_standard';
     set extra_float_digits = 0; set bytea_output = 'escape'; set standard_conforming_strings = on;
     set search_path = pg_temp; set lc_numeric = 'C'; set client_encoding = 'UTF8';`,
  ],
])("the database makes the vectors byte for byte, %s", async (_, settings) => {
  const client = await db.connect();
  await client.query(settings);
  const { rows } = await client.query<{ concat: string }>(await readFile(GENERATE, "utf8"));
  await expect(rows[0]!.concat).toMatchFileSnapshot("entries.json");
});
