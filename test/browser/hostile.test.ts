// What others could have written is text wherever it is shown, and changes nothing around it; edited links end in words.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ADMIN, ORGANIZATION, startViewer, type Viewer } from "./support.ts";

let viewer: Viewer;
let openAs: Viewer["openAs"];
let closeAll: Viewer["closeAll"];

const attack = (field: string) =>
  `${field}<img src=x onerror="alert(1)"><script>alert(2)</script>\u202Etxet👩‍👩‍👧‍👦"'{{7*7}}`;
let entry: string;

beforeAll(async () => {
  viewer = await startViewer();
  ({ openAs, closeAll } = viewer);
  entry = await viewer.record("hostile.everywhere", {
    email: attack("email"),
    type: attack("type"),
    id: attack("id"),
    provider: attack("provider"),
    requestId: attack("request"),
    userAgent: attack("agent"),
    details: {
      [attack("key")]: attack("value"),
      changes: { [attack("column")]: { old: attack("old"), new: attack("new") } },
      long: "<b>64 kB</b>".repeat(5_461),
      [`${"<i>".repeat(1_000)}`]: null,
    },
  });
  await viewer.admin.query(
    `select audit.create_rule($1)`,
    [{
      organization_id: ORGANIZATION,
      name: attack("rule"),
      description: attack("description"),
      kind: "count",
      match: `provider:"${attack("provider").replaceAll('"', '\\"')}"`,
      window: "1h",
      threshold: 1,
      group_by: ["provider"],
    }],
  );
});
afterAll(() => viewer?.stop());

/** Nothing became an element, and no override of direction reaches beyond its own box. */
async function expectText(page: Page, fields: string[]): Promise<void> {
  const found = await page.evaluate(() => {
    const reaching: string[] = [];
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.textContent).join(
        "",
      );
      if (!own.includes("\u202E")) continue;
      // An override ends with the box that isolates it: nothing else may be in there.
      let box = element;
      while (
        getComputedStyle(box).display === "inline" && !/isolate|plaintext/.test(getComputedStyle(box).unicodeBidi)
      ) {
        box = box.parentElement!;
      }
      if (box.textContent!.trim() !== own.trim()) reaching.push(box.outerHTML.slice(0, 200));
    }
    const inputs = [...document.querySelectorAll<HTMLInputElement>("input, textarea")].map(({ value }) => value);
    return {
      text: document.body.innerText + inputs.join("\n"),
      elements: document.querySelectorAll("main img, main script, main b, main i").length,
      reaching,
      beyond: document.documentElement.scrollWidth - innerWidth,
    };
  });
  for (const field of fields) {
    expect(found.text).toContain(`${field}<img src=x onerror="alert(1)"><script>alert(2)</script>`);
  }
  expect(found).toMatchObject({ elements: 0, reaching: [] });
  expect(found.beyond).toBeLessThanOrEqual(0);
}

test("in the list, its counts, suggestions and conditions", async () => {
  const page = await openAs(ADMIN, "#/activity?q=action:hostile.everywhere");
  await page.locator(".rows a").first().waitFor();
  await expectText(page, ["email", "type", "provider"]);
  await page.locator(".facets").getByRole("button", { name: /^provider/ }).click();
  await expect.poll(() => page.locator(".chips li").count()).toBe(3);
  await page.getByRole("button", { name: "Build" }).click();
  const value = page.getByRole("group", { name: "Condition 2" }).getByLabel("Value", { exact: true });
  await expect.poll(() => value.inputValue()).toBe(attack("provider"));
  await page.getByRole("combobox", { name: "Search" }).pressSequentially(" provider:p");
  await page.getByRole("listbox").getByRole("option").first().waitFor();
  await expectText(page, ["email", "provider"]);
  await closeAll();
});

test("in an entry, with 64 kB of details", async () => {
  const page = await openAs(ADMIN, `#/entry/${entry}`);
  await page.locator("article").waitFor();
  await page.locator("details").evaluateAll((all) => all.forEach((each) => (each as HTMLDetailsElement).open = true));
  await expectText(page, [
    "email",
    "type",
    "id",
    "provider",
    "request",
    "agent",
    "key",
    "value",
    "column",
    "old",
    "new",
  ]);
  await closeAll();
});

test("in costs, alerts and rules", async () => {
  await viewer.raise(attack("alert"), { [attack("reason")]: attack("seen") }, [entry]);
  const page = await openAs(ADMIN, "#/costs");
  await page.getByRole("table").waitFor();
  await page.goto(`${viewer.info.viewer_url}/#/alerts`);
  await page.getByRole("article", { name: /^alert</ }).waitFor();
  await page.locator("details").evaluateAll((all) => all.forEach((each) => (each as HTMLDetailsElement).open = true));
  await expectText(page, ["alert"]);
  await page.goto(`${viewer.info.viewer_url}/#/rules`);
  await page.getByRole("article", { name: /^rule</ }).waitFor();
  await expectText(page, ["rule"]);
  await page.getByRole("article", { name: /^rule</ }).getByRole("link").click();
  await page.getByRole("button", { name: "Try it" }).click();
  await page.locator(".firings").waitFor();
  await expectText(page, ["rule", "description", "provider"]);
  await closeAll();
});

test.each([
  "#/rule/%E0%A4%A",
  "#/rule/<script>alert(1)</script>",
  "#/rule/00000000-0000-4000-8000-00000000dead",
  `#/rule/new?match=${encodeURIComponent('((("')}&name=%3Cimg%20src=x%3E`,
  "#/rules/../../settings?organization=x",
  "#/__proto__",
  "#/constructor/toString",
])("a link edited into %s ends in words", async (address) => {
  const page = await openAs(ADMIN, address);
  await page.locator("main").getByText(/no such rule|A new rule|Defaults|What is in it|entries/).first().waitFor();
  expect(await page.locator("main img, main script").count()).toBe(0);
  await closeAll();
});
