// Supabase Storage, and in it the bucket of exports that are made in the background, and of reports.
import type { StorageClient } from "@supabase/storage-js";
import type { SupabaseClient } from "@supabase/supabase-js";

export const BUCKET = "audit-exports";

const URL_SECONDS = 3_600;

/**
 * A client with the project's service key, loaded by those requests that need it. It is supabase-js's own, without what
 * else that brings: a quarter of the code, and it runs where there is no WebSocket.
 */
export async function openStorage(
  projectUrl: string,
  serviceKey: string | undefined,
  request: typeof fetch = fetch,
): Promise<StorageClient> {
  if (serviceKey === undefined) {
    throw new Error("SUPABASE_SERVICE_ROLE_KEY is missing.");
  }
  const { StorageClient } = await import("@supabase/storage-js");
  const headers = { apikey: serviceKey, authorization: `Bearer ${serviceKey}` };
  return new StorageClient(`${projectUrl}/storage/v1`, headers, request);
}

/** The bucket, private; made where it is missing. */
export async function openBucket(storage: SupabaseClient["storage"]) {
  const { error } = await storage.getBucket(BUCKET);
  if (error !== null) await storage.createBucket(BUCKET, { public: false });
  return storage.from(BUCKET);
}

/** Makes addresses under which objects of the bucket can be read for so long. Objects that are gone have none. */
export function createUrlSigner(
  projectUrl: string,
  serviceKey: string | undefined,
  seconds = URL_SECONDS,
): (paths: string[]) => Promise<Map<string, string>> {
  return async (paths) => {
    const bucket = (await openStorage(projectUrl, serviceKey)).from(BUCKET);
    const signed = await Promise.all(
      paths.map((path) => bucket.createSignedUrl(path, seconds, { download: path.split("/").at(-1)! })),
    );
    const addresses = new Map<string, string>();
    signed.forEach(({ data }, at) => data && addresses.set(paths[at]!, data.signedUrl));
    return addresses;
  };
}
