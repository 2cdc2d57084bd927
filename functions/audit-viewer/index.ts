// Function `audit-viewer`: the web viewer, a static page. Wires its files and its configuration; the rest is in app.ts.
import { required, setting } from "../_shared/env.ts";
import { createApp } from "./app.ts";
import { FILES } from "./embedded.ts";

declare const Deno: {
  serve(handler: (request: Request) => Response | Promise<Response>): unknown;
  readFile(path: URL): Promise<Uint8Array>;
};

// The URL under which browsers reach the project may be another than the functions'.
const projectUrl = setting("AUDIT_PUBLIC_URL") ?? required("SUPABASE_URL");

const app = createApp({
  config: {
    supabase_url: projectUrl,
    publishable_key: setting("AUDIT_PUBLISHABLE_KEY") ?? required("SUPABASE_ANON_KEY"),
    log_keys: (setting("AUDIT_LOG_VKEYS") ?? "").split(/\s+/).filter((key) => key !== ""),
  },
  readFile: (path) => {
    const embedded = FILES[path];
    return embedded === undefined
      ? Deno.readFile(new URL(`./dist/${path}`, import.meta.url))
      : Promise.resolve(Uint8Array.from(atob(embedded), (character) => character.charCodeAt(0)));
  },
});

Deno.serve(app);
