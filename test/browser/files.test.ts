// Files out of the viewer: what is on the screen in every format, with progress, here and in the background; reports.
import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { parse } from "csv-parse/sync";
import * as mupdf from "mupdf";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ADMIN, AUDITOR, MEMBER, ORGANIZATION, startViewer, type Viewer } from "./support.ts";

const MANY = 4_000;

let viewer: Viewer;
let openAs: Viewer["openAs"];
let closeAll: Viewer["closeAll"];

beforeAll(async () => {
  viewer = await startViewer();
  ({ openAs, closeAll } = viewer);
  for (const [id, email] of [["a", ADMIN], ["b", MEMBER], ["c", MEMBER], ["d", ADMIN]] as const) {
    await viewer.record("filed.done", { id, email, details: { note: `<b>${id}</b>, "quoted"\n=1+1` } });
  }
  await viewer.record("filed.other", { id: "e" });
  await viewer.admin.query(
    "select count(audit.record($1, 'filed.many', 'thing', n::text, jsonb_build_object('text', repeat(md5(n::text), 20)))) from generate_series(1, $2::int) n",
    [ORGANIZATION, MANY],
  );
});
afterAll(() => viewer?.stop());

const QUERY = "action:filed.done -resource_id:d";
const exportOf = async (page: Page, format: string) => {
  await page.getByRole("button", { name: "Export …" }).click();
  await page.getByRole("dialog").locator("[name=format]").selectOption(format);
};
const showing = (query: string) => `#/activity?q=${encodeURIComponent(query)}`;

async function saved(page: Page, press: () => Promise<void>): Promise<Buffer> {
  const [download] = await Promise.all([page.waitForEvent("download"), press()]);
  return await readFile(await download.path());
}

/** The ids in a file, in its order. */
const READERS: Record<string, (file: Buffer) => string[]> = {
  csv: (file) =>
    (parse(file, { columns: true, bom: true }) as { resource_id: string }[]).map(({ resource_id }) => resource_id),
  json: (file) =>
    (JSON.parse(file.toString()) as { entries: { resource_id: string }[] }).entries.map(({ resource_id }) =>
      resource_id
    ),
  ndjson: (file) =>
    file.toString().trim().split("\n").map((line) =>
      (JSON.parse(line) as { entry: { resource_id: string } }).entry.resource_id
    ),
};

describe("what is on the screen is exported, and nothing else", () => {
  test.each(Object.keys(READERS))("as %s", async (format) => {
    const page = await openAs(ADMIN, showing(QUERY));
    await page.locator(".rows [role=row]").nth(2).waitFor();
    await exportOf(page, format);
    const file = await saved(page, () => page.getByRole("button", { name: "Download" }).click());
    expect(READERS[format]!(file).sort()).toEqual(["a", "b", "c"]);
    await page.getByText("Saved 3 entries in one file, oldest first.").waitFor();
    await closeAll();
  });

  test("as PDF", async () => {
    const page = await openAs(ADMIN, showing(QUERY));
    await exportOf(page, "pdf");
    const file = await saved(page, () => page.getByRole("button", { name: "Download" }).click());
    const document = mupdf.Document.openDocument(file, "application/pdf");
    const text = Array.from(
      { length: document.countPages() },
      (_, at) => document.loadPage(at).toStructuredText("preserve-whitespace").asText(),
    ).join("\n");
    expect(text.match(/filed\.done/g)!.length).toBeGreaterThanOrEqual(3);
    expect(text).not.toContain("filed.other");
    await closeAll();
  });

  test("of a member the own alone, of an auditor without addresses", async () => {
    const page = await openAs(MEMBER, showing("action:filed.done"));
    await exportOf(page, "csv");
    const own = await saved(page, () => page.getByRole("button", { name: "Download" }).click());
    expect(READERS.csv!(own)).toEqual(["b", "c"]);
    const auditor = viewer.info.users.find(({ email }) => email === AUDITOR)!.id;
    await viewer.admin.query("select audit.grant_auditor($1, $2, now() + interval '1 day')", [ORGANIZATION, auditor]);
    const outside = await openAs(AUDITOR, showing("action:filed.done"));
    await exportOf(outside, "csv");
    const all = await saved(outside, () => outside.getByRole("button", { name: "Download" }).click());
    expect(READERS.csv!(all)).toEqual(["a", "b", "c", "d"]);
    expect(all.toString()).not.toMatch(/@nordlicht/);
    await closeAll();
  });
});

describe("many entries", () => {
  test("progress is shown while they come, and the export can be cancelled", async () => {
    const page = await openAs(ADMIN, showing("action:filed.many"));
    const network = await page.context().newCDPSession(page);
    await exportOf(page, "ndjson");
    await network.send("Network.emulateNetworkConditions", {
      offline: false,
      latency: 20,
      downloadThroughput: 400_000,
      uploadThroughput: 400_000,
    });
    await page.getByRole("button", { name: "Download" }).click();
    await page.getByText(new RegExp(`Part 1, ${MANY.toLocaleString("en-GB")} entries: \\d+ kB so far`)).waitFor();
    expect(await page.getByRole("progressbar", { name: "Export what you see" }).count()).toBe(1);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: "Close" }).waitFor();
    expect(await page.getByText(/kB so far/).count()).toBe(0);
    await network.send("Network.emulateNetworkConditions", {
      offline: false,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: -1,
    });
    const file = await saved(page, () => page.getByRole("button", { name: "Download" }).click());
    expect(READERS.ndjson!(file)).toHaveLength(MANY);
    await closeAll();
  });

  test("in the background, until the file is there", async () => {
    const page = await openAs(ADMIN, showing("action:filed.many"));
    await exportOf(page, "csv");
    await page.getByRole("button", { name: "Make it in the background" }).click();
    await page.getByText(/(Waiting for its turn|Being made): [\d,]+ entries/).waitFor();
    expect(await page.getByRole("progressbar", { name: "Export what you see" }).count()).toBe(1);
    const link = page.getByRole("link", { name: `Part 1: ${MANY.toLocaleString("en-GB")} entries` });
    await link.waitFor({ timeout: 45_000 });
    await page.getByText(`Done: ${MANY.toLocaleString("en-GB")} entries`).waitFor();
    expect(await page.getByRole("progressbar").count()).toBe(0);
    const file = await saved(page, () => link.click());
    expect(READERS.csv!(file[0] === 0x1f ? gunzipSync(file) : file)).toHaveLength(MANY);
    await closeAll();
  });
});

test("a report is asked for, made, and its files are downloaded", async () => {
  await viewer.seal();
  const page = await openAs(ADMIN, "#/reports");
  await page.locator(".ask").first().getByLabel("Report").selectOption("attestation");
  await page.getByRole("button", { name: "Generate" }).click();
  const report = page.locator(".reports li").first();
  await report.getByText(/Statement of integrity/).waitFor();
  await report.getByRole("button", { name: "Files" }).click({ timeout: 45_000 });
  const [pdf, json] = [
    await saved(page, () => report.getByRole("link", { name: "report.pdf" }).click()),
    await saved(page, () => report.getByRole("link", { name: "report.json" }).click()),
  ];
  expect(mupdf.Document.openDocument(pdf, "application/pdf").countPages()).toBeGreaterThan(0);
  expect(JSON.parse(json.toString())).toMatchObject({ content: { template: "attestation" } });
  expect(await report.getByRole("link", { name: "evidence.zip" }).count()).toBe(1);
  await closeAll();
});
