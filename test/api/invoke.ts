// Runs in Deno: calls function `audit` as an application does, through supabase-js, and prints what it gets.
import process from "node:process";
import { createClient } from "@supabase/supabase-js";

const { API_URL = "", ANON_KEY = "", TOKEN = "" } = process.env;
const supabase = createClient(API_URL, ANON_KEY, { accessToken: () => Promise.resolve(TOKEN) });

const searched = await supabase.functions.invoke("audit/logs/search", {
  body: { query: "action:api_key.added", limit: 5 },
});
const filtered = await supabase.functions.invoke("audit/logs?action=api_key.added", { method: "GET" });
const exported = await supabase.functions.invoke("audit/export?format=csv&action=api_key.added", { method: "GET" });
const refused = await supabase.functions.invoke("audit/logs/search", { body: { query: '"open' } });

console.log(JSON.stringify({
  searched: searched.data?.entries.length,
  filtered: filtered.data?.entries.length,
  exported: typeof exported.data === "string" ? exported.data : await exported.data?.text(),
  refused: await refused.response?.json(),
}));
process.exit(0); // supabase-js keeps a timer
