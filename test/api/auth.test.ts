// Who may ask: only a person whose token this project's Auth has signed, for now and for this use.
import { Buffer } from "node:buffer";
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ALICE, type Api, serve, startApi } from "./server.ts";

let api: Api;
let keyServer: Awaited<ReturnType<typeof serve>>;
let pairs: Record<"ES256" | "RS256" | "EdDSA", CryptoKeyPair>;
let stranger: CryptoKeyPair;
let publicKeys: Record<string, unknown>[];

beforeAll(async () => {
  const pair = (alg: string) => generateKeyPair(alg, { extractable: true }) as Promise<CryptoKeyPair>;
  pairs = { ES256: await pair("ES256"), RS256: await pair("RS256"), EdDSA: await pair("EdDSA") };
  stranger = await pair("ES256");
  publicKeys = await Promise.all(
    Object.entries(pairs).map(async ([alg, { publicKey }]) => ({
      ...await exportJWK(publicKey),
      alg,
      kid: alg,
      use: "sig",
    })),
  );
  keyServer = await serve(() => ({ keys: publicKeys }));
  api = await startApi({ env: { AUDIT_JWKS_URL: keyServer.url } });
});
afterAll(async () => {
  await api.stop();
  await keyServer.stop();
});

const now = () => Math.floor(Date.now() / 1000);

async function ask(authorization: string | undefined): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${api.url}/functions/v1/audit/access`, {
    headers: authorization === undefined ? {} : { authorization },
  });
  return { status: response.status, body: await response.json() as Record<string, unknown> };
}

const bearer = async (token: string | Promise<string>) => `Bearer ${await token}`;

async function signed(key: CryptoKey | Uint8Array, header: Record<string, unknown>, claims = {}): Promise<string> {
  const standard = { iss: api.issuer, aud: "authenticated", role: "authenticated", sub: ALICE, exp: now() + 60 };
  return await new SignJWT({ ...standard, ...claims }).setProtectedHeader(header as { alg: string }).sign(key);
}

const unsigned = (header: object, claims: object) =>
  [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".") + ".";

describe("accepted", () => {
  test("a token signed with the legacy secret", async () => {
    expect(await ask(await bearer(api.token()))).toMatchObject({ status: 200, body: { user_id: ALICE } });
  });
  test("an audience that is a list", async () => {
    expect((await ask(await bearer(api.token({ aud: ["authenticated", "other"] })))).status).toBe(200);
  });
  test.each(["ES256", "RS256", "EdDSA"] as const)(
    "a token signed with a published %s key",
    async (alg) => {
      const token = await signed(pairs[alg].privateKey, { alg, kid: alg });
      expect(await ask(`Bearer ${token}`)).toMatchObject({ status: 200, body: { user_id: ALICE } });
    },
  );
});

describe("refused", () => {
  const refusals: [string, () => Promise<string | undefined> | string | undefined, number, string][] = [
    ["no header", () => undefined, 401, "not_authenticated"],
    ["another scheme", () => "Basic YTpi", 401, "not_authenticated"],
    ["no token", () => "Bearer ", 401, "not_authenticated"],
    ["garbage", () => "Bearer garbage", 401, "not_authenticated"],
    ["three parts of garbage", () => "Bearer a.b.c", 401, "not_authenticated"],
    ["an expired token", () => bearer(api.token({ exp: now() - 60 })), 401, "not_authenticated"],
    ["a token without an end", () => bearer(api.token({ exp: undefined })), 401, "not_authenticated"],
    ["a token that does not hold yet", () => bearer(api.token({ nbf: now() + 60 })), 401, "not_authenticated"],
    [
      "another secret",
      () => bearer(api.token({}, "another-secret-that-is-long-enough-for-hs256")),
      401,
      "not_authenticated",
    ],
    [
      "another project's issuer",
      () => bearer(api.token({ iss: "https://other.supabase.co/auth/v1" })),
      401,
      "not_authenticated",
    ],
    ["no issuer", () => bearer(api.token({ iss: undefined })), 401, "not_authenticated"],
    ["another audience", () => bearer(api.token({ aud: "other" })), 401, "not_authenticated"],
    ["no user", () => bearer(api.token({ sub: undefined })), 401, "not_authenticated"],
    ["a user that is no UUID", () => bearer(api.token({ sub: "1 or 1=1" })), 401, "not_authenticated"],
    ["another role", () => bearer(api.token({ role: "postgres" })), 401, "not_authenticated"],
    ["no role", () => bearer(api.token({ role: undefined })), 401, "not_authenticated"],
    ["the anon key", () => bearer(api.keys.anon_key), 403, "not_a_person"],
    ["the service key", () => bearer(api.keys.service_role_key), 403, "not_a_person"],
    ["a token with role service_role", () => bearer(api.token({ role: "service_role" })), 403, "not_a_person"],
    ["a publishable key", () => "Bearer sb_publishable_abc", 403, "not_a_person"],
    ["a secret key", () => "Bearer sb_secret_abc", 403, "not_a_person"],
    [
      "alg none",
      () => `Bearer ${unsigned({ alg: "none" }, { sub: ALICE, exp: now() + 60 })}`,
      401,
      "not_authenticated",
    ],
    [
      "alg NONE with a signature",
      () => `Bearer ${unsigned({ alg: "NONE" }, { sub: ALICE })}c2ln`,
      401,
      "not_authenticated",
    ],
    [
      "an unknown key",
      () => bearer(signed(stranger.privateKey, { alg: "ES256", kid: "other" })),
      401,
      "not_authenticated",
    ],
    [
      "a stranger's key under a known name",
      () => bearer(signed(stranger.privateKey, { alg: "ES256", kid: "ES256" })),
      401,
      "not_authenticated",
    ],
    [
      "HS384 with the right secret",
      () => {
        return bearer(signed(new TextEncoder().encode(api.keys.jwt_secret), { alg: "HS384" }));
      },
      401,
      "not_authenticated",
    ],
    [
      "HS256 with a public key for a secret",
      async () => {
        const pem = await exportSPKI(pairs.RS256.publicKey);
        return bearer(signed(new TextEncoder().encode(pem), { alg: "HS256", kid: "RS256" }));
      },
      401,
      "not_authenticated",
    ],
  ];

  test.each(refusals)("%s", async (_, authorization, status, code) => {
    const answer = await ask(await authorization());
    expect(answer).toMatchObject({ status, body: { status, code } });
    expect(answer.body.detail).toBeTypeOf("string");
  });

  test("a token whose payload was changed", async () => {
    const [header, , signature] = (await api.token()).split(".");
    const claims = Buffer.from(
      JSON.stringify({ sub: ALICE, role: "authenticated", exp: now() + 60 }),
    ).toString("base64url");
    expect((await ask(`Bearer ${header}.${claims}.${signature}`)).status).toBe(401);
  });

  test("nothing of token or secret is printed", async () => {
    const token = await api.token({ exp: now() - 60 });
    const { body } = await ask(`Bearer ${token}`);
    const output = await api.output();
    for (const secret of [token, api.keys.jwt_secret, api.keys.service_role_key]) {
      expect(JSON.stringify(body)).not.toContain(secret);
      expect(output).not.toContain(secret);
    }
  });
});
