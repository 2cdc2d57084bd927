// Questions to the log that many tests ask.
import type pg from "pg";
import { expect } from "vitest";

export type Entry = {
  organization_id: string;
  chain: number;
  seq: string;
  created_at: Date;
  action: string;
  outcome: string;
  resource_type: string | null;
  resource_id: string | null;
  created_by: string | null;
  actor_type: string;
  identity_hash: Uint8Array | null;
  provider: string | null;
  cost: string | null;
  request_id: string | null;
  // deno-lint-ignore no-explicit-any -- what it holds depends on the table; tests compare it whole or by path
  details: any;
};

/** The invariant of the whole product: every chain of the database verifies. Returns what verify() says of each. */
export async function expectVerified(client: pg.Client): Promise<Chain[]> {
  const { rows } = await client.query<Chain>("select * from audit.verify()");
  expect(rows.filter((chain) => chain.status !== "verified")).toEqual([]);
  expect(rows.length).toBeGreaterThan(0); // a log without a single entry would verify for nothing
  return rows;
}

export type Chain = {
  organization_id: string;
  chain: number;
  entries: string;
  status: "verified" | "partial" | "broken";
  broken_seq: string | null;
  finding: string | null;
};

/** Entries in the order in which they were written, where each chain has one writer: `entries(client, "where …")`. */
export async function entries(client: pg.Client, where = "", values: unknown[] = []): Promise<Entry[]> {
  const { rows } = await client.query<Entry>(
    `select * from public.audit_logs ${where} order by created_at, organization_id, chain, seq`,
    values,
  );
  return rows;
}

/** The SQLSTATE, message and hint with which a statement fails; throws if it succeeds. */
export async function failure(work: Promise<unknown>): Promise<{ code: string; message: string; hint: string }> {
  try {
    await work;
  } catch (error) {
    const { code = "", message, hint = "" } = error as { code?: string; message: string; hint?: string };
    return { code, message, hint };
  }
  throw new Error("the statement succeeded, which it should not");
}
