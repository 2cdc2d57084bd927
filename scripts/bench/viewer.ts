// The viewer in Chromium on the local stack, in an organisation of so many entries: how long the first page takes, and
// whether the list stays smooth and small while somebody scrolls far.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type pg from "pg";
import type { Browser, BrowserContextOptions, CDPSession, Page } from "playwright-core";
import type { StackInfo } from "../stack/info.ts";
import { freePort } from "../stack/ports.ts";
import { startStack } from "../stack/stack.ts";
import { launchChromium } from "./chromium.ts";
import { type Machine, readMachine } from "./machine.ts";
import { percentile } from "./statistics.ts";
import { judge, type Judged, VIEWER_GOALS } from "./targets.ts";
import { withClient } from "./variants.ts";

export type ViewerOptions = {
  entries: number;
  /** How many entries are scrolled over. */
  scroll: number;
  rounds: number;
  /** The folder of a stack that stays. */
  keep?: string;
  dir?: string;
  onProgress(line: string): void;
};

/** From the beginning of the navigation to the frame with the first rows, of each round. */
export type FirstPage = { title: string; milliseconds: number[] };
export type Scroll = {
  entries: number;
  seconds: number;
  /** From frame to frame, in milliseconds, ascending. */
  frames: number[];
  /** Elements in the document, at most. */
  elements: number;
  /** After garbage collection: before, and at the end. */
  heap_mb: [number, number];
  /** Back at the top, until the entries there are shown again. */
  back_ms: number;
};
export type ViewerReport = {
  machine: Machine;
  firstPages: FirstPage[];
  scroll: Scroll;
  bundle_kb: number;
  targets: Judged[];
};

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const ROWS = 10_000;
/** Pixels a frame: some 35 rows, faster than anybody reads. */
const STEP = 1_500;
const SEARCHES = [
  { title: "everything", query: "" },
  { title: "two filters", query: "action:query.completed provider:openai" },
  { title: "words", query: '"quarterly report 7"' },
];

export async function benchViewer({ dir = tmpdir(), keep, ...options }: ViewerOptions): Promise<ViewerReport> {
  const folder = keep ?? await mkdtemp(join(dir, "audit-bench-viewer-"));
  const stack = await startStack({ root: ROOT, dir: folder, port: await freePort(), dbPort: await freePort() });
  try {
    await withClient(stack.info.admin_db_url, (client) => fill(client, stack.info, options));
    const browser = await launchChromium();
    try {
      return await measure(browser, stack.info, options);
    } finally {
      await browser.close();
    }
  } finally {
    await stack.stop();
    if (keep === undefined) await rm(folder, { recursive: true, force: true });
  }
}

/** Entries of the first organisation by its people. The schedules are stopped: what follows is done once, here. */
async function fill(client: pg.Client, info: StackInfo, { entries, onProgress }: Omit<ViewerOptions, "dir" | "keep">) {
  const organization = info.organizations[0]!.id;
  const people = info.users.filter((user) => user.organization_id === organization);
  await client.query("update cron.job set active = false");
  await client.query("set synchronous_commit = off; set jit = off");
  const { rows: [before] } = await client.query<{ n: number }>(
    "select count(*)::int as n from public.audit_logs where organization_id = $1 and action like 'query.%'",
    [organization],
  );
  for (let done = before!.n; done < entries; done += ROWS) {
    const { id, email } = people[(done / ROWS | 0) % people.length]!;
    await client.query("select set_config('request.jwt.claims', $1, false)", [
      JSON.stringify({ sub: id, email, role: "authenticated" }),
    ]);
    await client.query(
      `select audit.record($1, case n % 2 when 0 then 'query.executed' else 'query.completed' end, 'query', 'q-' || n,
         jsonb_build_object('model', 'm' || n % 7, 'prompt', 'quarterly report ' || n % 1000), 'success',
         (array['openai', 'anthropic', 'mistral'])[1 + n % 3], n % 100 / 100.0)
       from generate_series($2::int, $3::int) n`,
      [organization, done + 1, Math.min(entries, done + ROWS)],
    );
    if (done % (20 * ROWS) === 0) onProgress(`written ${Math.min(entries, done + ROWS)} of ${entries}`);
  }
  for (let left = 1; left > 0;) {
    left = (await client.query<{ n: number }>("select audit.index_entries(50000)::int as n")).rows[0]!.n;
  }
  await client.query("vacuum (analyze) public.audit_logs, audit.search_index, audit.identities");
  onProgress("indexed");
}

async function measure(
  browser: Browser,
  info: StackInfo,
  { scroll: wanted, rounds, onProgress }: Omit<ViewerOptions, "dir" | "keep">,
): Promise<ViewerReport> {
  const signedIn = await signInOnce(browser, info);
  const firstPages: FirstPage[] = [];
  for (const { title, query } of SEARCHES) {
    const milliseconds: number[] = [];
    // The first round finds functions and database cold.
    for (let round = -1; round < rounds; round++) {
      const page = await newPage(browser, signedIn);
      await page.goto(`${info.viewer_url}/#/activity?q=${encodeURIComponent(query)}`);
      const taken = await firstRows(page);
      if (round >= 0) milliseconds.push(taken);
      await page.close();
    }
    milliseconds.sort((a, b) => a - b);
    firstPages.push({ title, milliseconds });
    onProgress(`${title}: ${milliseconds.map((each) => each.toFixed(0)).join(", ")} ms`);
  }

  const page = await newPage(browser, signedIn);
  await page.goto(`${info.viewer_url}/#/activity`);
  await firstRows(page);
  const debug = await page.context().newCDPSession(page);
  await debug.send("Performance.enable");
  const heapBefore = await heap(debug);
  const scrolled = await scrollOver(page, wanted);
  const heapAfter = await heap(debug);
  const backFrom = performance.now();
  await page.evaluate(() => scrollTo(0, 0));
  await page.locator('.rows [aria-rowindex="2"] a').waitFor();
  const scroll: Scroll = { ...scrolled, heap_mb: [heapBefore, heapAfter], back_ms: performance.now() - backFrom };
  const bundle = await bundleSize();
  return {
    machine: await readMachine(info.admin_db_url),
    firstPages,
    scroll,
    bundle_kb: bundle / 1000,
    targets: [
      judge(VIEWER_GOALS.firstPage, firstPages[0]!.milliseconds.at(-1)),
      judge(VIEWER_GOALS.frames, percentile(scroll.frames, 0.95)),
      judge(VIEWER_GOALS.elements, scroll.elements),
      judge(VIEWER_GOALS.heap, heapAfter - heapBefore),
      judge(VIEWER_GOALS.bundle, bundle / 1000),
    ],
  };
}

async function newPage(browser: Browser, signedIn: BrowserContextOptions): Promise<Page> {
  const page = await browser.newPage({ ...signedIn, viewport: { width: 1280, height: 900 } });
  // tsx marks named functions by a call of this, also in what is sent to the page.
  await page.addInitScript("globalThis.__name = (named) => named");
  return page;
}

async function signInOnce(browser: Browser, info: StackInfo): Promise<Pick<BrowserContextOptions, "storageState">> {
  const organization = info.organizations[0]!.id;
  const admin = info.users.find((user) => user.organization_id === organization && user.role === "admin")!;
  const page = await browser.newPage();
  await page.goto(info.viewer_url);
  await page.getByLabel("E-mail").fill(admin.email);
  await page.getByLabel("Password").fill(admin.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator(".rows a").first().waitFor();
  const storageState = await page.context().storageState();
  await page.close();
  return { storageState };
}

/** Milliseconds from the beginning of the navigation to the frame that has rows. */
function firstRows(page: Page): Promise<number> {
  return page.evaluate(() =>
    new Promise<number>((resolve) => {
      const look = () => {
        if (document.querySelector(".rows a") === null) requestAnimationFrame(look);
        else requestAnimationFrame(() => resolve(performance.now()));
      };
      look();
    })
  );
}

/** Scrolls a step each frame until so many entries were read, or all. */
function scrollOver(page: Page, wanted: number): Promise<Pick<Scroll, "entries" | "seconds" | "frames" | "elements">> {
  return page.evaluate(({ wanted, step }) =>
    new Promise((resolve) => {
      const rows = document.querySelector<HTMLElement>(".rows")!;
      const rowHeight = rows.querySelector<HTMLElement>("[role=row]")!.offsetHeight;
      const frames: number[] = [];
      const start = performance.now();
      let last = start;
      let elements = 0;
      const move = (now: number) => {
        frames.push(now - last);
        last = now;
        if (frames.length % 20 === 0) elements = Math.max(elements, document.getElementsByTagName("*").length);
        const entries = Math.round(rows.offsetHeight / rowHeight);
        const isWhole = document.querySelector("[role=table]")!.getAttribute("aria-rowcount") !== "-1";
        const isAtEnd = scrollY + innerHeight >= document.documentElement.scrollHeight - 1;
        if (isAtEnd && (isWhole || entries >= wanted)) {
          frames.sort((a, b) => a - b);
          return resolve({ entries, seconds: (now - start) / 1000, frames, elements });
        }
        scrollTo(0, scrollY + step);
        requestAnimationFrame(move);
      };
      requestAnimationFrame(move);
    }), { wanted, step: STEP });
}

async function heap(debug: CDPSession): Promise<number> {
  await debug.send("HeapProfiler.collectGarbage");
  const { metrics } = await debug.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "JSHeapUsedSize")!.value / 2 ** 20;
}

/** What the list page loads, compressed. */
async function bundleSize(): Promise<number> {
  const dist = join(ROOT, "functions", "audit-viewer", "dist");
  const page = await readFile(join(dist, "index.html"), "utf8");
  let bytes = gzipSync(page).length;
  for (const name of await readdir(join(dist, "assets"))) {
    if (page.includes(name)) bytes += gzipSync(await readFile(join(dist, "assets", name))).length;
  }
  return bytes;
}
