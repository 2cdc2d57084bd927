// Exports: what leaves is what was counted and what the log holds, whole or marked as not whole, and nothing goes on
// when nobody takes it.
import { Buffer } from "node:buffer";
import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { get, type IncomingMessage } from "node:http";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { parse } from "csv-parse/sync";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { entryHash, parseEntryText } from "../../functions/_shared/entry.ts";
import { waitFor } from "../../scripts/stack/processes.ts";
import { ACME, ALICE, type Api, BOB, OSCAR, startApi } from "./server.ts";

type Row = Record<string, string>;

let api: Api;
let client: pg.Client;
const MANY = 40_000;
/** What CSV, JSON and spreadsheets stumble over. */
const AWKWARD = [
  "=1+1",
  "+cmd|x",
  "-2",
  "@sum",
  "'quoted'",
  "\tTab",
  "\rReturn",
  'a,b;"c"',
  "two\nlines",
  "día 🦕 \\N \\",
  " =1",
  "",
];

beforeAll(async () => {
  api = await startApi();
  client = await api.db.connect();
  for (const name of AWKWARD) {
    await client.query(
      "insert into public.api_keys (organization_id, name, provider, created_by) values ($1, $2, $2, $3)",
      [ACME, name, ALICE],
    );
  }
  await client.query(
    "insert into public.budgets (organization_id, name, created_by) select $1, 'Budget ' || n, $2 from generate_series(1, $3::int) n",
    [ACME, BOB, MANY],
  );
  await client.query("analyze public.audit_logs");
});
afterAll(() => api.stop());

async function download(parameters: Record<string, string>, as = ALICE) {
  const response = await api.call(`/export?${new URLSearchParams(parameters)}`, { as });
  const bytes = Buffer.from(await response.arrayBuffer());
  if (response.status !== 200) throw new Error(`${response.status} ${bytes}`);
  return { bytes, text: bytes.toString(), headers: response.headers };
}

async function status(id: string) {
  return await (await api.call(`/exports/${id}`)).json() as {
    state: string;
    parts: {
      part: number;
      entries: number;
      bytes: number;
      sha256: string;
      complete: boolean;
      first: string;
      last: string;
    }[];
    manifest: { complete: boolean };
    manifest_note: string | null;
  };
}

/** Entries of the log as a CSV has them, formula guards included. */
async function expected(where: string): Promise<Row[]> {
  const { rows } = await client.query(
    `select a.chain || '-' || a.seq as name, a.action, a.resource_id, audit.csv_text(a.provider) as provider, a.details::text as details,
       encode(a.hash, 'hex') as hash
     from public.audit_logs a where a.organization_id = $1 and ${where} order by a.created_at, a.chain, a.seq`,
    [ACME],
  );
  return rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, value ?? ""])) as Row);
}

const shared = ({ name, action, resource_id, provider, details, hash }: Row) =>
  ({ name, action, resource_id, provider, details, hash }) as Row;

describe("formats", () => {
  test("CSV reads back as the log, with a strict parser", async () => {
    const { text, headers } = await download({ format: "csv", action: "api_key.added" });
    const rows = parse(text, { columns: true, relax_column_count: false, relax_quotes: false }) as Row[];
    expect(rows.map(shared)).toEqual(await expected("a.action = 'api_key.added'"));
    expect(rows).toHaveLength(AWKWARD.length);
    expect(headers.get("content-type")).toBe("text/csv; charset=utf-8; header=present");
    expect(headers.get("content-disposition")).toMatch(/^attachment; filename="audit-[0-9a-f-]{36}\.csv"$/);
    expect(headers.get("audit-entries")).toBe(String(AWKWARD.length));
    expect(headers.get("audit-part")).toBe("1");
    expect(headers.get("link")).toBeNull();
  });

  test("no cell of a CSV begins a formula, and every value can be had back", async () => {
    const { text } = await download({ format: "csv", action: "api_key.added" });
    const cells = (parse(text, { columns: true }) as Row[]).map((row) => row.provider!);
    expect(cells.filter((cell) => /^ *[=+\-@\t\r]/.test(cell))).toEqual([]);
    const back = cells.map((cell) => cell.startsWith("'") ? cell.slice(1) : cell);
    expect(back.sort()).toEqual([...AWKWARD].sort());
  });

  // Opened and saved again: a formula would come back as its result.
  test.skipIf(spawnSync("soffice", ["--version"]).error !== undefined)(
    "LibreOffice opens a CSV with every row, all of it as it stands there",
    async () => {
      const folder = await mkdtemp(join(tmpdir(), "audit-csv-"));
      try {
        const { text } = await download({ format: "csv", action: "api_key.added" });
        await writeFile(join(folder, "log.csv"), text);
        const format = "44,34,76,1"; // commas, quotation marks, UTF-8, from the first line
        await promisify(execFile)("soffice", [
          "--headless",
          `-env:UserInstallation=${pathToFileURL(join(folder, "profile"))}`,
          `--infilter=CSV:${format}`,
          "--convert-to",
          `csv:Text - txt - csv (StarCalc):${format}`,
          "--outdir",
          join(folder, "saved"),
          join(folder, "log.csv"),
        ]);
        const cells = (csv: string) =>
          (parse(csv, { columns: true }) as Row[]).map(({ name, provider, details, hash }) => [
            name,
            provider!.replace("\r", "\n"), // a line ends in its way
            details,
            hash,
          ]);
        expect(cells(await readFile(join(folder, "saved", "log.csv"), "utf8"))).toEqual(cells(text));
      } finally {
        await rm(folder, { recursive: true });
      }
    },
    60_000,
  );

  test("a CSV of nothing is its header", async () => {
    const { text, headers } = await download({ format: "csv", action: "nothing.happened" });
    expect(text.trimEnd().split("\n")).toHaveLength(1);
    expect(headers.get("audit-entries")).toBe("0");
  });

  test("JSON is valid as a whole", async () => {
    const { text, headers } = await download({ format: "json", action: "api_key.added" });
    const { export: about, entries } = JSON.parse(text) as {
      export: Record<string, unknown>;
      entries: Row[];
    };
    expect(about).toMatchObject({ id: headers.get("audit-export-id"), part: 1, entries: AWKWARD.length, next: null });
    expect(entries.map((entry) => entry.provider)).toEqual(AWKWARD);
  });

  test("JSON of nothing is valid too", async () => {
    const { text } = await download({ format: "json", action: "nothing.happened" });
    expect(JSON.parse(text)).toMatchObject({ entries: [] });
  });

  test("every line of NDJSON carries the exact entry text, and verifies", async () => {
    const { text } = await download({
      format: "ndjson",
      q: "action:api_key.added or action:budget.created",
      limit: "500",
    });
    const lines = text.trimEnd().split("\n");
    expect(lines).toHaveLength(500);
    for (const line of lines) {
      const { hash } = JSON.parse(line) as { hash: string };
      const entry = line.slice(line.indexOf('"entry":') + '"entry":'.length, -1);
      expect(entryHash(entry)).toBe(hash);
      expect(parseEntryText(entry)).toBeDefined();
    }
  });

  test("OCSF is an event a line", async () => {
    const { text } = await download({ format: "ocsf", action: "api_key.added" });
    const events = text.trimEnd().split("\n").map((line) => JSON.parse(line) as { metadata: { version: string } });
    expect(events).toHaveLength(AWKWARD.length);
    expect(events.every((event) => event.metadata.version.startsWith("1.8")))
      .toBe(true);
  });

  test("PDF is a PDF", async () => {
    const { bytes, headers } = await download({ format: "pdf", action: "api_key.added" });
    expect(bytes.subarray(0, 5).toString()).toBe("%PDF-");
    expect(headers.get("content-type")).toBe("application/pdf");
  });
});

describe("size and digest", () => {
  test("large exports arrive whole, and the manifest has their digest", async () => {
    const { bytes, text, headers } = await download({ format: "csv", action: "budget.created" });
    expect(parse(text, { columns: true })).toHaveLength(MANY);
    const { state, parts, manifest, manifest_note } = await status(headers.get("audit-export-id")!);
    expect(state).toBe("done");
    expect(parts).toMatchObject([{
      part: 1,
      entries: MANY,
      bytes: bytes.length,
      sha256: createHash("sha256").update(bytes).digest("hex"),
      complete: true,
    }]);
    expect([manifest.complete, manifest_note]).toEqual([true, null]);
  });

  test("compressed on request, with both parameter and header", async () => {
    const plain = await download({ format: "csv", action: "budget.created" });
    const compressed = await raw("/export?format=csv&action=budget.created&gzip=true", { "accept-encoding": "gzip" });
    expect(compressed.headers["content-encoding"]).toBe("gzip");
    expect(compressed.body.length).toBeLessThan(plain.bytes.length / 2);
    expect(gunzipSync(compressed.body).equals(plain.bytes)).toBe(true);
    const { parts } = await status(String(compressed.headers["audit-export-id"]));
    expect(parts[0]!.sha256).toBe(createHash("sha256").update(plain.bytes).digest("hex"));
    const without = await raw("/export?format=csv&action=api_key.added", { "accept-encoding": "gzip" });
    expect(without.headers["content-encoding"]).toBeUndefined();
  });

  test("parts follow each other by their link, and together are the whole", async () => {
    const whole = (await download({ format: "csv", action: "budget.created" }))
      .text.split("\n");
    const lines: string[] = [];
    let address: string | null = `${api.url}/functions/v1/audit/export?format=csv&action=budget.created&limit=15000`;
    let id = "";
    for (let part = 1; address !== null; part++) {
      const response: Response = await fetch(address, { headers: { authorization: `Bearer ${await api.token()}` } });
      const text = await response.text();
      expect(response.headers.get("audit-part")).toBe(String(part));
      expect(response.headers.get("content-disposition")).toContain(`-part-000${part}.csv`);
      id = response.headers.get("audit-export-id")!;
      lines.push(...text.trimEnd().split("\n").slice(part === 1 ? 0 : 1));
      address = /^<(.*)>; rel="next"$/.exec(response.headers.get("link") ?? "")?.[1] ??
        null;
    }
    expect(lines).toEqual(whole.slice(0, -1));
    const { state, parts } = await status(id);
    expect(state).toBe("done");
    expect(parts.map((part) => part.entries)).toEqual([15_000, 15_000, 10_000]);
  });

  test("an export belongs to who made it, and to admins", async () => {
    const { headers } = await download({ format: "csv", action: "api_key.added" });
    const path = `/exports/${headers.get("audit-export-id")}`;
    expect((await api.call(path, { as: OSCAR })).status).toBe(404);
    expect((await api.call(path, { as: BOB })).status).toBe(404);
    const { exports } = await (await api.call("/exports")).json() as {
      exports: { id: string }[];
    };
    expect(exports.map(({ id }) => id)).toContain(headers.get("audit-export-id"));
  });

  test("a member exports the own activity", async () => {
    const { text } = await download({ format: "csv", limit: "100" }, BOB);
    const rows = parse(text, { columns: true }) as Row[];
    expect(rows).toHaveLength(100);
    expect(rows.every((row) => row.created_by === BOB)).toBe(true);
  });

  test("an export leaves its entry, with the count and not the results", async () => {
    const { headers } = await download({ format: "csv", action: "api_key.added" });
    const { rows } = await client.query(
      "select created_by, resource_id, details from public.audit_logs where action = 'log.exported' order by created_at desc limit 1",
    );
    expect(rows).toMatchObject([{
      created_by: ALICE,
      resource_id: headers.get("audit-export-id"),
      details: { format: "csv", query: "action:api_key.added", entries: AWKWARD.length },
    }]);
  });
});

describe("clients that go away", () => {
  test("while the export is still being counted: that ends too", async () => {
    const locker = await api.db.connect();
    await locker.query("begin; lock table public.audit_logs in access exclusive mode");
    const waiting = async () => {
      const { rows } = await client.query(
        `select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return rows.length;
    };
    try {
      const aborter = new AbortController();
      const request = fetch(`${await api.directUrl()}/export?format=csv`, {
        headers: { authorization: `Bearer ${await api.token()}` },
        signal: aborter.signal,
      });
      expect(await waitFor(async () => await waiting() === 1, 5_000)).toBe(true);
      aborter.abort();
      await expect(request).rejects.toThrow();
      expect(await waitFor(async () => await waiting() === 0, 5_000)).toBe(true);
    } finally {
      await locker.query("rollback");
    }
  });

  const copying = async () => {
    const { rows } = await client.query(
      "select pid from pg_stat_activity where datname = current_database() and query like 'copy %' and state = 'active'",
    );
    return rows.length;
  };

  test(
    "100 times in the middle: no backend goes on, and every part is marked as not whole",
    async () => {
      let begun = 0;
      for (let n = 0; n < 100; n++) {
        const [response] = await open("/export?format=csv", { "user-agent": "leaves" });
        if (response.statusCode !== 200) {
          throw new Error(`export ${n} answers ${response.statusCode}`);
        }
        await once(response, "data");
        response.destroy();
        begun++;
        expect(
          await waitFor(async () => await copying() === 0, 2_000),
          `a backend goes on after export ${n}`,
        ).toBe(true);
      }
      const closed = async () => {
        const { rows: [row] } = await client.query(
          `select count(*) filter (where p.complete)::int as complete, count(*)::int as parts, count(p.bytes)::int as closed
         from audit.export_parts p join audit.exports x on x.id = p.export
         where x.filter = '{"and": []}' and x.requested_by = $1`,
          [ALICE],
        );
        return row as { complete: number; parts: number; closed: number };
      };
      await waitFor(async () => (await closed()).closed === begun, 5_000);
      expect(await closed()).toEqual({ complete: 0, parts: begun, closed: begun });
      // And the function is as well as before.
      expect(
        (await download({ format: "csv", action: "api_key.added" })).headers
          .get("audit-entries"),
      ).toBe(String(AWKWARD.length));
    },
    120_000,
  );

  test("more exports at once than there may be are refused for the moment", async () => {
    const responses: IncomingMessage[] = [];
    try {
      for (let n = 0; n < 6; n++) {
        responses.push((await open("/export?format=csv"))[0]);
      }
      const statuses = responses.map((response) => response.statusCode);
      expect(statuses.slice(0, 3)).toEqual([200, 200, 200]);
      expect(statuses.slice(3)).toEqual([503, 503, 503]);
      expect(responses[5]!.headers["retry-after"]).toBe("5");
    } finally {
      for (const response of responses) response.destroy();
    }
    expect(
      await waitFor(
        async () =>
          (await open("/export?format=csv&action=api_key.added"))[0].resume()
            .statusCode === 200,
        5_000,
      ),
    )
      .toBe(true);
  });
});

// Straight to the function, as on hosted, where no stand-in of ours is in between.
async function open(path: string, headers: Record<string, string> = {}): Promise<[IncomingMessage]> {
  const request = get(`${await api.directUrl()}${path}`, {
    agent: false,
    headers: { authorization: `Bearer ${await api.token()}`, ...headers },
  });
  request.on("error", () => {}); // after destroy()
  return await once(request, "response") as [IncomingMessage];
}

async function raw(path: string, headers: Record<string, string>) {
  const [response] = await open(path, headers);
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
  }
  return { headers: response.headers, body: Buffer.concat(chunks) };
}
