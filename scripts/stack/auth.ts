// Stand-in for Supabase Auth (GoTrue) under /auth/v1: password sign-up and sign-in, refresh, sign-out, recovery, user,
// TOTP factors, invitations, bans and the rest of the admin API that the log is about; the two hooks of failed attempts.
// It writes the same rows in the same tables, in the same order, as supabase_auth_admin, so triggers see what they see on
// hosted. Not imitated: sending mail (options.onMail is told), e-mail and phone confirmation (accounts are confirmed at
// once), OAuth, SSO, passkeys, factors by phone or WebAuthn, other hooks, rate limits, clean-up of what expired, the cost
// of hashing passwords.
import { randomBytes, randomUUID } from "node:crypto";
import { jwtVerify, SignJWT } from "jose";
import type pg from "pg";
import { inTransaction } from "./database.ts";
import { base32, totp } from "./totp.ts";

export type AuthOptions = {
  /** Connected as supabase_auth_admin. */
  pool: pg.Pool;
  jwtSecret: string;
  /** `iss` of the tokens: the API's URL with /auth/v1. */
  issuer: string;
  /** Database functions as "schema.function"; Auth asks them as itself. */
  hooks?: { password_verification_attempt?: string; mfa_verification_attempt?: string };
  /** Whether rows in auth.audit_log_entries are written; by default, as on hosted, they are not. */
  auditRows?: boolean;
  /** What would be sent. */
  onMail?: (mail: { email: string; type: "recovery" | "invite"; token: string }) => void;
};

/** Who asks, as the gateway knows it. */
export type Client = { ip: string | null };

type User = {
  id: string;
  aud: string;
  role: string;
  email: string | null;
  email_confirmed_at: Date | null;
  phone: string | null;
  confirmed_at: Date | null;
  last_sign_in_at: Date | null;
  raw_app_meta_data: Record<string, unknown>;
  raw_user_meta_data: Record<string, unknown>;
  created_at: Date;
  updated_at: Date;
  is_anonymous: boolean;
  banned_until: Date | null;
};

type Credentials = {
  email?: string;
  password?: string;
  data?: Record<string, unknown>;
  user_metadata?: Record<string, unknown>;
  app_metadata?: Record<string, unknown>;
  refresh_token?: string;
  role?: string;
  ban_duration?: string;
  type?: string;
  token?: string;
  factor_type?: string;
  friendly_name?: string;
  challenge_id?: string;
  code?: string;
};

type Factor = { id: string; status: string; secret: string };

/** The admin API acts as nobody. */
const NOBODY = { id: "00000000-0000-0000-0000-000000000000", email: "service_role" };

class AuthError extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const USER_COLUMNS = `id, aud, role, email, email_confirmed_at, phone, confirmed_at, last_sign_in_at,
  raw_app_meta_data, raw_user_meta_data, created_at, updated_at, is_anonymous,
  banned_until`;
const TOKEN_LIFETIME = 3600;
const CHALLENGE_LIFETIME = 300;

export function createAuth(
  options: AuthOptions,
): (request: Request, path: string, client: Client) => Promise<Response> {
  const { pool } = options;
  const secret = new TextEncoder().encode(options.jwtSecret);

  return async (request, path, client) => {
    try {
      return await route(request, path, client);
    } catch (error) {
      if (error instanceof AuthError) {
        return Response.json({ code: error.status, error_code: error.code, msg: error.message }, {
          status: error.status,
        });
      }
      throw error;
    }
  };

  async function route(request: Request, path: string, client: Client): Promise<Response> {
    const query = new URL(request.url).searchParams;
    const [, id = ""] = /\/([0-9a-f]{8}-[0-9a-f-]{27})(?:\/|$)/.exec(path) ?? [];
    switch (`${request.method} ${id === "" ? path : path.replace(id, ":id")}`) {
      case "GET /health":
        return Response.json({ version: "stand-in", name: "GoTrue", description: "Local stand-in for Supabase Auth" });
      case "POST /signup": {
        const body = await bodyOf(request);
        const user = await createUser(body, body.data ?? {}, {});
        return Response.json(await openSession(user, request, client, "password"));
      }
      case "POST /recover":
        await recover(await bodyOf(request));
        return Response.json({});
      case "POST /verify":
        return Response.json(await verifyMail(request, client));
      case "POST /factors":
        return Response.json(await enroll(request, client));
      case "POST /factors/:id/challenge":
        return Response.json(await challenge(await claimsOf(request), id, client));
      case "POST /factors/:id/verify":
        return Response.json(await verifyFactor(request, id, client));
      case "DELETE /factors/:id":
        return Response.json(await unenroll(await claimsOf(request), id, client));
      case "POST /invite": {
        await requireService(request);
        return Response.json(publicUser(await invite(await bodyOf(request))));
      }
      case "POST /token":
        if (query.get("grant_type") === "password") return Response.json(await signIn(request, client));
        if (query.get("grant_type") === "refresh_token") return Response.json(await refresh(request, client));
        throw new AuthError(400, "invalid_credentials", "unsupported_grant_type");
      case "GET /user": {
        const { sub } = await claimsOf(request);
        return Response.json(publicUser(await findUser(String(sub))));
      }
      case "PUT /user": {
        const { sub, session_id } = await claimsOf(request);
        return Response.json(publicUser(await changeUser(String(sub), await bodyOf(request), String(session_id))));
      }
      case "POST /logout": {
        const { sub, session_id } = await claimsOf(request);
        await signOut(String(sub), String(session_id), query.get("scope") ?? "global");
        return new Response(null, { status: 204 });
      }
      case "GET /admin/users": {
        await requireService(request);
        const { rows } = await pool.query<User>(`select ${USER_COLUMNS} from auth.users order by created_at`);
        return Response.json({ users: rows.map(publicUser), aud: "authenticated" });
      }
      case "POST /admin/users": {
        await requireService(request);
        const body = await bodyOf(request);
        return Response.json(
          publicUser(await createUser(body, body.user_metadata ?? {}, body.app_metadata ?? {})),
        );
      }
      case "GET /admin/users/:id":
        await requireService(request);
        return Response.json(publicUser(await findUser(id)));
      case "PUT /admin/users/:id":
        await requireService(request);
        return Response.json(publicUser(await changeUser(id, await bodyOf(request), "admin")));
      case "DELETE /admin/users/:id":
        await requireService(request);
        await deleteUser(await findUser(id));
        return Response.json({});
    }
    throw new AuthError(404, "not_found", `the local stand-in for Supabase Auth has no ${request.method} ${path}`);
  }

  async function createUser(
    body: Credentials,
    userData: Record<string, unknown>,
    appData: Record<string, unknown>,
    isInvited = false,
  ): Promise<User> {
    const email = body.email?.trim().toLowerCase();
    if (!email || !email.includes("@")) {
      throw new AuthError(400, "validation_failed", "Unable to validate email address: invalid format");
    }
    if (!isInvited && (body.password ?? "").length < 6) {
      throw new AuthError(422, "weak_password", "Password should be at least 6 characters.");
    }
    return inTransaction(pool, async (db) => {
      const { rows } = await db.query<User>(
        `insert into auth.users (
           instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, confirmation_token,
           recovery_token, email_change, email_change_token_new, raw_app_meta_data, raw_user_meta_data,
           created_at, updated_at
         )
         values (
           '00000000-0000-0000-0000-000000000000', $1, 'authenticated', 'authenticated', $2,
           extensions.crypt($3, extensions.gen_salt('bf', 4)), case when $6 then null else now() end, '', '', '', '',
           $4, $5, now(), now()
         )
         on conflict (email) where is_sso_user = false do nothing
         returning ${USER_COLUMNS}`,
        [
          randomUUID(),
          email,
          body.password ?? null,
          { provider: "email", providers: ["email"], ...appData },
          userData,
          isInvited,
        ],
      );
      const user = rows[0];
      if (user === undefined) throw new AuthError(422, "user_already_exists", "User already registered");
      await db.query(
        `insert into auth.identities (
           provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at
         )
         values ($1::uuid::text, $1::uuid, $2, 'email', now(), now(), now())`,
        [user.id, { sub: user.id, email, email_verified: true, phone_verified: false }],
      );
      if (!isInvited) await record(db, user, "user_signedup", { provider: "email" });
      return user;
    });
  }

  async function signIn(request: Request, client: Client): Promise<object> {
    const { email = "", password = "" } = await bodyOf(request);
    const { rows } = await pool.query<User & { banned: boolean; valid: boolean }>(
      `select ${USER_COLUMNS}, coalesce(banned_until > now(), false) as banned,
         encrypted_password = extensions.crypt($2, encrypted_password) as valid
       from auth.users
       where email = $1 and not is_sso_user and encrypted_password is not null`,
      [email.trim().toLowerCase(), password],
    );
    const user = rows[0];
    if (user === undefined) throw new AuthError(400, "invalid_credentials", "Invalid login credentials");
    if (user.banned) throw new AuthError(400, "user_banned", "User is banned");
    const refusal = await askHook("password_verification_attempt", client, { user_id: user.id, valid: user.valid });
    if (refusal !== undefined) throw new AuthError(400, "invalid_credentials", refusal);
    if (!user.valid) throw new AuthError(400, "invalid_credentials", "Invalid login credentials");
    return openSession(user, request, client, "password");
  }

  /** Asks a hook in a transaction of its own, as itself; what it answers when it refuses. */
  async function askHook(
    name: "password_verification_attempt" | "mfa_verification_attempt",
    client: Client,
    attempt: Record<string, unknown>,
  ): Promise<string | undefined> {
    const hook = options.hooks?.[name];
    if (hook === undefined) return undefined;
    const metadata = {
      uuid: randomUUID(),
      time: new Date().toISOString(),
      name: name.replace("_attempt", "").replace("_", "-"),
      ip_address: client.ip ?? "",
    };
    const answer = await inTransaction(pool, async (db) => {
      await db.query("set local statement_timeout to '2000'");
      const { rows } = await db.query<{ answer: { decision?: string; message?: string } }>(
        `select "${hook.replace(".", '"."')}"($1) as answer`,
        [{ metadata, ...attempt }],
      );
      return rows[0]!.answer;
    });
    return answer.decision === "reject" ? answer.message || "Further attempts will be rejected." : undefined;
  }

  /** Its own record, where the project keeps it in the database. */
  async function record(
    db: pg.PoolClient,
    actor: { id: string; email: string | null },
    action: string,
    traits?: Record<string, unknown>,
    ip = "",
  ): Promise<void> {
    if (!options.auditRows) return;
    const payload = { actor_id: actor.id, actor_via_sso: false, actor_username: actor.email, action, traits };
    await db.query(
      `insert into auth.audit_log_entries (instance_id, id, payload, created_at, ip_address)
       values ('00000000-0000-0000-0000-000000000000', $1, $2, clock_timestamp(), $3)`,
      [randomUUID(), payload, ip],
    );
  }

  function openSession(user: User, request: Request, client: Client, method: string): Promise<object> {
    return inTransaction(pool, async (db) => {
      const session = randomUUID();
      await record(db, user, "login", { provider: "email" });
      await db.query(
        `insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)
         values ($1, $2, now(), now(), 'aal1', $3, $4)`,
        [session, user.id, request.headers.get("user-agent"), client.ip],
      );
      await db.query(
        `insert into auth.mfa_amr_claims (session_id, created_at, updated_at, authentication_method, id)
         values ($1, now(), now(), $3, $2)`,
        [session, randomUUID(), method],
      );
      const token = await storeRefreshToken(db, user.id, session, null);
      const { rows } = await db.query<User>(
        `update auth.users set last_sign_in_at = now(), updated_at = now() where id = $1 returning ${USER_COLUMNS}`,
        [user.id],
      );
      return tokens(rows[0]!, session, token, "aal1");
    });
  }

  async function refresh(request: Request, client: Client): Promise<object> {
    const { refresh_token = "" } = await bodyOf(request);
    return inTransaction(pool, async (db) => {
      const { rows } = await db.query<{ token: string; user_id: string; session_id: string; revoked: boolean }>(
        "select token, user_id, session_id, revoked from auth.refresh_tokens where token = $1 for update",
        [refresh_token],
      );
      const old = rows[0];
      if (old === undefined) {
        throw new AuthError(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found");
      }
      if (old.revoked) {
        throw new AuthError(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used");
      }
      const user = await findUser(old.user_id);
      await record(db, user, "token_refreshed");
      await record(db, user, "token_revoked");
      await db.query("update auth.refresh_tokens set revoked = true, updated_at = now() where token = $1", [old.token]);
      const { rows: [session] } = await db.query<{ aal: string }>(
        `update auth.sessions
         set refreshed_at = now() at time zone 'utc', updated_at = now(), user_agent = $2, ip = $3
         where id = $1
         returning aal`,
        [old.session_id, request.headers.get("user-agent"), client.ip],
      );
      const token = await storeRefreshToken(db, old.user_id, old.session_id, old.token);
      return tokens(user, old.session_id, token, session!.aal);
    });
  }

  async function storeRefreshToken(db: pg.PoolClient, user: string, session: string, parent: string | null) {
    const token = randomBytes(9).toString("base64url");
    await db.query(
      `insert into auth.refresh_tokens (
         instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id
       )
       values ('00000000-0000-0000-0000-000000000000', $1, $2, false, now(), now(), $3, $4)`,
      [token, user, parent, session],
    );
    return token;
  }

  async function signOut(user: string, session: string, scope: string): Promise<void> {
    const which = { global: "", local: "and id = $2", others: "and id <> $2" }[scope];
    if (which === undefined) throw new AuthError(400, "validation_failed", `Unsupported logout scope "${scope}"`);
    const found = await findUser(user);
    await inTransaction(pool, async (db) => {
      await record(db, found, "logout");
      await db.query(`delete from auth.sessions where user_id = $1 ${which}`, which === "" ? [user] : [user, session]);
    });
  }

  async function findUser(id: string): Promise<User> {
    const { rows } = await pool.query<User>(`select ${USER_COLUMNS} from auth.users where id = $1`, [id]);
    if (rows[0] === undefined) throw new AuthError(404, "user_not_found", "User not found");
    return rows[0];
  }

  /** `by` is the session of the user, or the admin API. */
  async function changeUser(id: string, body: Credentials, by: string): Promise<User> {
    const user = await findUser(id);
    const isAdmin = by === "admin";
    const ban = isAdmin ? body.ban_duration : undefined;
    await inTransaction(pool, async (db) => {
      await db.query(
        `update auth.users
         set email = coalesce($2, email),
           encrypted_password = coalesce(extensions.crypt($3::text, extensions.gen_salt('bf', 4)), encrypted_password),
           raw_user_meta_data = coalesce(raw_user_meta_data, '{}') || coalesce($4::jsonb, '{}'),
           raw_app_meta_data = coalesce(raw_app_meta_data, '{}') || coalesce($5::jsonb, '{}'),
           role = coalesce($6, role),
           banned_until = case when $7::text is null then banned_until when $7 = 'none' then null else now() + $7::interval end,
           updated_at = now()
         where id = $1`,
        [
          id,
          body.email?.trim().toLowerCase() ?? null,
          body.password ?? null,
          body.data ?? body.user_metadata ?? null,
          isAdmin ? body.app_metadata ?? null : null,
          isAdmin ? body.role ?? null : null,
          ban === undefined ? null : ban.replace(/^(\d+)h$/, "$1 hours"),
        ],
      );
      if (body.password !== undefined) {
        // The session that changed it stays.
        await db.query("delete from auth.sessions where user_id = $1 and id::text <> $2", [id, by]);
        if (!isAdmin) await record(db, user, "user_updated_password");
      }
      if (isAdmin) await record(db, NOBODY, "user_modified", { user_id: id, user_email: user.email, user_phone: "" });
      else await record(db, user, "user_modified");
    });
    return findUser(id);
  }

  async function deleteUser(user: User): Promise<void> {
    await inTransaction(pool, async (db) => {
      await record(db, NOBODY, "user_deleted", { user_id: user.id, user_email: user.email, user_phone: "" });
      await db.query("delete from auth.users where id = $1", [user.id]);
    });
  }

  async function invite(body: Credentials): Promise<User> {
    const user = await createUser(body, body.data ?? {}, {}, true);
    const token = randomBytes(16).toString("hex");
    await inTransaction(pool, async (db) => {
      await record(db, NOBODY, "user_invited", { user_id: user.id, user_email: user.email });
      await db.query(
        `update auth.users set invited_at = now(), confirmation_token = $2, confirmation_sent_at = now() where id = $1`,
        [user.id, token],
      );
    });
    options.onMail?.({ email: user.email!, type: "invite", token });
    return user;
  }

  async function recover({ email = "" }: Credentials): Promise<void> {
    const token = randomBytes(16).toString("hex");
    const { rows } = await pool.query<User>(`select ${USER_COLUMNS} from auth.users where email = $1`, [
      email.trim().toLowerCase(),
    ]);
    const user = rows[0];
    if (user === undefined) return; // nobody learns who has an account
    await inTransaction(pool, async (db) => {
      await record(db, user, "user_recovery_requested");
      await db.query("update auth.users set recovery_token = $2, recovery_sent_at = now() where id = $1", [
        user.id,
        token,
      ]);
    });
    options.onMail?.({ email: user.email!, type: "recovery", token });
  }

  /** The link in a mail was followed. */
  async function verifyMail(request: Request, client: Client): Promise<object> {
    const { type, token = "" } = await bodyOf(request);
    const column = { recovery: "recovery_token", invite: "confirmation_token" }[type ?? ""];
    if (column === undefined || token === "") throw new AuthError(400, "validation_failed", "Verify requires a type");
    const { rows } = await pool.query<User>(
      `update auth.users
       set ${column} = '', email_confirmed_at = coalesce(email_confirmed_at, now()), updated_at = now()
       where ${column} = $1
       returning ${USER_COLUMNS}`,
      [token],
    );
    if (rows[0] === undefined) throw new AuthError(403, "otp_expired", "Email link is invalid or has expired");
    if (type === "invite") await inTransaction(pool, (db) => record(db, rows[0]!, "invite_accepted"));
    return openSession(rows[0], request, client, type === "invite" ? "invite" : "recovery");
  }

  async function enroll(request: Request, client: Client): Promise<object> {
    const user = await findUser(String((await claimsOf(request)).sub));
    const { factor_type, friendly_name = "" } = await bodyOf(request);
    if (factor_type !== "totp") throw new AuthError(400, "validation_failed", "factor_type needs to be totp");
    const id = randomUUID();
    const secret = base32(randomBytes(20));
    await inTransaction(pool, async (db) => {
      await db.query(
        `insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, status, created_at, updated_at, secret)
         values ($1, $2, $3, 'totp', 'unverified', now(), now(), $4)`,
        [id, user.id, friendly_name, secret],
      );
      await record(db, user, "factor_in_progress", { factor_id: id, factor_type }, client.ip ?? "");
    });
    const uri = `otpauth://totp/local:${user.email}?secret=${secret}&issuer=local`;
    return { id, type: "totp", friendly_name, totp: { qr_code: "", secret, uri } };
  }

  async function findFactor(user: unknown, id: string): Promise<Factor> {
    const { rows } = await pool.query<Factor>(
      "select id, status, secret from auth.mfa_factors where id = $1 and user_id = $2",
      [id, user],
    );
    if (rows[0] === undefined) throw new AuthError(404, "mfa_factor_not_found", "Factor not found");
    return rows[0];
  }

  async function challenge({ sub }: Record<string, unknown>, factorId: string, client: Client): Promise<object> {
    const user = await findUser(String(sub));
    const factor = await findFactor(sub, factorId);
    const id = randomUUID();
    await inTransaction(pool, async (db) => {
      await db.query(
        "insert into auth.mfa_challenges (id, factor_id, created_at, ip_address) values ($1, $2, now(), $3)",
        [id, factor.id, client.ip],
      );
      await db.query("update auth.mfa_factors set last_challenged_at = clock_timestamp() where id = $1", [factor.id]);
      const traits = { factor_id: factor.id, factor_status: factor.status };
      await record(db, user, "challenge_created", traits, client.ip ?? "");
    });
    return { id, type: "totp", expires_at: Math.floor(Date.now() / 1000) + CHALLENGE_LIFETIME };
  }

  async function verifyFactor(request: Request, factorId: string, client: Client): Promise<object> {
    const { sub, session_id } = await claimsOf(request);
    const { challenge_id = null, code = "" } = await bodyOf(request);
    const user = await findUser(String(sub));
    const factor = await findFactor(sub, factorId);
    const { rows: [asked] } = await pool.query<{ expired: boolean }>(
      `select created_at < now() - make_interval(secs => $3) as expired
       from auth.mfa_challenges where id = $1 and factor_id = $2 and verified_at is null and ip_address = $4`,
      [challenge_id, factor.id, CHALLENGE_LIFETIME, client.ip],
    );
    if (asked === undefined) throw new AuthError(422, "mfa_ip_address_mismatch", "No such challenge from this address");
    if (asked.expired) {
      await pool.query("delete from auth.mfa_challenges where id = $1", [challenge_id]);
      throw new AuthError(422, "mfa_challenge_expired", "MFA challenge has expired");
    }
    const valid = [-1, 0, 1].some((step) => totp(factor.secret, Date.now() + step * 30_000) === code);
    const attempt = { user_id: user.id, factor_id: factor.id, factor_type: "totp", valid };
    const refusal = await askHook("mfa_verification_attempt", client, attempt);
    if (refusal !== undefined) {
      await pool.query("delete from auth.sessions where user_id = $1", [user.id]);
      throw new AuthError(403, "mfa_verification_rejected", refusal);
    }
    if (!valid) throw new AuthError(422, "mfa_verification_failed", "Invalid TOTP code entered");

    return inTransaction(pool, async (db) => {
      const traits = { factor_id: factor.id, challenge_id, factor_type: "totp" };
      await record(db, user, "verification_attempted", traits, client.ip ?? "");
      await db.query("update auth.mfa_challenges set verified_at = now() where id = $1", [challenge_id]);
      await db.query(
        "update auth.mfa_factors set status = 'verified', updated_at = now() where id = $1 and status <> 'verified'",
        [factor.id],
      );
      await db.query("update auth.sessions set aal = 'aal2', factor_id = $2, updated_at = now() where id = $1", [
        session_id,
        factor.id,
      ]);
      await db.query(
        `insert into auth.mfa_amr_claims (session_id, created_at, updated_at, authentication_method, id)
         values ($1, now(), now(), 'totp', $2)
         on conflict (session_id, authentication_method) do update set updated_at = now()`,
        [session_id, randomUUID()],
      );
      const token = await storeRefreshToken(db, user.id, String(session_id), null);
      await db.query("delete from auth.sessions where user_id = $1 and aal < 'aal2'", [user.id]);
      await db.query(
        "delete from auth.mfa_factors where user_id = $1 and status = 'unverified' and factor_type = 'totp'",
        [user.id],
      );
      return tokens(user, String(session_id), token, "aal2");
    });
  }

  async function unenroll({ sub, aal }: Record<string, unknown>, factorId: string, client: Client): Promise<object> {
    const user = await findUser(String(sub));
    const factor = await findFactor(sub, factorId);
    if (factor.status === "verified" && aal !== "aal2") {
      throw new AuthError(422, "insufficient_aal", "AAL2 required to unenroll verified factor");
    }
    await inTransaction(pool, async (db) => {
      await db.query("delete from auth.mfa_factors where id = $1", [factor.id]);
      const traits = { factor_id: factor.id, factor_status: factor.status };
      await record(db, user, "factor_unenrolled", traits, client.ip ?? "");
    });
    return { id: factor.id };
  }

  async function tokens(user: User, session: string, refreshToken: string, aal: string): Promise<object> {
    const now = Math.floor(Date.now() / 1000);
    const access_token = await new SignJWT({
      iss: options.issuer,
      sub: user.id,
      aud: "authenticated",
      exp: now + TOKEN_LIFETIME,
      iat: now,
      email: user.email ?? "",
      phone: user.phone ?? "",
      app_metadata: user.raw_app_meta_data ?? {},
      user_metadata: user.raw_user_meta_data ?? {},
      role: user.role,
      aal,
      amr: [{ method: "password", timestamp: now }],
      session_id: session,
      is_anonymous: user.is_anonymous,
    }).setProtectedHeader({ alg: "HS256", typ: "JWT" }).sign(secret);
    return {
      access_token,
      token_type: "bearer",
      expires_in: TOKEN_LIFETIME,
      expires_at: now + TOKEN_LIFETIME,
      refresh_token: refreshToken,
      user: publicUser(user),
    };
  }

  async function claimsOf(request: Request): Promise<Record<string, unknown>> {
    const bearer = /^Bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
    if (bearer === undefined) {
      throw new AuthError(401, "no_authorization", "This endpoint requires a valid Bearer token");
    }
    const verified = await jwtVerify(bearer, secret, { algorithms: ["HS256"] }).catch((error: Error) => {
      throw new AuthError(403, "bad_jwt", `invalid JWT: unable to parse or verify signature, ${error.message}`);
    });
    const { session_id } = verified.payload;
    if (session_id !== undefined) {
      const { rowCount } = await pool.query("select from auth.sessions where id = $1", [session_id]);
      if (rowCount === 0) {
        throw new AuthError(403, "session_not_found", "Session from session_id claim in JWT does not exist");
      }
    }
    return verified.payload;
  }

  async function requireService(request: Request): Promise<void> {
    if ((await claimsOf(request)).role !== "service_role") throw new AuthError(403, "not_admin", "User not allowed");
  }
}

async function bodyOf(request: Request): Promise<Credentials> {
  const body: unknown = await request.json().catch(() => undefined);
  if (typeof body === "object" && body !== null && !Array.isArray(body)) return body as Credentials;
  throw new AuthError(400, "bad_json", "Could not parse request body as JSON");
}

function publicUser(user: User): object {
  const { raw_app_meta_data, raw_user_meta_data, phone, ...rest } = user;
  return {
    ...rest,
    phone: phone ?? "",
    app_metadata: raw_app_meta_data ?? {},
    user_metadata: raw_user_meta_data ?? {},
    identities: [],
  };
}
