// The network slow, lost and back; a session and a role that end while somebody looks or writes.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ADMIN, ORGANIZATION, scrollUntil, signIn, startViewer, type Viewer } from "./support.ts";

let viewer: Viewer;
let openAs: Viewer["openAs"];
let closeAll: Viewer["closeAll"];

beforeAll(async () => {
  viewer = await startViewer();
  ({ openAs, closeAll } = viewer);
  await viewer.admin.query(
    "select audit.record($1, 'far.done', 'row', n::text) from generate_series(1, 2600) n",
    [ORGANIZATION],
  );
});
afterAll(() => viewer?.stop());

const FAR = "#/activity?q=action:far.done";
const shownIds = (page: Page) => page.locator(".rows .resource").allInnerTexts();
const gone = (page: Page) => page.getByText("The network is gone.");
async function slow(page: Page, latency: number, bytesPerSecond: number): Promise<void> {
  const debug = await page.context().newCDPSession(page);
  await debug.send("Network.enable");
  await debug.send("Network.emulateNetworkConditions", {
    offline: false,
    latency,
    downloadThroughput: bytesPerSecond,
    uploadThroughput: bytesPerSecond,
  });
}
/** Scrolls by its own height until so many entries were read. */
async function scrollDownTo(page: Page, entries: number): Promise<void> {
  await expect.poll(() =>
    page.evaluate(() => {
      scrollTo(0, document.documentElement.scrollHeight);
      const rows = document.querySelector<HTMLElement>(".rows")!;
      return Math.round(rows.offsetHeight / rows.querySelector<HTMLElement>("[role=row]")!.offsetHeight);
    }), { timeout: 40_000, interval: 100 }).toBeGreaterThanOrEqual(entries);
}

test("far down only pages nearby are kept; coming back they are read again, each entry at its place", async () => {
  const page = await openAs(ADMIN, FAR);
  await page.locator(".rows a").first().waitFor();
  const first = await shownIds(page);
  expect(first.slice(0, 3)).toEqual(["row 2600", "row 2599", "row 2598"]);
  await scrollDownTo(page, 2600);
  await page.getByText("That is all.").waitFor();
  await expect.poll(async () => (await shownIds(page)).at(-1)).toBe("row 1");
  expect(await page.locator("*").count()).toBeLessThan(1_500);
  const asked: string[] = [];
  page.on("request", (request) => request.url().includes("/logs?") && asked.push(request.url()));
  await page.evaluate(() => scrollTo(0, 0));
  await expect.poll(async () => (await shownIds(page)).slice(0, 3)).toEqual(first.slice(0, 3));
  expect(asked.length).toBeGreaterThan(0);
  expect(await page.locator("[role=table]").getAttribute("aria-rowcount")).toBe("2601");
  await closeAll();
});

test("where it is slow, it says so, keeps what there is, and shows each entry once", async () => {
  const page = await openAs(ADMIN, FAR);
  await page.locator(".rows a").first().waitFor();
  await slow(page, 600, 200_000);
  await scrollUntil(page, page.locator(".after").getByText("Loading …"));
  expect((await shownIds(page)).length).toBeGreaterThan(10);
  await scrollDownTo(page, 300);
  await page.evaluate(() => scrollTo(0, document.querySelector<HTMLElement>(".rows")!.offsetTop + 4_000));
  const ids = await shownIds(page);
  expect(new Set(ids).size).toBe(ids.length);
  await closeAll();
});

describe("an answer that was overtaken by another is not shown", () => {
  /** Asks at one address, then at another, and has the first answer come last. */
  async function overtake(
    page: Page,
    [first, second]: [string, string],
    asked: RegExp,
    isSecondShown: () => Promise<boolean>,
  ): Promise<void> {
    let release = () => {};
    const isShown = new Promise<void>((resolve) => release = resolve);
    await page.route(asked, async (route) => {
      await isShown;
      await route.continue();
    }, { times: 1 });
    const asking = page.waitForRequest(asked);
    await page.evaluate((address) => location.assign(address), first);
    const request = await asking;
    await page.evaluate((address) => location.assign(address), second);
    await expect.poll(isSecondShown, { timeout: 20_000 }).toBe(true);
    release();
    await (await request.response())!.finished();
    await page.waitForTimeout(300);
    expect(await isSecondShown()).toBe(true);
  }

  test("of entries", async () => {
    const [first, second] = [await viewer.record("late.first"), await viewer.record("late.second")];
    const page = await openAs(ADMIN, "#/costs");
    const shown = page.getByRole("heading", { name: "late.second", exact: true });
    const addresses: [string, string] = [`#/entry/${first}`, `#/entry/${second}`];
    await overtake(page, addresses, new RegExp(`/logs/${first}\\?`), () => shown.isVisible());
    await closeAll();
  });

  test("of costs", async () => {
    await viewer.admin.query("select audit.record($1, 'late.cost', provider => 'openai', cost => 0.25)", [
      ORGANIZATION,
    ]);
    const page = await openAs(ADMIN);
    const provider = page.getByRole("rowheader", { name: "openai", exact: true });
    await overtake(page, ["#/costs?by=day", "#/costs"], /\/costs\?.*by=day/, () => provider.isVisible());
    await closeAll();
  });

  test("of alerts", async () => {
    await viewer.raise("Late, and open", { seen: 3 });
    const page = await openAs(ADMIN);
    const shown = page.getByRole("article", { name: "Late, and open" });
    await overtake(page, ["#/alerts?state=resolved", "#/alerts"], /state=resolved/, () => shown.isVisible());
    await closeAll();
  });

  test("of rules", async () => {
    const { rows: [{ id }] } = await viewer.admin.query("select id from audit.rules where name = 'Batch of queries'");
    const page = await openAs(ADMIN);
    const name = page.getByLabel("Name", { exact: true });
    await overtake(
      page,
      ["#/rule/new", `#/rule/${id}`],
      /\/rules\?/,
      async () => await name.count() === 1 && await name.inputValue() === "Batch of queries",
    );
    await closeAll();
  });
});

test("lost and back, the list goes on where it was", async () => {
  const page = await openAs(ADMIN, FAR);
  await page.locator(".rows a").first().waitFor();
  await scrollDownTo(page, 200);
  await page.context().setOffline(true);
  await scrollUntil(page, gone(page));
  const [at, ids] = [await page.evaluate(() => scrollY), await shownIds(page)];
  expect(ids.length).toBeGreaterThan(10);
  await page.context().setOffline(false);
  await gone(page).waitFor({ state: "detached" });
  // The note above the list took its place with it.
  expect(Math.abs(await page.evaluate(() => scrollY) - at)).toBeLessThan(200);
  await scrollDownTo(page, 400);
  await closeAll();
});

test("lost and back while one looks at what was read before, nothing is said to be gone", async () => {
  const page = await openAs(ADMIN, FAR);
  await page.locator(".rows a").first().waitFor();
  await page.context().setOffline(true);
  await scrollUntil(page, gone(page));
  await page.evaluate(() => scrollTo(0, 0));
  await expect.poll(async () => (await shownIds(page))[0]).toBe("row 2600");
  await page.context().setOffline(false);
  await gone(page).waitFor({ state: "detached" });
  await closeAll();
});

test("a server that is not reached, while the browser thinks it has a network, is asked again by itself", async () => {
  const page = await openAs(ADMIN, "#/costs");
  await page.getByRole("table").waitFor();
  let asked = 0;
  await page.route(/\/logs\?/, (route) => asked++ < 2 ? route.abort() : route.fallback());
  await page.goto(`${viewer.info.viewer_url}/${FAR}`);
  await gone(page).waitFor();
  await page.locator(".rows a").first().waitFor();
  expect(await gone(page).count()).toBe(0);
  expect(asked).toBe(3);
  await closeAll();
});

test("what the server cannot do for the moment is said, and tried again when asked", async () => {
  const page = await openAs(ADMIN, "#/costs");
  let isDown = true;
  await page.route(/\/logs\?/, (route) =>
    isDown
      ? route.fulfill({
        status: 503,
        contentType: "application/problem+json",
        body: JSON.stringify({
          code: "unavailable",
          title: "x",
          detail: "The database cannot be reached.",
          status: 503,
        }),
      })
      : route.fallback());
  await page.goto(`${viewer.info.viewer_url}/${FAR}`);
  await page.getByRole("alert").getByText("The database cannot be reached.").waitFor();
  isDown = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator(".rows a").first().waitFor();
  expect(await page.getByRole("alert").count()).toBe(0);
  await closeAll();
});

test("a rule that cannot be saved is not lost; once the network is back it is saved, once", async () => {
  const page = await openAs(ADMIN, "#/rule/new?match=action:far.done&name=From%20afar");
  await page.getByRole("button", { name: "Save" }).waitFor();
  await page.context().setOffline(true);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Nothing here is lost: try again when it is back.").waitFor();
  expect(await page.getByLabel("Name", { exact: true }).inputValue()).toBe("From afar");
  await page.context().setOffline(false);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("article", { name: "From afar" }).waitFor();
  const { rows: [{ n }] } = await viewer.admin.query(
    "select count(*)::int as n from audit.rules where name = 'From afar'",
  );
  expect(n).toBe(1);
  await closeAll();
});

test("a session that ends far down goes on after signing in; a role that is taken away ends the rule editor", async () => {
  const page = await openAs(ADMIN, FAR);
  await page.locator(".rows a").first().waitFor();
  await scrollDownTo(page, 200);
  await viewer.admin.query("delete from auth.refresh_tokens; delete from auth.sessions");
  await page.evaluate(() => {
    const key = Object.keys(localStorage).find((name) => name.endsWith("-auth-token"))!;
    const session = JSON.parse(localStorage.getItem(key)!);
    localStorage.setItem(key, JSON.stringify({ ...session, expires_at: 1, expires_in: 0 }));
  });
  await scrollUntil(page, page.getByText("Your session has ended."));
  await signIn(page, ADMIN);
  await page.locator(".rows a").first().waitFor();

  await page.goto(`${viewer.info.viewer_url}/#/rule/new?match=action:far.done&name=Too%20late`);
  await page.getByRole("button", { name: "Save" }).waitFor();
  const admin = viewer.info.users.find(({ email }) => email === ADMIN)!.id;
  const role = (name: string) =>
    viewer.admin.query("update public.organization_members set role = $1 where user_id = $2", [name, admin]);
  try {
    await role("viewer");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("heading", { name: "There is nothing for you to see here" }).waitFor();
  } finally {
    await role("admin");
  }
  await closeAll();
});
