import type { Database } from "../_shared/database.ts";

export type Deps = {
  database: Database;
  /** What log drains show; none are taken without. */
  drainSecret: string | undefined;
  /** Keys of the project's own backend. */
  serviceKeys: string[];
};
