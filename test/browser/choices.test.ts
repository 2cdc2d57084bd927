// What admins choose in the viewer: settings, retention, holds, auditors, channels, schedules. Each does what it says, is
// an entry, and can be done by the keyboard alone.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AlertReceiver, openAlert, startAlertReceiver, verifies } from "../support/alerting.ts";
import { accessibilityFaults, ADMIN, AUDITOR, ORGANIZATION, PHONE, startViewer, type Viewer } from "./support.ts";

let viewer: Viewer;
let receiver: AlertReceiver;
let openAs: Viewer["openAs"];
let closeAll: Viewer["closeAll"];

beforeAll(async () => {
  [viewer, receiver] = await Promise.all([startViewer(), startAlertReceiver()]);
  ({ openAs, closeAll } = viewer);
  await viewer.admin.query("select audit.configure('local_channels', 'true')");
});
afterAll(async () => {
  await receiver?.stop();
  await viewer?.stop();
});

const part = (page: Page, name: string) => page.getByRole("region", { name, exact: true });

/** What the admin did, newest first. */
async function done(action: string) {
  const { rows } = await viewer.admin.query(
    "select resource_id, details from public.audit_logs where organization_id = $1 and action = $2 and created_by = $3 order by created_at desc",
    [ORGANIZATION, action, viewer.info.users.find(({ email }) => email === ADMIN)!.id],
  );
  return rows;
}

/** Waits until whatever alerts what was done so far raises are open. */
async function judged() {
  const { rows: [{ now }] } = await viewer.admin.query("select clock_timestamp()::text as now");
  await expect.poll(async () => {
    const { rows: [{ waiting }] } = await viewer.admin.query(
      `select count(*)::int as waiting from public.audit_logs e
       where e.organization_id = $1 and e.created_at <= $2 and not exists (
         select from audit.rule_positions p where p.organization_id = e.organization_id and p.chain = e.chain and p.seq >= e.seq
       )`,
      [ORGANIZATION, now],
    );
    return waiting;
  }, { timeout: 30_000 }).toBe(0);
}

async function setting(name: string) {
  const { rows: [{ value }] } = await viewer.admin.query("select audit.setting($1, $2) as value", [name, ORGANIZATION]);
  return value;
}

describe("settings", () => {
  test("what is recorded is chosen, shown again, and not changed twice in a moment", async () => {
    const page = await openAs(ADMIN, "#/settings");
    const recording = part(page, "What is recorded");
    await recording.getByLabel("Cut to their network").check();
    await recording.getByLabel("The text of queries").check();
    await recording.getByRole("button", { name: "Save" }).click();
    await recording.getByText("Saved. The change is in the log.").waitFor();
    expect([await setting("ip_addresses"), await setting("query_text")]).toEqual(["truncated", true]);
    expect((await done("capture.changed")).map(({ resource_id }) => resource_id).slice(0, 2).sort())
      .toEqual(["ip_addresses", "query_text"]);
    await recording.getByLabel("Not at all").check();
    await recording.getByRole("button", { name: "Save" }).click();
    await recording.getByRole("alert").getByText("changed a moment ago").waitFor();
    await page.reload();
    expect(await part(page, "What is recorded").getByLabel("Cut to their network").isChecked()).toBe(true);
    await closeAll();
  });

  test("time zone and hours of work", async () => {
    const page = await openAs(ADMIN, "#/settings");
    const hours = part(page, "Time zone and hours of work");
    await hours.getByLabel("Time zone of the organisation").selectOption("Asia/Tokyo");
    await hours.getByRole("button", { name: "Save the time zone" }).click();
    await expect.poll(() => setting("time_zone")).toBe("Asia/Tokyo");
    await hours.getByLabel("Given").check();
    await hours.getByLabel("Fri", { exact: true }).uncheck();
    await hours.getByLabel("From", { exact: true }).fill("09:30");
    const before = (await done("rule.changed")).length;
    await hours.getByRole("button", { name: "Save the hours" }).click();
    await expect.poll(async () => (await done("rule.changed")).length).toBe(before + 1);
    const { rows } = await viewer.admin.query(
      "select choice from audit.rule_choices where organization_id = $1 and rule_id = '00000000-0000-4000-a000-000000000605'",
      [ORGANIZATION],
    );
    expect(rows).toEqual([{ choice: { hours: { days: [1, 2, 3, 4], from: "09:30", to: "18:00" } } }]);
    await page.reload();
    expect(await hours.getByLabel("Fri", { exact: true }).isChecked()).toBe(false);
    await viewer.admin.query("select audit.configure('time_zone', '\"Europe/Berlin\"', $1)", [ORGANIZATION]);
    await closeAll();
  });
});

describe("retention and holds", () => {
  test("by the keyboard alone: a shorter period is explained, confirmed, waits, and is taken back", async () => {
    const page = await openAs(ADMIN, "#/settings");
    const keeping = part(page, "Retention");
    await keeping.getByLabel("Days in the database").focus();
    await page.keyboard.type("100");
    await page.keyboard.press("Tab");
    await page.keyboard.type("400");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: "Change how long entries are kept?" });
    await dialog.getByText("Entries stay 100 days in the database and 400 days in the archive.").waitFor();
    await dialog.getByText(/wait for 7 days.*apply from/).waitFor();
    await dialog.getByText("cannot be undone").waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    // Escape changes nothing.
    await page.keyboard.press("Escape");
    expect(await done("retention.changed")).toEqual([]);
    await page.keyboard.press("Enter");
    await page.keyboard.press("Enter");
    await keeping.getByText(/From .* on: 100 days in the database, 400 days in the archive/).waitFor();
    expect(await done("retention.changed")).toHaveLength(1);
    await keeping.getByRole("button", { name: "Take the waiting change back" }).focus();
    await page.keyboard.press("Enter");
    await expect.poll(async () => (await done("retention.changed")).length).toBe(2);
    await keeping.getByText("Entries stay for ever in the database").first().waitFor();
    expect(await keeping.getByText(/From .* on:/).count()).toBe(0);
    await closeAll();
  });

  test("what cannot be is refused in words", async () => {
    const page = await openAs(ADMIN, "#/settings");
    const keeping = part(page, "Retention");
    await keeping.getByLabel("Days in the archive").fill("100");
    await keeping.getByRole("button", { name: "Change" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Change" }).click();
    await keeping.getByRole("alert").getByText("in the archive no shorter").waitFor();
    await closeAll();
  });

  test("a hold is placed with a hostile name, shown as text on both pages, and released", async () => {
    const name = `<img src=x onerror="alert(1)"> \u202Elive`;
    const page = await openAs(ADMIN, "#/settings");
    const holds = part(page, "Legal holds");
    await holds.getByLabel("Name").fill(name);
    await holds.getByLabel("Reason").fill("Court order 7/2026");
    await holds.getByRole("button", { name: "Place the hold" }).click();
    await holds.getByRole("listitem").getByText("Court order 7/2026").waitFor();
    expect(await holds.getByRole("listitem").innerText()).toContain(`<img src=x onerror="alert(1)">`);
    await page.goto(`${viewer.info.viewer_url}/#/health`);
    await page.getByText("Nothing is deleted while these legal holds are in place").waitFor();
    await page.goto(`${viewer.info.viewer_url}/#/settings`);
    await holds.getByRole("button", { name: "Release" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Release" }).click();
    await holds.getByText("No legal hold is in place.").waitFor();
    expect([(await done("hold.placed"))[0].resource_id, (await done("hold.released"))[0].resource_id]).toEqual([
      name,
      name,
    ]);
    await closeAll();
  });
});

test("an auditor is let in by the user id that the page shows, until a day, and out again", async () => {
  const user = viewer.info.users.find(({ email }) => email === AUDITOR)!.id;
  await viewer.admin.query("select audit.revoke_auditor($1, $2)", [ORGANIZATION, user]);
  const stranger = await openAs(AUDITOR);
  await stranger.getByRole("heading", { name: "There is nothing for you to see here" }).waitFor();
  const shown = await stranger.locator("code").innerText();
  expect(shown).toBe(user);

  const page = await openAs(ADMIN, "#/settings");
  const auditors = part(page, "Auditors");
  await auditors.getByLabel("User id").fill("ingrid");
  await auditors.getByLabel("Until the end of").fill("2999-12-31");
  await auditors.getByRole("button", { name: "Grant access" }).click();
  expect(await auditors.getByLabel("User id").evaluate((input: HTMLInputElement) => input.validity.patternMismatch))
    .toBe(true);
  await auditors.getByLabel("User id").fill(` ${shown} `);
  await auditors.getByLabel("Show e-mail and IP addresses").check();
  await auditors.getByRole("button", { name: "Grant access" }).click();
  await auditors.getByText(/Until 31 Dec 2999.*sees e-mail and IP addresses/).waitFor();
  expect((await done("auditor.granted"))[0]).toMatchObject({ resource_id: user, details: { sees_identities: true } });

  await stranger.reload();
  await stranger.getByText(/as its auditor until 31 Dec 2999/).waitFor();
  await stranger.goto(`${viewer.info.viewer_url}/#/health`);
  await stranger.getByRole("heading", { name: "Health" }).waitFor();

  await auditors.getByRole("button", { name: /^Revoke/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await auditors.getByText("Nobody audits this log.").waitFor();
  await stranger.getByRole("button", { name: "Look again" }).click();
  await stranger.getByRole("heading", { name: "There is nothing for you to see here" }).waitFor();
  await closeAll();
});

describe("channels", () => {
  test("are made, tested, given a new secret, disabled, enabled, sent what they missed, and deleted", async () => {
    await judged();
    const page = await openAs(ADMIN, "#/settings");
    const channels = part(page, "Channels");
    const item = channels.getByRole("listitem").filter({ hasText: "ops" });
    const confirmed = async (name: string) => {
      await item.getByRole("button", { name: new RegExp(`^${name}`) }).click();
      await page.getByRole("dialog").getByRole("button", { name }).click();
    };
    await channels.getByLabel("Name", { exact: true }).fill("ops");
    await channels.getByLabel("Address (https://…)").fill(`${receiver.url}/ops`);
    await channels.getByRole("button", { name: "Create the channel" }).click();
    const secret = await channels.locator(".secret code").innerText();
    expect(secret).toMatch(/^whsec_/);
    expect(await accessibilityFaults(page)).toEqual([]);
    await channels.getByRole("button", { name: "I have kept it" }).click();
    expect(await page.getByText(secret).count()).toBe(0);

    await item.getByRole("button", { name: "Test: ops" }).click();
    await item.getByText("It took the message.").waitFor();
    expect(receiver.taken.map(({ body }) => body.type)).toEqual(["channel.test"]);
    expect(verifies(receiver.taken[0]!, secret)).toBe(true);

    await confirmed("New secret");
    const renewed = await channels.locator(".secret code").innerText();
    expect(renewed).not.toBe(secret);
    await item.getByText("Messages are signed with the old secret too").waitFor();

    await confirmed("Disable");
    await item.getByText(/Disabled since .*: by an admin/).waitFor();
    await openAlert(viewer.admin, { organization: ORGANIZATION });
    await page.reload();
    await channels.getByText("An alert was opened, to ops").waitFor();
    await item.getByRole("button", { name: "Enable: ops" }).click();
    await item.getByRole("button", { name: "Disable: ops" }).waitFor();
    receiver.taken = [];
    await channels.getByRole("button", { name: "Send again" }).click();
    await channels.getByText("Nothing was given up.").waitFor();
    await expect.poll(() => receiver.taken.map(({ body }) => body.type), { timeout: 30_000 }).toEqual(["alert.opened"]);

    receiver.behave = () => ({ status: 500 });
    await item.getByRole("button", { name: "Test: ops" }).click();
    await item.getByText(/It did not take the message: http_500/).waitFor();
    receiver.behave = () => undefined;
    await confirmed("Delete");
    await channels.getByText("There is no channel").waitFor();
    for (const action of ["created", "tested", "changed", "disabled", "enabled", "deleted"]) {
      expect([action, (await done(`channel.${action}`)).length > 0]).toEqual([action, true]);
    }
    await closeAll();
  });

  test("that lead nowhere are refused in words, and what was typed stays", async () => {
    const page = await openAs(ADMIN, "#/settings");
    const channels = part(page, "Channels");
    await channels.getByLabel("Kind").selectOption("smtp");
    for (const [label, value] of Object.entries({ Name: "mail", To: "ada@example.com", From: "log@example.com" })) {
      await channels.getByLabel(label, { exact: label !== "To" }).fill(value);
    }
    await channels.getByLabel("Mail server").fill("10.0.0.1");
    await channels.getByLabel(/^Port/).fill("465");
    await channels.getByLabel("Username").fill("log");
    await channels.getByLabel("Password").fill("not shown");
    await channels.getByRole("button", { name: "Create the channel" }).click();
    await channels.getByRole("alert").getByText("The host is not a public name.").waitFor();
    expect(await channels.getByLabel("Mail server").inputValue()).toBe("10.0.0.1");
    await closeAll();
  });
});

describe("schedules", () => {
  test("are made with the next times in words, paused, resumed and deleted", async () => {
    const page = await openAs(ADMIN, "#/reports");
    const schedules = part(page, "By schedule");
    const form = schedules.getByRole("form", { name: "Have a report made by schedule" });
    await form.getByLabel("Report").selectOption("costs");
    await form.getByLabel("How often").selectOption("week");
    expect(await form.getByLabel("When (cron)").inputValue()).toBe("0 6 * * 1");
    await form.getByLabel("When (cron)").fill("every day");
    await form.getByText("This is no time that comes round.").waitFor();
    expect(await form.getByRole("button", { name: "Create the schedule" }).isDisabled()).toBe(true);
    await form.getByLabel("When (cron)").fill("30 7 1 2 *");
    await form.getByLabel("Time zone").selectOption("Asia/Tokyo");
    await form.getByText(/Next: 1 Feb \d{4}, 07:30:00; 1 Feb \d{4}, 07:30:00; 1 Feb \d{4}, 07:30:00/).waitFor();
    await form.getByRole("button", { name: "Create the schedule" }).click();
    const item = schedules.getByRole("listitem").filter({ hasText: "30 7 1 2 *" });
    await item.getByText("To: the usual channels").waitFor();
    await item.getByRole("button", { name: /^Pause/ }).click();
    await item.getByText(/Paused since/).waitFor();
    await item.getByRole("button", { name: /^Go on/ }).click();
    await item.getByText(/Next: 1 Feb/).waitFor();
    await item.getByRole("button", { name: /^Delete/ }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await item.waitFor({ state: "detached" });
    for (const action of ["scheduled", "paused", "resumed", "unscheduled"]) {
      expect([action, (await done(`report.${action}`)).length]).toEqual([action, 1]);
    }
    // What is made for every organisation is its owner's.
    expect(
      await schedules.getByRole("listitem").filter({ hasText: "for every organisation" }).getByRole("button").count(),
    ).toBe(0);
    await closeAll();
  });
});

describe("for everyone", () => {
  const hold = "Case " + "x".repeat(150);
  beforeAll(() => viewer.admin.query("select audit.place_hold($1, $2, 'A reason')", [ORGANIZATION, hold]));
  afterAll(() => viewer.admin.query("select audit.release_hold($1, $2)", [ORGANIZATION, hold]));

  test.each([["light", "desktop"], ["dark", "desktop"], ["light", "phone"], ["dark", "phone"]])(
    "axe finds nothing, and nothing is scrolled sideways: %s, %s",
    async (colorScheme, size) => {
      const page = await openAs(ADMIN, "", {
        colorScheme: colorScheme as "light" | "dark",
        ...(size === "phone" ? { viewport: PHONE } : {}),
      });
      for (
        const [address, ready] of [
          ["health", "Retention"],
          ["settings", "What did not arrive"],
          ["reports", "Have a report made by schedule"],
          ["alerts", "Alerts"],
          ["costs", "Costs"],
        ] as const
      ) {
        await page.goto(`${viewer.info.viewer_url}/#/${address}`);
        await page.getByRole("heading", { name: ready }).waitFor();
        if (address === "settings") await page.getByLabel("Given").check();
        expect([address, await accessibilityFaults(page)]).toEqual([address, []]);
        expect([address, await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)]).toEqual([
          address,
          0,
        ]);
      }
      await closeAll();
    },
  );

  test.each(["health", "settings", "reports"])("the keyboard reaches everything on the page: %s", async (address) => {
    const page = await openAs(ADMIN, `#/${address}`);
    await page.getByRole("heading", { level: 2 }).last().waitFor();
    await page.waitForLoadState("networkidle");
    const wanted = await page.evaluate(() => {
      const all = [
        ...document.querySelectorAll<HTMLElement>("main a[href], main button, main input, main select, main summary"),
      ]
        .filter((element) => element.checkVisibility() && !(element as HTMLButtonElement).disabled)
        // Of a group of radio buttons the chosen one is reached, and arrows lead to the others.
        .filter((element) => element.getAttribute("type") !== "radio" || (element as HTMLInputElement).checked);
      all.forEach((element, n) => element.dataset.wanted = String(n));
      return all.length;
    });
    expect(wanted).toBeGreaterThan(0);
    const reached = new Set<string>();
    const unseen: string[] = [];
    await page.locator("h1").click();
    // A field of a date has several stops.
    for (let n = 0; n < wanted * 4 + 20; n++) {
      await page.keyboard.press("Tab");
      const at = await page.evaluate(() => {
        const active = document.activeElement as HTMLElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(active);
        return {
          n: active.dataset.wanted,
          seen: outlineStyle !== "none" && outlineWidth !== "0px",
          html: active.outerHTML,
        };
      });
      if (at.n === undefined) continue;
      reached.add(at.n);
      if (!at.seen) unseen.push(at.html);
    }
    expect([reached.size, unseen]).toEqual([wanted, []]);
    await closeAll();
  });
});
