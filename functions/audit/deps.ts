// What the app is a function of, and what a request carries.
import type { Archive } from "../_shared/archive/archive.ts";
import type { Authenticate } from "./auth.ts";
import type { Caller, Database } from "../_shared/database.ts";
import type { Render } from "../_shared/export_part.ts";
import type { Limiter } from "./limiter.ts";

export type Deps = {
  database: Database;
  authenticate: Authenticate;
  /** Exports that are streamed at once. */
  exports: Limiter;
  /** Makes the PDF of an export. */
  render: Render;
  /** Addresses under which objects of the exports' bucket can be read for a while, by their paths. */
  signUrls(paths: string[]): Promise<Map<string, string>>;
  /** Where the logs lie, as it is stored. */
  archive: Pick<Archive, "get">;
  /** Where the project's API answers: `https://<ref>.supabase.co`. */
  projectUrl: string;
};

export type Env = { Variables: { requestId: string; caller: Caller } };
