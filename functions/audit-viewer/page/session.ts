// Who is signed in. Tokens live in supabase-js's own storage and nowhere else.
import { createClient, type Session, type SupabaseClient } from "@supabase/supabase-js";
import type { Config } from "./config.ts";

export type Auth = SupabaseClient["auth"];
export type { Session };

export function openAuth(config: Config): Auth {
  return createClient(config.supabase_url, config.publishable_key).auth;
}

/** A token that is good for a while; undefined where nobody is signed in any more. */
export async function tokenOf(auth: Auth): Promise<string | undefined> {
  const { data } = await auth.getSession();
  return data.session?.access_token;
}
