// The bucket of exports that are made in the background.
import type { SupabaseClient } from "@supabase/supabase-js";

export const BUCKET = "audit-exports";

const URL_SECONDS = 3_600;

/** A client with the project's service key. The library is large, so it is loaded by those requests that need it. */
export async function openStorage(
  projectUrl: string,
  serviceKey: string | undefined,
): Promise<SupabaseClient["storage"]> {
  if (serviceKey === undefined) {
    throw new Error("SUPABASE_SERVICE_ROLE_KEY is missing.");
  }
  const { createClient } = await import("@supabase/supabase-js");
  return createClient(projectUrl, serviceKey, { auth: { persistSession: false, autoRefreshToken: false } }).storage;
}

/** Makes addresses under which objects of the bucket can be read for an hour. Objects that are gone have none. */
export function createUrlSigner(
  projectUrl: string,
  serviceKey: string | undefined,
): (paths: string[]) => Promise<Map<string, string>> {
  return async (paths) => {
    const bucket = (await openStorage(projectUrl, serviceKey)).from(BUCKET);
    const signed = await Promise.all(
      paths.map((path) => bucket.createSignedUrl(path, URL_SECONDS, { download: path.split("/").at(-1)! })),
    );
    const addresses = new Map<string, string>();
    signed.forEach(({ data }, at) => data && addresses.set(paths[at]!, data.signedUrl));
    return addresses;
  };
}
