// Function `audit-jobs`: what the clock sets off. Wires what the app needs; everything else is in app.ts.
import { openDatabase } from "../_shared/database.ts";
import { required, setting } from "../_shared/env.ts";
import { renderReport } from "../_shared/report.ts";
import { openStorage } from "../_shared/storage.ts";
import { createApp } from "./app.ts";

declare const Deno: {
  serve(handler: (request: Request) => Response | Promise<Response>): unknown;
};

const app = createApp({
  secret: required("AUDIT_JOBS_SECRET"),
  database: openDatabase({ url: required("SUPABASE_DB_URL"), ca: setting("AUDIT_DB_CA"), connections: 4 }),
  openStorage: () => openStorage(required("SUPABASE_URL"), setting("SUPABASE_SERVICE_ROLE_KEY")),
  render: renderReport,
});

Deno.serve(app.fetch);
