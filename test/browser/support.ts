// Chromium, to look at the viewer of the run's stack (global_setup.ts).
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import pg from "pg";
import type { BrowserContextOptions, Locator, Page } from "playwright-core";
import { expect, inject, onTestFailed } from "vitest";
import { launchChromium } from "../../scripts/bench/chromium.ts";
import type { StackInfo } from "../../scripts/stack/info.ts";
import { expectVerified } from "../support/log.ts";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** Of the sample application: all of one organisation but the auditor, who is of none. */
export const ORGANIZATION = "a0000000-0000-4000-8000-000000000001";
export const ADMIN = "katharina.weiss@nordlicht.example";
export const MEMBER = "mehmet.yildiz@nordlicht.example";
export const VIEWER = "anna.krueger@nordlicht.example";
export const AUDITOR = "ingrid.sorensen@sorensen-audit.example";
export const PHONE = { width: 390, height: 844 };

/** A page, and what went wrong in it: messages of the console and refusals of the content security policy. */
export type Window = { page: Page; wrongs: string[] };

export type Viewer = {
  info: StackInfo;
  /** A superuser of the database. */
  admin: pg.Client;
  open(options?: BrowserContextOptions): Promise<Window>;
  /** Opens the page at an address after the #, signed in. */
  openAs(email: string, address?: string, options?: BrowserContextOptions): Promise<Page>;
  /** Ends a test: closes its pages; none has refused anything by its policy, or run a script that is not its own. */
  closeAll(): Promise<void>;
  /** Writes an entry as somebody's request would; answers its name. */
  record(action: string, entry?: Recorded): Promise<string>;
  /** Raises an alert, of a rule without a check: that would find within a minute that all is in order, and resolve it. */
  raise(title: string, reason: object, entries?: string[]): Promise<void>;
  seal(): Promise<void>;
  /** Ends the file: the whole log verifies. */
  stop(): Promise<void>;
};

export type Recorded = {
  email?: string;
  details?: object;
  type?: string;
  id?: string;
  provider?: string;
  requestId?: string;
  userAgent?: string;
};

export async function startViewer(): Promise<Viewer> {
  const info = inject("stack");
  const admin = new pg.Client({ connectionString: info.admin_db_url });
  await admin.connect();
  const browser = await launchChromium();

  const windows: Window[] = [];

  async function open(options: BrowserContextOptions = {}): Promise<Window> {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, locale: "en-GB", ...options });
    page.setDefaultTimeout(20_000);
    const wrongs: string[] = [];
    windows.push({ page, wrongs });
    onTestFailed(async () => {
      if (!page.isClosed()) console.error(`${page.url()} shows:\n${await page.locator("body").innerText()}`);
    });
    page.on("pageerror", (error) => wrongs.push(error.message));
    page.on("console", (message) => {
      if (/Content Security Policy|Trusted/i.test(message.text())) wrongs.push(message.text());
    });
    page.on("dialog", (dialog) => {
      wrongs.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    return { page, wrongs };
  }

  return {
    info,
    admin,
    open,
    async openAs(email, address = "", options = {}) {
      const { page } = await open(options);
      await page.goto(`${info.viewer_url}/${address}`);
      await signIn(page, email);
      await page.getByRole("button", { name: "Sign out" }).waitFor();
      return page;
    },
    async closeAll() {
      const wrongs = windows.flatMap((window) => window.wrongs);
      for (const { page } of windows.splice(0)) await page.close();
      expect(wrongs).toEqual([]);
    },
    async record(
      action,
      { email = ADMIN, details = {}, type = "thing", id = "1", provider, requestId, userAgent } = {},
    ) {
      const sub = info.users.find((user) => user.email === email)?.id ?? randomUUID();
      await admin.query("begin");
      await admin.query(
        "select set_config('request.jwt.claims', $1, true), set_config('request.headers', $2, true)",
        [
          JSON.stringify({ sub, email, role: "authenticated" }),
          JSON.stringify({ "user-agent": userAgent, "x-request-id": requestId }),
        ],
      );
      const { rows: [{ name }] } = await admin.query(
        "select chain || '-' || seq as name from audit.record($1, $2, $3, $4, $5, provider => $6)",
        [ORGANIZATION, action, type, id, JSON.stringify(details), provider],
      );
      await admin.query("commit");
      return name as string;
    },
    async raise(title, reason, entries = []) {
      await admin.query(
        `select audit.raise_alert(r.id, $1, jsonb_build_object('title', $2::text)::text, now(), $2, $3, $4, 'high')
         from audit.rules r where r.name = 'Batch of queries'`,
        [ORGANIZATION, title, JSON.stringify(reason), entries],
      );
    },
    async seal() {
      const response = await fetch(`${info.api_url}/functions/v1/audit-jobs/seal?due_now=true`, {
        method: "POST",
        headers: { authorization: `Bearer ${info.jobs_secret}` },
      });
      expect(await response.json()).toMatchObject({ failed: 0 });
    },
    async stop() {
      await expectVerified(admin);
      await browser.close();
      await admin.end();
    },
  };
}

export async function signIn(page: Page, email: string): Promise<void> {
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill("demo-password");
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** Scrolls to the end, which what is read ahead moves on, until something is seen. */
export async function scrollUntil(page: Page, seen: Locator): Promise<void> {
  await expect.poll(async () => {
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
    return await seen.count();
  }, { timeout: 20_000, interval: 200 }).toBeGreaterThan(0);
}

/** What axe finds against WCAG 2.2 A and AA. It is injected by the debugger, which the page's policy does not bind. */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  await page.evaluate(await readFile(AXE, "utf8"));
  return await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: typeof import("axe-core") };
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const { violations } = await axe.run({ runOnly: tags });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ").slice(0, 400)}`);
  });
}
