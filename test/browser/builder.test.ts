// The query builder: in step with text and terms, honest about what cannot be read, and for the keyboard alone.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { accessibilityFaults, ADMIN, PHONE, startViewer, type Viewer } from "./support.ts";

let viewer: Viewer;
let openAs: Viewer["openAs"];
let closeAll: Viewer["closeAll"];

beforeAll(async () => {
  viewer = await startViewer();
  ({ openAs, closeAll } = viewer);
  await viewer.record("built.done", { provider: "openai" });
  await viewer.record("built.other", { provider: "anthropic" });
});
afterAll(() => viewer?.stop());

const box = (page: Page) => page.getByRole("combobox", { name: "Search" });
const condition = (page: Page, nth: number) => page.getByRole("group", { name: `Condition ${nth}`, exact: true });
const field = (page: Page, nth: number) => condition(page, nth).getByLabel("Field");
const value = (page: Page, nth: number) => condition(page, nth).getByLabel("Value", { exact: true });
const build = (page: Page) => page.getByRole("button", { name: "Build" }).click();
const terms = (page: Page) => page.locator(".chips bdi").allInnerTexts();

test("what is typed is shown as conditions, and what is chosen is written", async () => {
  const page = await openAs(ADMIN, "#/activity?q=action:built.*");
  await build(page);
  await expect.poll(() => value(page, 1).inputValue()).toBe("built.*");
  expect(await condition(page, 1).getByLabel("Comparison").inputValue()).toBe("like");

  await page.getByRole("button", { name: "Add a condition" }).first().click();
  expect(await field(page, 2).evaluate((element) => element === document.activeElement)).toBe(true);
  expect(await box(page).inputValue()).toBe("action:built.*");
  await condition(page, 2).getByText("something is missing").waitFor();
  await field(page, 2).selectOption("provider");
  expect(
    await condition(page, 2).locator("datalist option").evaluateAll((all) =>
      all.map((each) => (each as HTMLOptionElement).value)
    ),
  )
    .toEqual(expect.arrayContaining(["openai", "anthropic"]));
  await value(page, 2).fill("openai");
  expect(await box(page).inputValue()).toBe("action:built.* provider:openai");
  await condition(page, 2).getByLabel("not").check();
  expect(await box(page).inputValue()).toBe("action:built.* -provider:openai");
  expect(await terms(page)).toEqual(["action:built.*", "-provider:openai"]);

  await page.getByRole("button", { name: "Add a group" }).first().click();
  const group = page.getByRole("group", { name: "Group 3" });
  await group.getByLabel("Field").selectOption("path");
  await group.getByLabel("Path").fill('details."two words".cost');
  await group.getByLabel("Comparison").selectOption("between");
  await group.getByLabel("From").fill("1");
  await group.getByLabel("To", { exact: true }).fill('a "b"');
  await group.getByRole("button", { name: "Add a condition" }).click();
  await group.getByRole("group", { name: "Condition 2" }).getByLabel("Field").selectOption("outcome");
  await group.getByRole("group", { name: "Condition 2" }).getByLabel("Comparison").selectOption("in");
  await group.getByRole("group", { name: "Condition 2" }).getByLabel("Value", { exact: true }).fill("denied");
  await group.getByRole("group", { name: "Condition 2" }).getByLabel("Another value").fill("failure");
  await expect.poll(() => box(page).inputValue()).toBe(
    `action:built.* -provider:openai (details."two words".cost:1.."a \\"b\\"" or outcome:(denied or failure))`,
  );
  await page.getByRole("button", { name: "Remove the group" }).click();
  expect(await box(page).inputValue()).toBe("action:built.* -provider:openai");
  await page.locator("#q-builder").getByRole("button", { name: "Search" }).click();
  await page.waitForURL(/provider/);
  await expect.poll(() => page.locator(".rows [role=row]").count()).toBe(1);

  // The other way round, and by a chip.
  await box(page).fill("-(action:a.b or cost:>0.5) user_agent:*");
  const typedGroup = page.getByRole("group", { name: "Group 1" });
  await typedGroup.waitFor();
  expect(await typedGroup.getByLabel("not").first().isChecked()).toBe(true);
  expect(await typedGroup.getByLabel("How the conditions go together").inputValue()).toBe("any");
  expect(await condition(page, 2).last().getByLabel("Comparison").inputValue()).toBe("exists");
  await page.getByRole("button", { name: "Remove user_agent:*" }).click();
  await expect.poll(() => page.getByLabel("Field").count()).toBe(2);
  await page.getByRole("button", { name: "Clear the search" }).click();
  await expect.poll(() => page.getByLabel("Field").count()).toBe(1);
  await closeAll();
});

test("what cannot be read is said where it stands, and nothing is overwritten", async () => {
  const page = await openAs(ADMIN, "#/activity?q=action:built.*");
  await build(page);
  await expect.poll(() => value(page, 1).inputValue()).toBe("built.*");
  await box(page).fill("action:built.* (provider:x");
  await page.locator(".builder [role=alert]").getByText("A parenthesis is not closed.").waitFor();
  expect(await value(page, 1).isDisabled()).toBe(true);
  await box(page).fill("action:built.*");
  await page.locator(".builder [role=alert]").waitFor({ state: "detached" });
  await field(page, 1).selectOption("cost");
  await value(page, 1).fill("much");
  expect(await box(page).inputValue()).toBe("cost:much");
  await condition(page, 1).getByText('cost is compared with a number, not with "much"').waitFor();
  expect(await value(page, 1).getAttribute("aria-invalid")).toBe("true");
  await value(page, 1).fill("1");
  await condition(page, 1).getByText("is compared").waitFor({ state: "detached" });

  await page.context().setOffline(true);
  await box(page).fill("action:other.*");
  await page.getByText("The network is gone.").waitFor();
  expect(await value(page, 1).isDisabled()).toBe(true);
  await page.context().setOffline(false);
  await expect.poll(() => value(page, 1).inputValue()).toBe("other.*");
  await closeAll();
});

test("what is chosen before the page was painted is kept", async () => {
  const page = await openAs(ADMIN, "#/activity");
  await page.getByRole("button", { name: "Build" }).waitFor();
  await page.evaluate(async () => {
    document.querySelector<HTMLElement>("[aria-controls=q-builder]")!.click();
    // Preact draws in a microtask, and lets effects wait for the paint.
    await Promise.resolve();
    await Promise.resolve();
    const field = document.querySelector<HTMLSelectElement>("#q-builder li select")!;
    field.value = "provider";
    field.dispatchEvent(new Event("change", { bubbles: true }));
  });
  await page.waitForTimeout(300);
  expect(await field(page, 1).inputValue()).toBe("provider");
  await closeAll();
});

test("the keyboard alone builds a search and runs it", async () => {
  const page = await openAs(ADMIN, "#/activity");
  const press = async (...keys: string[]) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  await box(page).focus();
  await press("Tab", "Tab", "Enter");
  await condition(page, 1).waitFor();
  // How they go together, whether not, field, comparison, value.
  await press("Tab", "Tab", "Space", "Tab");
  await page.keyboard.type("provider");
  await press("Tab", "Tab");
  await page.keyboard.type("openai");
  expect(await box(page).inputValue()).toBe("-provider:openai");
  await press("Tab", "Tab", "Enter");
  expect(await field(page, 2).evaluate((element) => element === document.activeElement)).toBe(true);
  await press("Tab", "Tab");
  await page.keyboard.type("built.other");
  await press("Enter");
  await page.waitForURL(/built\.other/);
  await expect.poll(() => page.locator(".rows [role=row]").count()).toBe(1);
  expect(await box(page).inputValue()).toBe("-provider:openai action:built.other");
  // Removing leaves the focus where one goes on.
  await condition(page, 2).getByRole("button", { name: "Remove condition 2" }).press("Enter");
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Add a condition");
  await closeAll();
});

test.each([["light", undefined], ["dark", PHONE]] as const)("axe finds nothing: %s", async (colorScheme, viewport) => {
  const page = await openAs(
    ADMIN,
    `#/activity?q=${encodeURIComponent("action:built.* -(details.a.b:1..2 or provider:(a or b or c))")}`,
    { colorScheme, ...(viewport === undefined ? {} : { viewport }) },
  );
  await build(page);
  await page.getByLabel("Path").waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/builder-${colorScheme}.png` });
  await closeAll();
});
