// Events that others saw or report, to the database: one call for a batch.
import type { Database } from "./database.ts";

const MOST_TRIES = 3;

/** Asks one of the functions that record batches, which take and answer JSON; again where another batch was in its way. */
export async function recordBatch<T>(
  database: Pick<Database, "askAsOwner">,
  name: "ingest_events" | "record_events",
  batch: unknown,
): Promise<T> {
  const statement = { name, text: `select audit.${name}($1)::text`, values: [JSON.stringify(batch)] };
  for (let tries = 1;; tries++) {
    try {
      return JSON.parse((await database.askAsOwner(statement))!) as T;
    } catch (error) {
      const inTheWay = ["40P01", "40001"].includes((error as { code?: string }).code ?? "");
      if (!inTheWay || tries === MOST_TRIES) throw error;
    }
  }
}
