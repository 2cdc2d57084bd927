// Function `audit`: people search, view and export the log. Wires what the app needs; everything else is in app.ts.
import { storageArchive } from "../_shared/archive/storage_archive.ts";
import { createAuthenticate } from "./auth.ts";
import { openDatabase } from "../_shared/database.ts";
import { required, setting } from "../_shared/env.ts";
import { createLimiter } from "./limiter.ts";
import { renderReport } from "../_shared/report.ts";
import { createUrlSigner } from "../_shared/storage.ts";
import { createApp } from "./app.ts";

declare const Deno: {
  serve(handler: (request: Request) => Response | Promise<Response>): unknown;
};

const CONNECTIONS = 6;
/** Each export holds one connection, and a second one for moments. */
const EXPORTS_AT_ONCE = 3;
/** Milliseconds that somebody waits for a file of the archive. */
const ARCHIVE_PATIENCE = { attempt: 6_000, total: 10_000 };

const projectUrl = required("SUPABASE_URL");
const serviceKey = setting("SUPABASE_SERVICE_ROLE_KEY");
// Both are Auth's, unless another service signs the project's tokens.
const issuer = setting("AUDIT_JWT_ISSUER") ?? `${projectUrl}/auth/v1`;

const app = createApp({
  database: openDatabase({
    // A login role with little more than `set role authenticated`, where the project provides one.
    url: setting("AUDIT_DB_URL") ?? required("SUPABASE_DB_URL"),
    ca: setting("AUDIT_DB_CA"),
    connections: CONNECTIONS,
  }),
  authenticate: createAuthenticate({
    issuer,
    keys: setting("AUDIT_JWKS_URL") ??
      `${projectUrl}/auth/v1/.well-known/jwks.json`,
    // Hosted, secrets may not be called SUPABASE_…; JWT_SECRET is what self-hosted stacks call it.
    secret: setting("AUDIT_JWT_SECRET") ?? setting("JWT_SECRET"),
  }),
  exports: createLimiter(EXPORTS_AT_ONCE),
  render: renderReport,
  signUrls: createUrlSigner(projectUrl, serviceKey),
  archive: storageArchive({ projectUrl, serviceKey, patience: ARCHIVE_PATIENCE }),
  projectUrl,
});

Deno.serve(app.fetch);
