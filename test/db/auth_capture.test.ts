// Every event of Auth that its tables and hooks show, on the real path: HTTP requests to the stand-in, which writes as
// Auth does.
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { totp } from "../../scripts/stack/totp.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { authEntries, type AuthServer, following, PASSWORD, startAuth } from "../support/auth.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified } from "../support/log.ts";

const ORGANIZATION = "0a000000-0000-4000-8000-00000000000a";

// With Auth's own rows and hooks each event is told two or three times, without only by the triggers: the entries are the same.
describe.each([
  ["triggers alone", { hooks: false, auditRows: false }],
  ["with hooks and Auth's own rows", { hooks: true, auditRows: true }],
])("%s", (_, options) => {
  let db: TestDatabase;
  let client: pg.Client;
  let auth: AuthServer;
  let next: () => Promise<string[]>;
  let email: string;
  beforeAll(async () => {
    db = await createDatabase();
    client = await db.connect();
    await client.query("insert into public.organizations (id, name) values ($1, 'Acme')", [ORGANIZATION]);
    await client.query("select audit.use_membership('public.organization_members')");
    auth = await startAuth(db, options);
    next = following(client);
  });
  beforeEach(async () => {
    email = `${crypto.randomUUID()}@acme.example`;
    await next();
  });
  afterAll(async () => {
    await expectVerified(client);
    await auth.stop();
    await db.drop();
  });

  const last = async (action: string) => (await authEntries(client, action)).at(-1)!;
  const only = (actions: string[]) => options.auditRows ? actions : [];

  // What happens in an account's first seconds is part of its sign-up.
  const aged = async (user: string) =>
    (await db.connect(ADMIN)).query("update auth.users set created_at = now() - interval '1 hour' where id = $1", [
      user,
    ]);

  test("sign-up, login, and the same again as a member of an organisation", async () => {
    const { user } = await auth.signIn(email, PASSWORD, { ip: "198.51.100.7", userAgent: "Firefox" });
    expect(await next()).toEqual(["user.signed_up", "user.login"]);
    expect(await last("user.login")).toMatchObject({
      organization_id: "00000000-0000-0000-0000-000000000000",
      outcome: "success",
      resource_type: "user",
      resource_id: user.id,
      created_by: user.id,
      actor_type: "user",
      email,
      ip_address: "198.51.100.7",
      user_agent: "Firefox",
      details: { source: "trigger", aal: "aal1", session_id: expect.stringMatching(/^[0-9a-f-]{36}$/) },
    });
    expect(await last("user.signed_up")).toMatchObject({ email, details: { provider: "email" } });
    await client.query(
      "insert into public.organization_members (organization_id, user_id, role) values ($1, $2, 'admin')",
      [
        ORGANIZATION,
        user.id,
      ],
    );
    await auth.signIn(email);
    expect(await next()).toEqual(["user.login"]);
    expect(await last("user.login")).toMatchObject({ organization_id: ORGANIZATION, created_by: user.id });
  });

  test("a failed login", async () => {
    const { user } = await auth.signIn(email);
    await next();
    const wrong = { email, password: "wrong" };
    expect((await auth.ask("/token?grant_type=password", { body: wrong, ip: "2001:db8::9" })).status).toBe(400);
    expect((await auth.ask("/token?grant_type=password", { body: { ...wrong, email: "nobody@x.example" } })).status)
      .toBe(400);
    expect(await next()).toEqual(options.hooks ? ["user.login_failed"] : []); // else the log's
    if (options.hooks) {
      expect(await last("user.login_failed")).toMatchObject({
        outcome: "failure",
        created_by: user.id,
        email,
        ip_address: "2001:db8::9",
        details: { source: "hook", reason: "wrong password" },
      });
    }
  });

  test("refreshing a session is no login", async () => {
    const { refresh_token } = await auth.signIn(email);
    await next();
    expect((await auth.ask("/token?grant_type=refresh_token", { body: { refresh_token } })).status).toBe(200);
    expect(await next()).toEqual(only(["user.token_refreshed"]));
  });

  test.each([
    ["local", 1, 2, undefined],
    ["others", 2, 1, "others"],
    ["global", 3, 0, "global"],
  ])("signing out, %s", async (scope, sessions, remaining, shown) => {
    await auth.signIn(email);
    await auth.signIn(email);
    const { access_token, user } = await auth.signIn(email, PASSWORD, { ip: "198.51.100.8" });
    await next();
    expect((await auth.ask(`/logout?scope=${scope}`, { token: access_token })).status).toBe(204);
    expect(await next()).toEqual(["user.logout"]);
    const entry = await last("user.logout");
    expect(entry).toMatchObject({ created_by: user.id, email, details: { sessions, remaining } });
    expect(entry.details.scope).toBe(shown);
    expect(entry.ip_address).toBe(sessions === 1 ? "198.51.100.8" : null);
    expect(entry.details.session_ids ?? [entry.details.session_id]).toHaveLength(sessions);
  });

  test("a factor: enrolled, wrong code, verified, used, removed", async () => {
    const { access_token: token, user } = await auth.signIn(email);
    await auth.signIn(email); // another device
    await next();
    const { body: factor } = await auth.ask("/factors", { token, body: { factor_type: "totp" } });
    expect(await next()).toEqual(["user.mfa_enrolled"]);
    const challenge = async () => (await auth.ask(`/factors/${factor.id}/challenge`, { token })).body.id as string;
    const answer = async (challenge_id: string, code: string, as = token) =>
      await auth.ask(`/factors/${factor.id}/verify`, { token: as, body: { challenge_id, code } });
    const challenge_id = await challenge();
    expect(await next()).toEqual(["user.mfa_challenged"]);
    expect((await answer(challenge_id, "000000")).status).toBe(422);
    expect(await next()).toEqual(options.hooks ? ["user.mfa_failed"] : []);
    const verified = await answer(challenge_id, totp(factor.totp.secret));
    expect(verified.status).toBe(200);
    expect((await next()).sort()).toEqual(["user.mfa_enabled", "user.mfa_verified", "user.session_revoked"]);
    expect(await last("user.mfa_enabled")).toMatchObject({
      created_by: user.id,
      details: { factor_id: factor.id, factor_type: "totp" },
    });
    expect(await last("user.mfa_verified")).toMatchObject({
      created_by: user.id,
      details: { aal: "aal2", factor_id: factor.id },
    });
    expect(await last("user.session_revoked")).toMatchObject({ details: { reason: "mfa_verified", sessions: 1 } });
    if (options.hooks) {
      expect(await last("user.mfa_failed")).toMatchObject({
        outcome: "failure",
        created_by: user.id,
        ip_address: "203.0.113.5",
      });
    }
    const { body: unused } = await auth.ask("/factors", {
      token: verified.body.access_token,
      body: { factor_type: "totp" },
    });
    expect((await auth.ask(`/factors/${unused.id}`, { method: "DELETE", token: verified.body.access_token })).status)
      .toBe(200);
    expect((await auth.ask(`/factors/${factor.id}`, { method: "DELETE", token: verified.body.access_token })).status)
      .toBe(200);
    expect(await next()).toEqual(["user.mfa_enrolled", "user.mfa_enrollment_removed", "user.mfa_disabled"]);
    expect(await last("user.mfa_disabled")).toMatchObject({ created_by: user.id, details: { factor_id: factor.id } });
  });

  test("a code that comes too late", async () => {
    const { access_token: token } = await auth.signIn(email);
    const { body: factor } = await auth.ask("/factors", { token, body: { factor_type: "totp" } });
    const { body: { id } } = await auth.ask(`/factors/${factor.id}/challenge`, { token });
    const admin = await db.connect(ADMIN);
    await admin.query("update auth.mfa_challenges set created_at = now() - interval '6 minutes' where id = $1", [id]);
    await next();
    const late = { challenge_id: id, code: totp(factor.totp.secret) };
    expect((await auth.ask(`/factors/${factor.id}/verify`, { token, body: late })).status).toBe(422);
    expect(await next()).toEqual(["user.mfa_failed"]);
    expect((await last("user.mfa_failed")).details.reason).toBe("challenge expired");
  });

  test("changing password and address signs the others out", async () => {
    await auth.signIn(email);
    const { access_token: token, user } = await auth.signIn(email);
    await next();
    expect((await auth.ask("/user", { method: "PUT", token, body: { password: "another password" } })).status).toBe(
      200,
    );
    expect(await next()).toEqual(["user.password_changed", "user.session_revoked"]);
    expect((await last("user.session_revoked")).details.reason).toBe("password_changed");
    const renamed = `new.${email}`;
    expect((await auth.ask("/user", { method: "PUT", token, body: { email: renamed } })).status).toBe(200);
    expect(await next()).toEqual(["user.email_changed"]);
    const entry = await last("user.email_changed");
    expect(entry).toMatchObject({ created_by: user.id, email: renamed });
    expect(JSON.stringify(entry.details)).not.toContain("@");
    const { rows } = await client.query(
      "select value from audit.personal_values where subject_id = $1 order by created_at",
      [user.id],
    );
    expect(rows.map(({ value }) => value)).toEqual(expect.arrayContaining([email, renamed]));
    await aged(user.id);
    await next();
    expect((await auth.ask("/user", { method: "PUT", token, body: { data: { theme: "dark" } } })).status).toBe(200);
    expect(await next()).toEqual(["user.updated"]);
    expect(JSON.stringify((await last("user.updated")).details)).not.toContain("dark");
  });

  test("recovering an account", async () => {
    await auth.signIn(email);
    await next();
    await auth.ask("/recover", { body: { email } });
    await auth.ask("/recover", { body: { email: "nobody@x.example" } });
    expect(await next()).toEqual(["user.password_reset_requested"]);
    const { token } = auth.mails.at(-1)!;
    expect((await auth.ask("/verify", { body: { type: "recovery", token } })).status).toBe(200);
    expect(await next()).toEqual(["user.login"]);
    expect((await auth.ask("/verify", { body: { type: "recovery", token } })).status).toBe(403);
    expect(await next()).toEqual([]);
  });

  test("an invitation, accepted", async () => {
    const { body: user } = await auth.ask("/invite", { token: auth.serviceKey, body: { email } });
    expect(await next()).toEqual(["user.signed_up", "user.invited"]);
    expect(await last("user.invited")).toMatchObject({ actor_type: "service", created_by: null, resource_id: user.id });
    await auth.ask("/verify", { body: { type: "invite", token: auth.mails.at(-1)!.token } });
    expect((await next()).sort()).toEqual([...only(["user.invite_accepted"]), "user.login"]);
  });

  test("the admin API: roles, ban and its end, deletion", async () => {
    const { user } = await auth.signIn(email);
    await client.query("insert into public.organization_members (organization_id, user_id) values ($1, $2)", [
      ORGANIZATION,
      user.id,
    ]);
    await next();
    const change = (body: unknown) =>
      auth.ask(`/admin/users/${user.id}`, { method: "PUT", token: auth.serviceKey, body });
    await change({ app_metadata: { roles: ["billing", "support"] } });
    await change({ app_metadata: { roles: ["support"] } });
    expect(await next()).toEqual(["permission.granted", "permission.revoked"]);
    expect(await last("permission.revoked")).toMatchObject({
      organization_id: ORGANIZATION,
      actor_type: "service",
      created_by: null,
      resource_type: "user",
      resource_id: user.id,
      details: {
        permissions: ["roles:billing"],
        changes: { permissions: { old: ["roles:billing", "roles:support"], new: ["roles:support"] } },
      },
    });
    await change({ ban_duration: "24h" });
    expect((await auth.ask("/token?grant_type=password", { body: { email, password: PASSWORD } })).body.error_code)
      .toBe("user_banned");
    await change({ ban_duration: "none" });
    expect(await next()).toEqual(["user.banned", "user.unbanned"]);
    expect((await auth.ask(`/admin/users/${user.id}`, { method: "DELETE", token: auth.serviceKey })).status).toBe(200);
    expect(await next()).toEqual(["user.deleted"]); // with sessions, identities and factors
    expect(await last("user.deleted")).toMatchObject({
      organization_id: ORGANIZATION,
      actor_type: "service",
      created_by: null,
    });
  });

  test("identities linked and unlinked, expired sessions, soft deletion: as Auth writes them", async () => {
    const { user } = await auth.signIn(email);
    const own = await db.connect("supabase_auth_admin");
    await aged(user.id);
    await next();
    await own.query(
      `insert into auth.identities (provider_id, user_id, identity_data, provider, created_at) values ($1, $2, '{"token": "s3cret"}', 'github', now())`,
      [email, user.id],
    );
    await own.query("delete from auth.identities where provider_id = $1", [email]);
    expect(await next()).toEqual(["user.identity_linked", "user.identity_unlinked"]);
    expect((await last("user.identity_linked")).details.provider).toBe("github");
    await own.query("update auth.sessions set not_after = now() - interval '73 hours' where user_id = $1", [user.id]);
    await own.query("delete from auth.sessions where not_after < now() - interval '72 hours'");
    expect(await next()).toEqual(["user.session_expired"]);
    await auth.signIn(email);
    await own.query("update auth.sessions set created_at = now() - interval '9 days' where user_id = $1", [user.id]);
    await next();
    await own.query("delete from auth.sessions where created_at < now() - interval '8 days'");
    expect(await next()).toEqual(["user.session_expired"]);
    await own.query(
      "update auth.users set deleted_at = now(), email = 'gone', phone = 'gone', encrypted_password = '' where id = $1",
      [user.id],
    );
    expect(await next()).toEqual(["user.deleted"]);
    expect((await last("user.deleted")).details.soft).toBe(true);
  });

  test("what somebody does in SQL is not taken for Auth's", async () => {
    const { user } = await auth.signIn(email);
    await next();
    await client.query("delete from auth.sessions where user_id = $1", [user.id]);
    await client.query("update auth.users set banned_until = now() + interval '1 hour' where id = $1", [user.id]);
    expect(await next()).toEqual(["user.session_revoked", "user.banned"]);
    expect(await last("user.session_revoked")).toMatchObject({
      actor_type: "database",
      created_by: null,
      details: { reason: "database", database_role: "postgres" },
    });
    await client.query("truncate auth.audit_log_entries");
    expect(await next()).toEqual(["auth.truncated"]);
  });

  test("many at once are as many", async () => {
    const emails = Array.from({ length: 20 }, (_, index) => `${index}.${email}`);
    await Promise.all(emails.map((each) => auth.signIn(each)));
    expect((await next()).sort()).toEqual([...Array(20).fill("user.login"), ...Array(20).fill("user.signed_up")]);
    await Promise.all(Array.from({ length: 20 }, () => auth.signIn(emails[0]!)));
    expect(await next()).toEqual(Array(20).fill("user.login"));
  });

  test("no secret of Auth's is anywhere in the log", async () => {
    const planted = await client.query<{ secret: string }>(
      `select secret from (
         select encrypted_password as secret from auth.users union select recovery_token from auth.users
         union select confirmation_token from auth.users union select secret from auth.mfa_factors
         union select token from auth.refresh_tokens union select 's3cret'
       ) planted where length(secret) > 5`,
    );
    expect(planted.rows.length).toBeGreaterThan(20);
    const admin = await db.connect(ADMIN);
    const { rows: tables } = await admin.query<{ name: string }>(
      `select oid::regclass::text as name from pg_class where relkind = 'r' and (relnamespace = 'audit'::regnamespace or relname like 'audit_logs%')`,
    );
    let bytes = "";
    for (const { name } of tables) {
      const { rows: [all] } = await admin.query<{ text: string | null }>(
        `select string_agg(t::text, '') as text from ${name} t`,
      );
      bytes += all!.text ?? "";
    }
    expect(bytes).toContain("user.login");
    for (const { secret } of planted.rows) expect(bytes.includes(secret), secret).toBe(false);
    expect(bytes).not.toContain(PASSWORD);
  });
});
