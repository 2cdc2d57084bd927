// Connections of the stand-ins: each connects as the database role that its original uses.
import pg from "pg";

export function openPool(url: string): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max: 8 });
  // An idle connection that the server closes is replaced at the next query; the query in flight gets its own error.
  pool.on("error", () => {});
  return pool;
}

/** `begin`: its first statements, without values of their own. */
export async function inTransaction<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
  begin = "begin",
): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query(begin);
    const result = await work(client);
    await client.query("commit");
    client.release();
    return result;
  } catch (error) {
    // Closing the connection rolls back, whatever state the failure left it in.
    client.release(true);
    throw error;
  }
}
