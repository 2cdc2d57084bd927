import type { StackInfo, StackUser } from "./info.ts";

/** The access token of a demo user, from the Auth stand-in. */
export async function signIn({ api_url, anon_key }: StackInfo, { email, password }: StackUser): Promise<string> {
  const response = await fetch(`${api_url}/auth/v1/token?grant_type=password`, {
    method: "POST",
    headers: { apikey: anon_key, "content-type": "application/json" },
    body: JSON.stringify({ email, password }),
  });
  if (!response.ok) {
    throw new Error(`Signing in was refused: ${await response.text()}`);
  }
  return (await response.json() as { access_token: string }).access_token;
}
