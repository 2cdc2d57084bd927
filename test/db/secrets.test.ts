// Secrets never enter the log: each test plants one and then searches everything that the product stores.
import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { actions, client, last, logged, organization, track, tracked } from "../support/workbench.ts";

describe("secrets never enter the log", () => {
  /** Everything that the product stores, as text. */
  async function everything(): Promise<string> {
    const { rows } = await client.query(`
      select string_agg(t, E'\n') as text from (
        select a::text as t from public.audit_logs a
        union all select i::text from audit.identities i
        union all select p::text from audit.personal_values p
        union all select h::text from audit.heads h
        union all select s::text from audit.settings s
      ) x`);
    return rows[0].text;
  }

  const planted = () => `planted${randomBytes(12).toString("hex")}`;

  test("from columns that are named like secrets", async () => {
    const secret = planted();
    await client.query("insert into public.organizations values ($1)", [organization]);
    const table = await tracked("password text, api_key text, token text, secrets jsonb, private_key bytea, note text");
    await client.query(
      `insert into ${table} values (1, $1, $2, $2, $2, jsonb_build_object('x', $2::text), $2::text::bytea, 'n')`,
      [
        organization,
        secret,
      ],
    );
    await client.query(`update ${table} set password = $1, api_key = $1, token = $1, private_key = $1::text::bytea`, [
      `${secret}2`,
    ]);
    await client.query(`delete from ${table}`);
    await client.query("insert into public.api_keys (organization_id, encrypted_key) values ($1, $2)", [
      organization,
      secret,
    ]);
    await client.query("insert into public.integrations (organization_id, secret) values ($1, $2)", [
      organization,
      secret,
    ]);
    await client.query("update public.integrations set secret = $1", [`${secret}3`]);
    const text = await everything();
    expect(text.includes(secret)).toBe(false);
    expect(text.includes(Buffer.from(secret).toString("hex"))).toBe(false);
    // That they changed is said, what to is not.
    expect((await logged()).map((entry) => entry.details.changes?.password).filter(Boolean)).toEqual([
      { old: "***", new: "***" },
    ]);
  });

  test("from query text and responses, unless switched on", async () => {
    const secret = planted();
    await client.query("insert into public.organizations values ($1)", [organization]);
    const { rows } = await client.query(
      "insert into public.llm_queries (organization_id, query_text) values ($1, $2) returning id",
      [organization, secret],
    );
    await client.query("insert into public.llm_responses (query_id, response_text) values ($1, $2)", [
      rows[0].id,
      secret,
    ]);
    await client.query("update public.llm_queries set query_text = query_text || '!', model = 'other' where id = $1", [
      rows[0].id,
    ]);
    await client.query("delete from public.llm_queries where id = $1", [rows[0].id]);
    expect((await everything()).includes(secret)).toBe(false);
  });

  const KEYS: Record<string, (rest: string) => string> = {
    openai: (rest) => `sk-proj-${rest}`,
    anthropic: (rest) => `sk-ant-api03-${rest}`,
    perplexity: (rest) => `pplx-${rest}`,
    google: (rest) => `AIza${rest}`,
    github: (rest) => `ghp_${rest}`,
    slack: (rest) => `xoxb-${rest}`,
    stripe: (rest) => `sk_live_${rest}`,
    supabase: (rest) => `sb_secret_${rest}`,
    huggingface: (rest) => `hf_${rest}`,
    jwt: (rest) => `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0${rest}.${rest}`,
    "private key": (rest) => `-----BEGIN PRIVATE KEY-----\n${rest}\n-----END PRIVATE KEY-----`,
  };

  test.each(Object.keys(KEYS))("a key of %s by its looks, wherever it stands", async (kind) => {
    const rest = randomBytes(24).toString("hex");
    const key = KEYS[kind]!(rest);
    const table = await tracked("note text, config jsonb, raw json, list text[]");
    for (const id of [1, 2]) {
      await client.query(`insert into ${table} values ($1, $2, $3, $4, $5, $6)`, [
        id,
        organization,
        `my key is ${key}!`,
        JSON.stringify({ deep: [{ key }] }),
        JSON.stringify({ key }),
        [key],
      ]);
    }
    await client.query(`update ${table} set note = note || ' (changed)'`);
    await client.query(`select audit.record($1, 'report.generated', 'report', '1', $2)`, [
      organization,
      JSON.stringify({ key }),
    ]);
    expect((await everything()).includes(rest)).toBe(false);
  });

  test("a primary key that is itself a secret", async () => {
    const secret = planted();
    await client.query("create table public.sessions (token text primary key, organization_id uuid, v int)");
    await track("public.sessions");
    await client.query("insert into public.sessions values ($1, $2)", [secret, organization]);
    await client.query("insert into public.sessions values ($1, $2), ($3, $2)", [
      `${secret}2`,
      organization,
      `${secret}3`,
    ]);
    await client.query("update public.sessions set v = 1");
    await client.query("delete from public.sessions");
    expect((await everything()).includes(secret)).toBe(false);
    expect((await actions()).length).toBe(9);
  });

  test.each(["resource_id", "provider", "user agent", "request id"])("a key in the %s", async (place) => {
    const rest = randomBytes(24).toString("hex");
    const key = `sk-proj-${rest}`;
    await client.query(
      "create table if not exists public.keyed_by (id text primary key, organization_id uuid, provider text)",
    );
    await track("public.keyed_by");
    const headers = { "user-agent": "x", "x-request-id": "x" };
    if (place === "user agent") headers["user-agent"] = key;
    if (place === "request id") headers["x-request-id"] = key;
    await client.query("select set_config('request.headers', $1, false)", [JSON.stringify(headers)]);
    await client.query("insert into public.keyed_by values ($1, $2, $3)", [
      place === "resource_id" ? key : crypto.randomUUID(),
      organization,
      place === "provider" ? key : "openai",
    ]);
    expect((await everything()).includes(rest)).toBe(false);
  });

  test("personal columns are kept apart, by commitment", async () => {
    const table = await tracked("email text, phone text");
    await client.query(`insert into ${table} values (1, $1, 'alice@acme.example', '+49 30 1')`, [organization]);
    expect(JSON.stringify(await logged())).not.toContain("alice@acme.example");
    const { rows } = await client.query(
      "select value, encode(sha256('\\x02'::bytea || salt || convert_to(value, 'UTF8')), 'hex') as hash from audit.personal_values where organization_id = $1 and column_name = 'email'",
      [organization],
    );
    expect(rows).toEqual([{ value: "alice@acme.example", hash: (await last()).details.new.email.personal }]);
  });
});
