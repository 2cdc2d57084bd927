// Runs test/sql: one pgTAP file for every file of sql/, each in a transaction that is rolled back.
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "./support/database.ts";

const FILES = await sqlFiles("sql/");

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase("application");
  const client = await db.connect();
  await client.query("create schema tap");
  await client.query(`set search_path = tap; ${await pgtapSource()}`);
  await client.query(await readFile(new URL("sql/setup.sql", import.meta.url), "utf8"));
});
afterAll(() => db.drop());

test("every file of sql/ has its pgTAP file, and no pgTAP file is without one", async () => {
  expect(FILES).toEqual(await sqlFiles("../sql/"));
});

describe("pgTAP", () => {
  test.each(FILES)("%s", async (file) => {
    const lines = await run(await readFile(new URL(`sql/${file}`, import.meta.url), "utf8"));
    expect(lines.filter((line) => !line.startsWith("ok ") || / # (skip|todo)/i.test(line))).toEqual([]);
    expect(lines.length, "a file without a claim proves nothing").toBeGreaterThan(0);
  });
});

/** The TAP lines of a file, without plan and comments on success. A connection each: session settings do not leak. */
async function run(source: string): Promise<string[]> {
  const client = await db.connect();
  const lines: string[] = [];
  const query = new pg.Query(`
    begin;
    set local search_path = tap, public;
    select no_plan();
    ${source}
    ;reset role;
    select finish();
    rollback;
  `);
  // Where a claim fails, its explanation stands in the same value, on lines of their own.
  query.on("row", (row: object) => {
    for (const value of Object.values(row)) if (/^(not )?ok |^#/.test(value)) lines.push(value);
  });
  // A statement that fails ends the file; the last claim before it tells where.
  await new Promise<void>((done) => {
    query.on("end", () => done());
    query.on("error", (error) => {
      lines.push(`not ok - ${error.message}, after: ${lines.at(-1) ?? "the beginning"}`);
      done();
    });
    client.query(query);
  });
  return lines;
}

/** Numbered, so that setup.sql is none of them. */
async function sqlFiles(folder: string): Promise<string[]> {
  const names = await readdir(new URL(folder, import.meta.url));
  return names.filter((name) => /^\d{3}_.*\.sql$/.test(name)).sort();
}

/** pgTAP as the npm package ships it, without installing an extension into the server's folder. */
async function pgtapSource(): Promise<string> {
  const folder = dirname(createRequire(import.meta.url).resolve("@electric-sql/pglite-pgtap"));
  const file = "share/postgresql/extension/pgtap--1.3.5.sql";
  const { stdout } = await promisify(execFile)("tar", ["-xzOf", join(folder, "pgtap.tar.gz"), file], {
    maxBuffer: 16 * 1024 * 1024,
  });
  return stdout;
}
