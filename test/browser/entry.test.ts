// One entry: where, when in whose time, what else its request did, what else happened to its resource.
import { afterAll, beforeAll, expect, test } from "vitest";
import { accessibilityFaults, ADMIN, AUDITOR, MEMBER, ORGANIZATION, startViewer, type Viewer } from "./support.ts";

let viewer: Viewer;
let name: string;

/** Writes entries in one request from an address. */
async function request(address: string, actions: string[]): Promise<string[]> {
  const { admin, info } = viewer;
  const sub = info.users.find(({ email }) => email === MEMBER)!.id;
  await admin.query("begin");
  await admin.query("select set_config('request.jwt.claims', $1, true), set_config('request.headers', $2, true)", [
    JSON.stringify({ sub, email: MEMBER, role: "authenticated" }),
    JSON.stringify({ "x-forwarded-for": address, "user-agent": "A browser", "x-request-id": `of-${actions[0]}` }),
  ]);
  const names: string[] = [];
  for (const action of actions) {
    const { rows } = await admin.query("select chain || '-' || seq as name from audit.record($1, $2, 'thing', 'it')", [
      ORGANIZATION,
      action,
    ]);
    names.push(rows[0].name);
  }
  await admin.query("commit");
  return names;
}

beforeAll(async () => {
  viewer = await startViewer();
  await viewer.admin.query(`
    delete from audit.place_ranges; delete from audit.places; delete from audit.place_data;
    insert into audit.places values (1, 'DE', 'Bavaria', 'Munich'), (2, 'ZZ', null, null);
    insert into audit.place_ranges values ('203.0.113.0', 1), ('203.0.114.0', null), ('198.51.100.0', 2), ('198.51.101.0', null), ('::', null);
    insert into audit.place_data (attribution) values ('IP Geolocation by <b>somebody</b>');
  `);
  await viewer.admin.query("select audit.configure('time_zone', '\"Europe/Berlin\"', $1)", [ORGANIZATION]);
  [name] = await request("203.0.113.9", ["placed.one", "placed.two"]) as [string];
});
afterAll(async () => {
  await viewer?.admin.query("delete from audit.place_ranges; delete from audit.places; delete from audit.place_data");
  await viewer?.stop();
});

test("where it was, by whose data, and when in three time zones", async () => {
  const page = await viewer.openAs(ADMIN, `#/entry/${name}`, { timezoneId: "America/New_York" });
  await page.getByText("Munich, Bavaria, Germany").waitFor();
  expect(await page.locator("dl").innerText()).toContain("IP Geolocation by <b>somebody</b>");
  const { rows: [{ at }] } = await viewer.admin.query(
    "select created_at as at from public.audit_logs where organization_id = $1 and chain || '-' || seq = $2",
    [ORGANIZATION, name],
  );
  const text = (await page.locator("dd").first().innerText()).replace(/\s+/g, " ");
  for (const [timeZone, label] of [["America/New_York", ""], ["Europe/Berlin", " Europe/Berlin"], ["UTC", " UTC"]]) {
    const said = at.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium", timeZone });
    expect(text).toContain(`${said}${label}`);
  }
  expect(await accessibilityFaults(page)).toEqual([]);
  await viewer.closeAll();
});

test("a country without a name is its code; who does not see the address is not told where it is", async () => {
  const [other] = await request("198.51.100.7", ["placed.elsewhere"]);
  const page = await viewer.openAs(ADMIN, `#/entry/${other}`);
  await page.locator("article").waitFor();
  expect(await page.locator("dl").innerText()).toMatch(/Where\s+(ZZ|Unknown Region)/);
  const auditor = viewer.info.users.find(({ email }) => email === AUDITOR)!.id;
  await viewer.admin.query("select audit.grant_auditor($1, $2, now() + interval '1 day')", [ORGANIZATION, auditor]);
  const outside = await viewer.openAs(AUDITOR, `#/entry/${name}`);
  await outside.locator("article").waitFor();
  expect(await outside.locator("article").innerText()).not.toMatch(/Germany|203\.0\.113/);
  await viewer.closeAll();
});

test("what else its request did, and what else happened to its resource", async () => {
  const page = await viewer.openAs(ADMIN, `#/entry/${name}`);
  const request = page.getByRole("heading", { name: "In the same request" });
  await request.waitFor();
  const others = request.locator("..").getByRole("link");
  expect(await others.allInnerTexts()).toEqual(["placed.two"]);
  await others.first().click();
  await page.getByRole("heading", { level: 1, name: "placed.two" }).waitFor();
  await page.getByRole("link", { name: "its history" }).click();
  await page.waitForURL(/activity/);
  const rows = page.locator(".rows [role=row]");
  await expect.poll(() => rows.count()).toBe(3);
  expect((await rows.locator(".what").allInnerTexts()).sort()).toEqual([
    "placed.elsewhere",
    "placed.one",
    "placed.two",
  ]);
  await viewer.closeAll();
});
