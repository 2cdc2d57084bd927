// Function `audit-ingest`: services report what happened. Wires what the app needs; everything else is in app.ts.
import { openDatabase } from "../_shared/database.ts";
import { required, setting } from "../_shared/env.ts";
import { createApp } from "./app.ts";

declare const Deno: {
  serve(handler: (request: Request) => Response | Promise<Response>): unknown;
};

const app = createApp({
  database: openDatabase({ url: required("SUPABASE_DB_URL"), ca: setting("AUDIT_DB_CA"), connections: 4 }),
  drainSecret: setting("AUDIT_DRAIN_SECRET"),
  // The legacy key, and one of the keys that follow it, named for the audit log.
  serviceKeys: [setting("SUPABASE_SERVICE_ROLE_KEY"), setting("AUDIT_SERVICE_KEY")].filter((key) => key !== undefined),
});

Deno.serve(app.fetch);
