// An export by HTTP as a client would read it: part after part, taken in, counted and let go.
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import type { Variation } from "./export.ts";
import type { FunctionServer } from "./function_server.ts";

export type Download = { entries: number; parts: number; bytes: number };

export async function downloadExport(
  server: FunctionServer,
  search: { organization_id: string; query: string },
  { format, gzip, limit }: Variation,
): Promise<Download> {
  const download: Download = { entries: 0, parts: 0, bytes: 0 };
  let parameters = new URLSearchParams({
    organization_id: search.organization_id,
    q: search.query,
    format,
    ...(gzip === true ? { gzip: "true" } : {}),
    ...(limit === undefined ? {} : { limit: String(limit) }),
  });
  for (;;) {
    const request = get(`${server.directUrl}/export?${parameters}`, {
      headers: { ...server.headers, "accept-encoding": gzip === true ? "gzip" : "identity" },
    });
    const [response] = await once(request, "response") as [IncomingMessage];
    let last: Buffer | undefined;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      download.bytes += chunk.length;
      last = chunk;
    }
    if (response.statusCode !== 200) throw new Error(`the export answers ${response.statusCode}: ${last?.toString()}`);
    download.parts += 1;
    download.entries += Number(response.headers["audit-entries"]);
    const [, next] = /<([^>]+)>; rel="next"/.exec(`${response.headers.link ?? ""}`) ?? [];
    if (next === undefined) return download;
    parameters = new URL(next).searchParams;
  }
}
