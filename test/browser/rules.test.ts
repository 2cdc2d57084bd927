// Rules and saved searches: made, tried on what happened, corrected at the field, switched and deleted; who may what.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  accessibilityFaults,
  ADMIN,
  AUDITOR,
  MEMBER,
  ORGANIZATION,
  PHONE,
  startViewer,
  type Viewer,
} from "./support.ts";

let viewer: Viewer;
let openAs: Viewer["openAs"];
let closeAll: Viewer["closeAll"];

const HOSTILE = `<img src=x onerror="alert(1)"> \u202Egnp.exe\u202C 👩‍👩‍👧‍👦`;

const BEGAN = new Date();

beforeAll(async () => {
  viewer = await startViewer();
  ({ openAs, closeAll } = viewer);
  const auditor = viewer.info.users.find(({ email }) => email === AUDITOR)!.id;
  await viewer.admin.query("select audit.grant_auditor($1, $2, now() + interval '30 days')", [ORGANIZATION, auditor]);
  for (let n = 0; n < 4; n++) await viewer.record("ruled.done", { id: `r-${n}` });
});
afterAll(() => viewer?.stop());

const field = (page: Page, label: string) => page.getByLabel(label, { exact: true });
const rule = (page: Page, name: string | RegExp) => page.getByRole("article", { name, exact: true });
/** Since this file began: others choose rules, too. */
const entriesOf = async (action: string) =>
  (await viewer.admin.query(
    "select details from public.audit_logs where action = $1 and created_at > $2 order by created_at",
    [action, BEGAN],
  )).rows.map(({ details }) => details);
const shot = async (page: Page, name: string) => {
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/${name}.png`, fullPage: true });
};

test("a search becomes a rule, which is tried, corrected at the field, saved, changed, switched off and deleted", async () => {
  const page = await openAs(ADMIN, "#/activity?q=action:ruled.done created:7d");
  await page.getByText("Save this search").click();
  await page.getByRole("link", { name: "Alert me about this" }).click();
  await page.getByRole("heading", { name: "A new rule" }).waitFor();
  expect(await field(page, "Entries that match").inputValue()).toBe("action:ruled.done");
  await field(page, "Name").fill(HOSTILE);
  await field(page, "Raises an alert on").selectOption("count");
  await field(page, "At least").fill("3");
  await field(page, "Within").fill("soon");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("alert").getByText("A length of time: 30s, 10m, 1h, 14d.").waitFor();
  expect(await field(page, "Within").getAttribute("aria-invalid")).toBe("true");
  expect(await field(page, "Within").evaluate((element) => element === document.activeElement)).toBe(true);
  expect(await accessibilityFaults(page)).toEqual([]);

  // What only the database knows is said at the field too, with its place.
  await field(page, "Within").fill("1h");
  await field(page, "Entries that match").fill("action:ruled.done (outcome:success");
  await page.getByRole("button", { name: "Try it" }).click();
  await page.getByText("A parenthesis is not closed. It is about character 19.").waitFor();
  await field(page, "Entries that match").fill("action:ruled.done");
  await field(page, "At least").fill("2.5");
  await page.getByRole("button", { name: "Try it" }).click();
  await page.locator(".field").getByText(/a whole one except in sums/).waitFor();
  await field(page, "At least").fill("3");
  await page.getByRole("button", { name: "Try it" }).click();
  await page.getByText(/^One alert from /).waitFor();
  expect(await page.locator(".firings tbody tr").count()).toBe(1);
  expect(await page.locator(".firings a").count()).toBeGreaterThanOrEqual(3);
  await field(page, "At least").fill("5");
  await page.getByRole("button", { name: "Try it" }).click();
  await page.getByText(/^No alert from /).waitFor();

  await page.getByRole("button", { name: "Save" }).click();
  await page.waitForURL(/#\/rules/);
  await rule(page, /onerror/).waitFor();
  expect(await page.locator("main img").count()).toBe(0);
  await shot(page, "rules");
  await page.getByRole("link", { name: /onerror/ }).click();
  await field(page, "At least").fill("2");
  await field(page, "When").selectOption("outside");
  await page.getByLabel("Saturday").check();
  await page.getByRole("button", { name: "Save" }).click();
  await page.waitForURL(/#\/rules/);
  await page.getByRole("link", { name: /onerror/ }).click();
  expect(await field(page, "When").inputValue()).toBe("outside");
  expect(await page.getByLabel("Saturday").isChecked()).toBe(true);
  // What is taken away is gone.
  await field(page, "When").selectOption("");
  await page.getByRole("button", { name: "Save" }).click();
  await page.waitForURL(/#\/rules/);
  await rule(page, /onerror/).getByRole("button", { name: /^Switch off/ }).click();
  await rule(page, /onerror/).getByText("switched off").waitFor();
  await rule(page, /onerror/).getByRole("button", { name: /^Delete/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  expect(await rule(page, /onerror/).count()).toBe(1);
  await rule(page, /onerror/).getByRole("button", { name: /^Delete/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await rule(page, /onerror/).waitFor({ state: "detached" });

  const changes = (await entriesOf("rule.changed")).filter((details) =>
    JSON.stringify(details).includes("threshold") || details.changes
  );
  expect(changes.map((details) => Object.keys(details)[0])).toEqual(["new", "changes", "changes", "changes", "old"]);
  expect(changes[1].changes).toMatchObject({
    threshold: { old: 5, new: 2 },
    hours: { new: { days: [1, 2, 3, 4, 5, 6] } },
  });
  expect(changes[2].changes).toMatchObject({ hours: { new: null } });
  await closeAll();
});

test("each kind of rule is made in the form", { timeout: 120_000 }, async () => {
  const page = await openAs(ADMIN, "#/rule/new");
  const make = async (kind: string, fill: () => Promise<void>) => {
    await page.goto(`${viewer.info.viewer_url}/#/rule/new`);
    await page.reload();
    await field(page, "Name").fill(`made of ${kind}`);
    await field(page, "Raises an alert on").selectOption(kind);
    await fill();
    await page.getByRole("button", { name: "Save" }).click();
    await page.waitForURL(/#\/rules/);
  };
  const match = () => field(page, "Entries that match").fill("action:made.*");
  await make("event", match);
  await make("distinct", async () => {
    await match();
    await field(page, "Value").fill("ip");
  });
  await make("sum", async () => {
    await field(page, "Held against").selectOption("budgets");
    await field(page, "Shares of the budget, in percent").fill("50, 90.5");
  });
  await make("sequence", async () => {
    await match();
    await field(page, "followed by an entry that matches").fill("action:made.then");
    await field(page, "Told apart by, field 1").fill("actor");
  });
  await make("new_value", async () => {
    await match();
    await field(page, "Value").fill("provider");
    await field(page, "Allowed, one a line").fill("openai\nan, other");
    await field(page, "Over when nothing happened for").fill("");
  });
  await make("schedule", () => field(page, "Check").selectOption("sealing").then(() => undefined));
  const { rows } = await viewer.admin.query(
    "select kind, quiet_period, settings from audit.rules where name like 'made of %' order by kind",
  );
  expect(rows).toMatchObject([
    { kind: "distinct", settings: { value: "ip", window: "1h", threshold: 3 } },
    { kind: "event", settings: { group_by: [] } },
    { kind: "new_value", quiet_period: null, settings: { allowed: ["openai", "an, other"], value: "provider" } },
    { kind: "schedule", settings: { check: "sealing" } },
    { kind: "sequence", settings: { group_by: ["actor"], threshold: 3 } },
    { kind: "sum", settings: { against: "budgets", percent: [50, 90.5] } },
  ]);
  await closeAll();
});

test("from rule to rule by the address, each shows its own", async () => {
  const { rows } = await viewer.admin.query(
    "select id, name from audit.rules where name in ('Batch of queries', 'Unusual volume or cost') order by name",
  );
  const page = await openAs(ADMIN);
  for (const { id, name } of [...rows, rows[0]]) {
    await page.evaluate((address) => location.assign(address), `#/rule/${id}`);
    await expect.poll(() => field(page, "Name").inputValue()).toBe(name);
  }
  await page.evaluate(() => location.assign("#/rule/new"));
  await expect.poll(() => field(page, "Name").inputValue()).toBe("");
  await closeAll();
});

test("a default is tuned and comes back; auditors read, members see none of it", async () => {
  const page = await openAs(ADMIN, "#/rules");
  await rule(page, "Batch of queries").getByRole("link").click();
  expect(await field(page, "Name").isDisabled()).toBe(true);
  expect(await field(page, "Entries that match").isDisabled()).toBe(true);
  await field(page, "At least").fill("500");
  await page.getByRole("button", { name: "Save" }).click();
  await rule(page, "Batch of queries").getByText("tuned").waitFor();
  const { rows: [{ choice }] } = await viewer.admin.query(
    "select choice from audit.rule_choices where organization_id = $1 and choice ? 'threshold'",
    [
      ORGANIZATION,
    ],
  );
  expect(choice).toEqual({ threshold: 500 });
  await rule(page, "Batch of queries").getByRole("link").click();
  await page.getByRole("button", { name: "Back to the default" }).click();
  await page.waitForURL(/#\/rules/);
  await rule(page, "Batch of queries").waitFor();
  expect(await rule(page, "Batch of queries").getByText("tuned").count()).toBe(0);

  const auditor = await openAs(AUDITOR, "#/rules");
  await rule(auditor, "Batch of queries").waitFor();
  expect(await auditor.locator("main").getByRole("button").count()).toBe(0);
  await rule(auditor, "Batch of queries").getByRole("link").click();
  await auditor.getByText("Admins change rules; you read them.").waitFor();
  expect(await field(auditor, "At least").isDisabled()).toBe(true);
  expect(await auditor.getByRole("button", { name: "Save" }).count()).toBe(0);
  const member = await openAs(MEMBER, "#/rules");
  await member.getByRole("button", { name: "Sign out" }).waitFor();
  expect(await member.getByRole("article").count()).toBe(0);
  await closeAll();
});

test("a search is saved, shared by admins alone, found by others, and deleted", async () => {
  const page = await openAs(ADMIN, "#/activity?q=action:ruled.done");
  await page.getByText("Save this search").click();
  const name = field(page, "Save what is searched for as");
  await name.fill(HOSTILE);
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved as").waitFor();
  await name.fill(HOSTILE);
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("You keep a search of this name.").waitFor();
  expect(await name.getAttribute("aria-invalid")).toBe("true");
  expect(await page.locator("main img").count()).toBe(0);
  expect(await accessibilityFaults(page)).toEqual([]);
  expect(await entriesOf("saved_search.changed")).toEqual([]);
  await page.getByRole("button", { name: /^Share .* with everybody/ }).click();
  await page.getByText("is shared.").waitFor();
  expect(await entriesOf("saved_search.changed")).toMatchObject([{
    new: { name: HOSTILE, query: "action:ruled.done" },
  }]);

  const member = await openAs(MEMBER);
  await member.getByText("Saved searches (1)").click();
  await member.getByRole("button", { name: /onerror/ }).click();
  await expect.poll(() => member.getByRole("combobox", { name: "Search" }).inputValue()).toBe("action:ruled.done");
  expect(await member.getByRole("button", { name: "Delete" }).count()).toBe(0);
  expect(await member.getByRole("link", { name: "Alert me about this" }).count()).toBe(0);

  await page.getByRole("button", { name: /^Delete: / }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByText("Save this search").waitFor();
  expect((await entriesOf("saved_search.changed")).map((details) => Object.keys(details))).toEqual([["new"], ["old"]]);
  await closeAll();
});

test("the keyboard alone makes a rule", async () => {
  const page = await openAs(ADMIN, "#/rules");
  const tabTo = async (label: string) => {
    for (let n = 0; n < 80; n++) {
      const at = await page.evaluate(() => {
        const element = document.activeElement as HTMLInputElement | null;
        return element?.labels?.[0]?.textContent ?? element?.textContent ?? "";
      });
      if (at === label) return;
      await page.keyboard.press("Tab");
    }
    throw new Error(`the keyboard does not reach ${label}`);
  };
  await page.getByRole("link", { name: "Make a rule" }).waitFor();
  await tabTo("Make a rule");
  await page.keyboard.press("Enter");
  await field(page, "Name").waitFor();
  await tabTo("Name");
  await page.keyboard.type("By keys");
  await tabTo("Entries that match");
  await page.keyboard.type("action:keys.pressed");
  await page.keyboard.press("Escape");
  await tabTo("Save");
  await page.keyboard.press("Enter");
  await page.waitForURL(/#\/rules/);
  await rule(page, "By keys").waitFor();
  await closeAll();
});

test.each([["light", PHONE], ["dark", undefined]] as const)("axe finds nothing: %s", async (colorScheme, viewport) => {
  const options = { colorScheme, ...(viewport === undefined ? {} : { viewport }) };
  const page = await openAs(ADMIN, "#/rules", options);
  await rule(page, "Batch of queries").waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
  await shot(page, `rules-${colorScheme}`);
  for (const name of ["Activity at unusual hours", "Unexpected provider", "Unusual volume or cost"]) {
    await page.goto(`${viewer.info.viewer_url}/#/rules`);
    await rule(page, name).getByRole("link").click();
    await page.getByRole("button", { name: "Save" }).waitFor();
    expect([name, await accessibilityFaults(page)]).toEqual([name, []]);
    await shot(page, `rule-${name.split(" ").at(-1)}-${colorScheme}`);
  }
  await page.goto(`${viewer.info.viewer_url}/#/rule/new?match=action:ruled.*`);
  await page.getByRole("button", { name: "Build" }).click();
  await page.getByRole("group", { name: "Condition 1" }).waitFor();
  await page.getByRole("button", { name: "Try it" }).click();
  await page.locator(".firings").waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
  await shot(page, `rule-new-${colorScheme}`);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  await closeAll();
});
