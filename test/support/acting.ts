// Acting as the people and services that reach the database through the API.
import type pg from "pg";

export type Caller = {
  /** The user's id; without it the request is anonymous or a service's. */
  sub?: string;
  role?: "anon" | "authenticated" | "service_role";
  email?: string;
  /** Request headers in lower case: x-forwarded-for, user-agent, x-request-id. */
  headers?: Record<string, string>;
};

/**
 * Runs `work` in a transaction of `client` as PostgREST would: verified claims and headers in settings, the role set
 * for the transaction. It commits; where `work` throws it rolls back and throws the same.
 *
 *   await asUser(client, { sub: ALICE, email: "alice@acme.example" }, () => client.query("insert into …"));
 */
export function asUser<T>(client: pg.Client, caller: Caller, work: () => Promise<T>): Promise<T> {
  const { headers = {}, role = "authenticated", ...claims } = caller;
  return inTransaction(client, async () => {
    await client.query(
      `select set_config('request.jwt.claims', $1, true), set_config('request.headers', $2, true),
         set_config('role', $3, true)`,
      [JSON.stringify({ ...claims, role }), JSON.stringify(headers), role],
    );
    return work();
  });
}

/** Runs `work` between BEGIN (with the given transaction modes) and COMMIT; rolls back where it throws. */
export async function inTransaction<T>(client: pg.Client, work: () => Promise<T>, modes = ""): Promise<T> {
  await client.query(`begin ${modes}`);
  try {
    const result = await work();
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}
