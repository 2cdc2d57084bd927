// What the page knows of its project, from the file `config.json` beside it.
import type { Config } from "../app.ts";

export type { Config };

export async function loadConfig(): Promise<Config> {
  const response = await fetch("config.json", { cache: "no-cache" });
  if (!response.ok) throw new Error(`config.json: HTTP ${response.status}`);
  const config: Partial<Config> = await response.json();
  const { supabase_url, publishable_key, log_keys = [] } = config;
  if (!URL.canParse(supabase_url ?? "") || typeof publishable_key !== "string") {
    throw new Error("config.json: supabase_url or publishable_key is missing");
  }
  return { supabase_url: supabase_url!.replace(/\/$/, ""), publishable_key, log_keys };
}
