// Stand-in for Supabase Auth (GoTrue) under /auth/v1: password sign-up and sign-in, refresh, sign-out, user, admin.
// It writes the same rows in the same tables as supabase_auth_admin, so triggers see what they see on hosted.
// Not imitated: e-mail and phone confirmation (accounts are confirmed at once), OAuth, SSO, MFA, hooks, rate limits,
// rows in auth.audit_log_entries (off by default on hosted, too).
import { randomBytes, randomUUID } from "node:crypto";
import { jwtVerify, SignJWT } from "jose";
import type pg from "pg";
import { inTransaction } from "./database.ts";

export type AuthOptions = {
  /** Connected as supabase_auth_admin. */
  pool: pg.Pool;
  jwtSecret: string;
  /** `iss` of the tokens: the API's URL with /auth/v1. */
  issuer: string;
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
};

type Credentials = {
  email?: string;
  password?: string;
  data?: Record<string, unknown>;
  user_metadata?: Record<string, unknown>;
  app_metadata?: Record<string, unknown>;
  refresh_token?: string;
};

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
  raw_app_meta_data, raw_user_meta_data, created_at, updated_at, is_anonymous`;
const TOKEN_LIFETIME = 3600;

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
    const userPath = /^\/admin\/users\/([0-9a-f-]{36})$/.exec(path);
    switch (`${request.method} ${userPath ? "/admin/users/:id" : path}`) {
      case "GET /health":
        return Response.json({ version: "stand-in", name: "GoTrue", description: "Local stand-in for Supabase Auth" });
      case "POST /signup": {
        const body = await bodyOf(request);
        const user = await createUser(body, body.data ?? {}, {});
        return Response.json(await openSession(user, request, client));
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
        const { sub } = await claimsOf(request);
        return Response.json(publicUser(await changeUser(String(sub), await bodyOf(request))));
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
        return Response.json(publicUser(await findUser(userPath![1]!)));
      case "DELETE /admin/users/:id": {
        await requireService(request);
        const user = await findUser(userPath![1]!);
        await pool.query("delete from auth.users where id = $1", [user.id]);
        return Response.json({});
      }
    }
    throw new AuthError(404, "not_found", `the local stand-in for Supabase Auth has no ${request.method} ${path}`);
  }

  async function createUser(
    body: Credentials,
    userData: Record<string, unknown>,
    appData: Record<string, unknown>,
  ): Promise<User> {
    const email = body.email?.trim().toLowerCase();
    if (!email || !email.includes("@")) {
      throw new AuthError(400, "validation_failed", "Unable to validate email address: invalid format");
    }
    if ((body.password ?? "").length < 6) {
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
           extensions.crypt($3, extensions.gen_salt('bf', 10)), now(), '', '', '', '', $4, $5, now(), now()
         )
         on conflict (email) where is_sso_user = false do nothing
         returning ${USER_COLUMNS}`,
        [randomUUID(), email, body.password, { provider: "email", providers: ["email"], ...appData }, userData],
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
      return user;
    });
  }

  async function signIn(request: Request, client: Client): Promise<object> {
    const { email = "", password = "" } = await bodyOf(request);
    const { rows } = await pool.query<User & { banned: boolean }>(
      `select ${USER_COLUMNS}, coalesce(banned_until > now(), false) as banned
       from auth.users
       where email = $1 and not is_sso_user and encrypted_password = extensions.crypt($2, encrypted_password)`,
      [email.trim().toLowerCase(), password],
    );
    if (rows[0] === undefined) throw new AuthError(400, "invalid_credentials", "Invalid login credentials");
    if (rows[0].banned) throw new AuthError(400, "user_banned", "User is banned");
    return openSession(rows[0], request, client);
  }

  function openSession(user: User, request: Request, client: Client): Promise<object> {
    return inTransaction(pool, async (db) => {
      const session = randomUUID();
      await db.query(
        `insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)
         values ($1, $2, now(), now(), 'aal1', $3, $4)`,
        [session, user.id, request.headers.get("user-agent"), client.ip],
      );
      await db.query(
        `insert into auth.mfa_amr_claims (session_id, created_at, updated_at, authentication_method, id)
         values ($1, now(), now(), 'password', $2)`,
        [session, randomUUID()],
      );
      const token = await storeRefreshToken(db, user.id, session, null);
      const { rows } = await db.query<User>(
        `update auth.users set last_sign_in_at = now(), updated_at = now() where id = $1 returning ${USER_COLUMNS}`,
        [user.id],
      );
      return tokens(rows[0]!, session, token);
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
      await db.query("update auth.refresh_tokens set revoked = true, updated_at = now() where token = $1", [old.token]);
      await db.query(
        `update auth.sessions
         set refreshed_at = now() at time zone 'utc', updated_at = now(), user_agent = $2, ip = $3
         where id = $1`,
        [old.session_id, request.headers.get("user-agent"), client.ip],
      );
      const token = await storeRefreshToken(db, old.user_id, old.session_id, old.token);
      return tokens(await findUser(old.user_id), old.session_id, token);
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
    await pool.query(`delete from auth.sessions where user_id = $1 ${which}`, which === "" ? [user] : [user, session]);
  }

  async function findUser(id: string): Promise<User> {
    const { rows } = await pool.query<User>(`select ${USER_COLUMNS} from auth.users where id = $1`, [id]);
    if (rows[0] === undefined) throw new AuthError(404, "user_not_found", "User not found");
    return rows[0];
  }

  async function changeUser(id: string, body: Credentials): Promise<User> {
    await pool.query(
      `update auth.users
       set email = coalesce($2, email),
         encrypted_password = coalesce(extensions.crypt($3::text, extensions.gen_salt('bf', 10)), encrypted_password),
         raw_user_meta_data = coalesce(raw_user_meta_data, '{}') || coalesce($4::jsonb, '{}'),
         updated_at = now()
       where id = $1`,
      [id, body.email?.trim().toLowerCase() ?? null, body.password ?? null, body.data ?? null],
    );
    return findUser(id);
  }

  async function tokens(user: User, session: string, refreshToken: string): Promise<object> {
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
      aal: "aal1",
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
