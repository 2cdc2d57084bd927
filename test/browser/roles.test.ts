// Every page for each role, and a role that ends while its person looks.
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ADMIN, AUDITOR, MEMBER, ORGANIZATION, startViewer, VIEWER, type Viewer } from "./support.ts";

let viewer: Viewer;
let openAs: Viewer["openAs"];

const idOf = (email: string) => viewer.info.users.find((user) => user.email === email)!.id;
const grant = (lasting: string) =>
  viewer.admin.query("select audit.grant_auditor($1, $2, now() + $3::interval)", [
    ORGANIZATION,
    idOf(AUDITOR),
    lasting,
  ]);
const setRole = (email: string, role: string) =>
  viewer.admin.query("update public.organization_members set role = $3 where organization_id = $1 and user_id = $2", [
    ORGANIZATION,
    idOf(email),
    role,
  ]);
const denials = async () =>
  (await viewer.admin.query("select count(*)::int as n from public.audit_logs where action = 'access.denied'")).rows[0]
    .n;

beforeAll(async () => {
  viewer = await startViewer();
  ({ openAs } = viewer);
});
beforeEach(() => grant("30 days"));
afterEach(() => viewer.closeAll());
afterAll(() => viewer?.stop());

describe("what each role finds on every page", () => {
  const VIEWS = ["activity", "alerts", "costs", "reports", "health", "settings"];
  const NOT_YOURS = "This page is not for your role.";
  const NOTHING = "There is nothing for you to see here";

  test.each([
    [ADMIN, VIEWS],
    [AUDITOR, ["activity", "alerts", "costs", "reports", "health"]],
    [MEMBER, ["activity", "costs"]],
    [VIEWER, []],
  ])("%s", async (email, allowed) => {
    const before = await denials();
    const page = await openAs(email);
    if (allowed.length > 0) {
      const links = page.getByRole("navigation", { name: "Audit log" }).getByRole("link");
      await links.first().waitFor();
      expect((await links.allInnerTexts()).map((name) => name.toLowerCase())).toEqual(allowed);
    }
    for (const view of VIEWS) {
      await page.goto(`${viewer.info.viewer_url}/#/${view}`);
      if (allowed.length === 0) await page.getByRole("heading", { name: NOTHING }).waitFor();
      else if (!allowed.includes(view)) await page.getByText(NOT_YOURS).waitFor();
      else {await page.getByRole("heading", { level: 1, name: new RegExp(`^${view}$`, "i") }).waitFor({
          state: "attached",
        });}
      expect(await page.getByRole("alert").count()).toBe(0);
    }
    // The page does not ask for what the role may not see.
    expect(await denials()).toBe(before);
  });

  test("auditors see schedules and channels' state, and nothing to press", async () => {
    const page = await openAs(AUDITOR, "#/reports");
    const schedules = page.getByRole("region", { name: "By schedule" });
    await schedules.getByText("Statement of integrity").waitFor();
    expect(await schedules.getByRole("button").count()).toBe(0);
  });
});

describe("a role that ends while its person looks", () => {
  test("an admin who is made a member saves nothing, and is told", async () => {
    const page = await openAs(ADMIN, "#/settings");
    // All that the page asks for is there: from then on the role is missed by what is saved.
    await page.getByText("Nothing was given up.").waitFor();
    await page.getByRole("group", { name: "Hours of work" }).waitFor();
    const holds = page.getByRole("region", { name: "Legal holds" });
    await holds.getByLabel("Name").fill("Too late");
    await holds.getByLabel("Reason").fill("A reason");
    try {
      await setRole(ADMIN, "member");
      await holds.getByRole("button", { name: "Place the hold" }).click();
      await page.getByText("You see your own activity.").waitFor();
      await page.getByText("This page is not for your role.").waitFor();
      expect(await page.getByRole("link", { name: "Settings" }).count()).toBe(0);
      const { rows } = await viewer.admin.query("select from audit.holds where name = 'Too late'");
      expect(rows).toEqual([]);
    } finally {
      await setRole(ADMIN, "admin");
    }
  });

  const gone = (page: Page) => page.getByRole("heading", { name: "There is nothing for you to see here" }).waitFor();

  test("an auditor whose access is revoked finds nothing at the next look", async () => {
    const page = await openAs(AUDITOR, "#/health");
    await page.getByRole("button", { name: "Look again" }).waitFor();
    await viewer.admin.query("select audit.revoke_auditor($1, $2)", [ORGANIZATION, idOf(AUDITOR)]);
    await page.getByRole("button", { name: "Look again" }).click();
    await gone(page);
    expect(await page.getByRole("navigation").count()).toBe(0);
  });

  test("an auditor whose time is over is told so, without a look", async () => {
    await grant("6 seconds");
    const page = await openAs(AUDITOR, "#/health");
    await page.getByText(/as its auditor until/).waitFor();
    await gone(page);
  });

  test("until when is shown to the second, in the reader's time zone", async () => {
    await viewer.admin.query("select audit.grant_auditor($1, $2, '2999-03-01T12:00:00Z')", [
      ORGANIZATION,
      idOf(AUDITOR),
    ]);
    const page = await openAs(AUDITOR, "", { timezoneId: "Asia/Tokyo" });
    await page.getByText("as its auditor until 1 Mar 2999, 21:00:00").waitFor();
  });
});
