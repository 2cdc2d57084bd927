// Who asks: a person with an access token of the project's Auth. Tokens are verified here, because the platform's own
// check does not know the asymmetric signing keys. HS256 only with the project's legacy secret and the asymmetric
// algorithms only with its published keys, so that a public key never serves as a secret.
import {
  createRemoteJWKSet,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  jwtVerify,
  type JWTVerifyResult,
} from "jose";
import { Problem, unavailable } from "../_shared/problem.ts";

export type AuthOptions = {
  /** What tokens must say in `iss`: `<project URL>/auth/v1`. */
  issuer: string;
  /** Address of the public keys (JWKS). */
  keys: string;
  /** The legacy JWT secret, where the project still signs with one. */
  secret?: string | undefined;
};

/** A person's verified claims. */
export type Claims = JWTPayload & { sub: string; role: "authenticated" };

/** Verifies the value of an Authorization header. */
export type Authenticate = (authorization: string | undefined) => Promise<Claims>;

const ASYMMETRIC = ["ES256", "RS256", "EdDSA"];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const KEYS_LIVE = 600_000;
const KEYS_TIMEOUT = 3_000;

export function createAuthenticate({ issuer, keys, secret }: AuthOptions): Authenticate {
  const publicKeys = createRemoteJWKSet(new URL(keys), { cacheMaxAge: KEYS_LIVE, timeoutDuration: KEYS_TIMEOUT });
  const importedSecret = secret === undefined ? undefined : crypto.subtle.importKey(
    "raw",
    new TextEncoder().encode(secret),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["verify"],
  );
  // exp must be there and ahead, nbf past; some seconds for clocks that differ.
  const rules = { requiredClaims: ["exp"], clockTolerance: 5 };

  return async (authorization) => {
    const token = tokenOf(authorization);
    const { payload } = await verify(token, algorithmOf(token)).catch(
      (error) => {
        throw asProblem(error);
      },
    );
    return personOf(payload, issuer);
  };

  async function verify(token: string, alg: string): Promise<JWTVerifyResult> {
    if (alg === "HS256" && importedSecret !== undefined) {
      return jwtVerify(token, await importedSecret, { ...rules, algorithms: ["HS256"] });
    }
    if (ASYMMETRIC.includes(alg)) {
      return jwtVerify(token, publicKeys, { ...rules, algorithms: ASYMMETRIC });
    }
    throw new errors.JOSEAlgNotAllowed("algorithm");
  }
}

function tokenOf(authorization: string | undefined): string {
  if (authorization === undefined) {
    throw denied(
      "There is no Authorization header.",
      "Send the access token of a signed-in user: Authorization: Bearer <token>.",
    );
  }
  const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  if (token === undefined) {
    throw denied("The Authorization header is not of the form: Bearer <token>.");
  }
  if (/^sb_(publishable|secret)_/.test(token)) {
    throw notAPerson("an API key of the project");
  }
  return token;
}

function algorithmOf(token: string): string {
  try {
    return String(decodeProtectedHeader(token).alg);
  } catch {
    throw denied("The token is no JSON web token.");
  }
}

function personOf(claims: JWTPayload, issuer: string): Claims {
  const { iss, aud, role, sub } = claims;
  // The legacy API keys are tokens too, of another issuer and without audience: say what they are, not what they lack.
  if (role === "anon" || role === "service_role") {
    throw notAPerson(`the project's ${role} key`);
  }
  if (iss !== issuer) {
    throw denied("The token is of another project: its iss is not this project's Auth.");
  }
  if (![aud].flat().includes("authenticated")) {
    throw denied('The token is for another audience than "authenticated".');
  }
  if (role !== "authenticated") {
    throw denied('The token\'s role is not "authenticated".');
  }
  if (typeof sub !== "string" || !UUID.test(sub)) {
    throw denied("The token names no user: its sub is not a UUID.");
  }
  return { ...claims, role, sub };
}

function notAPerson(what: string): Problem {
  return new Problem(
    "not_a_person",
    `The token is ${what}. Whoever reads the log is named in it, so a person has to sign in.`,
    { hint: "Sign in with Auth and send the user's access token; supabase-js does so by itself after signing in." },
  );
}

function denied(detail: string, hint?: string): Problem {
  return new Problem("not_authenticated", detail, { hint, headers: { "www-authenticate": "Bearer" } });
}

function asProblem(error: unknown): Problem {
  if (error instanceof errors.JWTExpired) {
    return denied("The token has expired.", "Refresh the session and try again.");
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return denied(`The token's ${error.claim} is missing, or says that it does not hold now.`);
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return denied("The token is signed in a way that this project does not use.");
  }
  if (error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JWKSNoMatchingKey) {
    return denied("The token's signature is not this project's.");
  }
  if (error instanceof errors.JWTInvalid || error instanceof errors.JWSInvalid) {
    return denied("The token is no JSON web token.");
  }
  // What is left has to do with fetching the keys, or with a key that cannot be used.
  return unavailable("The project's signing keys could not be read, so the token could not be verified.", error);
}
