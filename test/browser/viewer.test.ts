// The viewer in a real browser on a real local stack: what each role sees, proofs, hostile content, and what goes wrong
// while somebody looks.
import { readdir, readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  accessibilityFaults,
  ADMIN,
  AUDITOR,
  MEMBER,
  ORGANIZATION,
  PHONE,
  scrollUntil,
  signIn,
  startViewer,
  VIEWER,
  type Viewer,
} from "./support.ts";

let viewer: Viewer;
let openAs: Viewer["openAs"];
let record: Viewer["record"];
let closeAll: Viewer["closeAll"];

beforeAll(async () => {
  viewer = await startViewer();
  ({ openAs, record, closeAll } = viewer);
  const auditor = viewer.info.users.find(({ email }) => email === AUDITOR)!.id;
  await viewer.admin.query("select audit.grant_auditor($1, $2, now() + interval '30 days')", [ORGANIZATION, auditor]);
});
afterAll(() => viewer?.stop());

/** Changes an entry as only a superuser can, with the guards off. */
async function tamper(name: string, change: string): Promise<() => Promise<void>> {
  const [chain, seq] = name.split("-");
  const where = `organization_id = '${ORGANIZATION}' and chain = ${chain} and seq = ${seq}`;
  const { rows: [before] } = await viewer.admin.query(`select details, hash from public.audit_logs where ${where}`);
  const { rows: guards } = await viewer.admin.query(
    `select tgrelid::regclass::text as table, quote_ident(tgname) as name, tgenabled = 'A' as always from pg_trigger
     where not tgisinternal and tgrelid in (
       select tableoid from public.audit_logs where ${where} union select 'public.audit_logs'::regclass
     )`,
  );
  const update = async (set: string, values: unknown[] = []) => {
    await viewer.admin.query("begin");
    for (const { table, name } of guards) await viewer.admin.query(`alter table ${table} disable trigger ${name}`);
    await viewer.admin.query(`update public.audit_logs set ${set} where ${where}`, values);
    for (const { table, name, always } of guards) {
      await viewer.admin.query(`alter table ${table} enable ${always ? "always " : ""}trigger ${name}`);
    }
    await viewer.admin.query("commit");
  };
  await update(change);
  return () => update("details = $1, hash = $2", [before.details, before.hash]);
}

const rows = (page: Page) => page.locator(".rows [role=row]");

describe("who sees what", () => {
  test("an admin sees everything, and is told so", async () => {
    await record("secret.shared", { email: MEMBER });
    const page = await openAs(ADMIN, "#/activity?q=action:secret.shared");
    await page.getByText("You see everything in this organisation, as its admin.").waitFor();
    await rows(page).first().waitFor();
    expect(await rows(page).first().innerText()).toContain(MEMBER);
    await closeAll();
  });

  test("a member sees the own activity alone", async () => {
    await record("quiet.done", { email: ADMIN });
    await record("quiet.done", { email: MEMBER });
    const page = await openAs(MEMBER, "#/activity?q=action:quiet.done");
    await page.getByText("You see your own activity.").waitFor();
    await rows(page).first().waitFor();
    expect(await rows(page).count()).toBe(1);
    expect(await rows(page).first().innerText()).toContain(MEMBER);
    await closeAll();
  });

  test("a viewer is told why there is nothing", async () => {
    const page = await openAs(VIEWER);
    await page.getByRole("heading", { name: "There is nothing for you to see here" }).waitFor();
    expect(await page.getByRole("navigation").count()).toBe(0);
    await closeAll();
  });

  test("an auditor sees everything until a date, and no addresses", async () => {
    await record("audited.done", { email: MEMBER });
    const page = await openAs(AUDITOR, "#/activity?q=action:audited.done");
    await page.getByText(/You see everything in this organisation, as its auditor until \d/).waitFor();
    await rows(page).first().waitFor();
    expect(await rows(page).first().innerText()).not.toContain(MEMBER);
    await closeAll();
  });

  test("a wrong password is refused in words", async () => {
    const { page } = await viewer.open();
    await page.goto(viewer.info.viewer_url);
    await page.getByLabel("E-mail").fill(ADMIN);
    await page.getByLabel("Password").fill("not the password");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").waitFor();
    expect(await page.getByRole("button", { name: "Sign out" }).count()).toBe(0);
    await closeAll();
  });
});

describe("whether an entry is true", () => {
  test("it is pending until it is sealed, and then proved in the browser", async () => {
    const name = await record("proof.wanted");
    const page = await openAs(ADMIN, `#/entry/${name}`);
    await page.locator(".proof.pending").waitFor();
    await viewer.seal();
    await page.reload();
    await page.locator(".proof.proved").waitFor();
    expect(await page.locator(".proof.proved").innerText()).toContain("Your browser verified its receipt");
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "Download the receipt" }).click(),
    ]);
    expect(download.suggestedFilename()).toBe(`${name}.tlog-proof`);
    expect(await readFile(await download.path(), "utf8")).toMatch(/^c2sp.org\/tlog-proof@v1\n/);
    await closeAll();
  });

  test.each([
    ["its details", `details = '{"forged": true}'`],
    ["its hash", "hash = sha256('forged')"],
  ])("where a superuser changed %s it is broken", async (_, change) => {
    const name = await record("proof.broken", { details: { amount: 1 } });
    await viewer.seal();
    const restore = await tamper(name, change);
    const page = await openAs(ADMIN, `#/entry/${name}`);
    await page.locator(".proof.broken").waitFor();
    expect(await page.locator(".proof").innerText()).toContain("What is shown is not what was signed");
    await restore();
    await page.reload();
    await page.locator(".proof.proved").waitFor();
    await closeAll();
  });

  test("a whole rewriting, text and hash alike, is broken too: the receipt is of something else", async () => {
    const name = await record("proof.rewritten", { details: { amount: 1 } });
    await viewer.seal();
    const [chain, seq] = name.split("-");
    const undo = await tamper(name, `details = '{"amount": 1000}'`);
    const restore = await tamper(
      name,
      `hash = audit.hash_of((select audit.entry_text(a) from public.audit_logs a
        where a.organization_id = '${ORGANIZATION}' and a.chain = ${chain} and a.seq = ${seq}))`,
    );
    const page = await openAs(ADMIN, `#/entry/${name}`);
    await page.locator(".proof").getByText(/^Broken$/).waitFor();
    await restore();
    await undo();
    await closeAll();
  });
});

describe("hostile content", () => {
  test("HTML, scripts, direction overrides, emoji and 64 kB are text", async () => {
    const attack =
      `<img src=x onerror="alert(1)"><script>alert(2)</script>javascript:alert(3) \u202Eevil\u202C 👩‍👩‍👧‍👦 {{7*7}}`;
    const details = {
      [attack]: attack,
      changes: { [attack]: { old: attack, new: attack } },
      long: "<b>x</b>".repeat(7000),
    };
    const name = await record("hostile.recorded", { email: attack, details, type: attack, id: attack });
    const page = await openAs(ADMIN, "#/activity?q=action:hostile.recorded");
    await rows(page).first().waitFor();
    expect(await rows(page).first().innerText()).toContain("<script>alert(2)</script>");
    await page.goto(`${viewer.info.viewer_url}/#/entry/${name}`);
    await page.locator("article").waitFor();
    expect(await page.locator("article").innerText()).toContain(`<img src=x onerror="alert(1)">`);
    expect(await page.locator("main img, main script, main b").count()).toBe(0);
    // Whatever a value overrides, the next line of the page reads from left to right.
    expect(await page.locator("dd").first().evaluate((element) => getComputedStyle(element).direction)).toBe("ltr");
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    await closeAll();
  });

  test.each([
    "#/entry/%E0%A4%A",
    "#/entry/../../access",
    "#/entry/<script>",
    "#/nowhere/at?all",
    "#/activity?organization=x",
    "#/activity?q=action%3A((((",
    "#/activity?q=" + "%F0%9F%92%A5".repeat(300),
    "#//",
    "#/entry/9-999999999999",
  ])("a link edited into %s ends in words", async (address) => {
    const page = await openAs(ADMIN, address);
    await page.locator("main [role=alert], main .rows, main article").first().waitFor({ state: "attached" });
    await closeAll();
  });
});

describe("while somebody looks", () => {
  beforeAll(async () => {
    await viewer.admin.query(
      "select audit.record($1, 'scroll.done', 'row', n::text) from generate_series(1, 450) n",
      [ORGANIZATION],
    );
  });

  test("a long list keeps few rows in the document, and comes to its end", async () => {
    const page = await openAs(ADMIN, "#/activity?q=action:scroll.done");
    await rows(page).first().waitFor();
    await scrollUntil(page, page.getByText("That is all."));
    expect(await rows(page).count()).toBeLessThan(80);
    expect(await page.locator("[role=table]").getAttribute("aria-rowcount")).toBe("451");
    await closeAll();
  });

  test("a session that ends in mid-scroll asks to sign in, and goes on at the same place", async () => {
    const page = await openAs(ADMIN, "#/activity?q=action:scroll.done");
    await rows(page).first().waitFor();
    await viewer.admin.query("delete from auth.refresh_tokens; delete from auth.sessions");
    await page.evaluate(() => {
      const key = Object.keys(localStorage).find((name) => name.endsWith("-auth-token"))!;
      const session = JSON.parse(localStorage.getItem(key)!);
      localStorage.setItem(key, JSON.stringify({ ...session, expires_at: 1, expires_in: 0 }));
    });
    await scrollUntil(page, page.getByText("Your session has ended."));
    await signIn(page, ADMIN);
    await rows(page).first().waitFor();
    expect(new URL(page.url()).hash).toBe("#/activity?q=action:scroll.done");
    await closeAll();
  });

  test("a role that is taken away ends what is shown", async () => {
    const page = await openAs(ADMIN, "#/activity?q=action:scroll.done");
    await rows(page).first().waitFor();
    const admin = viewer.info.users.find(({ email }) => email === ADMIN)!.id;
    const role = (name: string) =>
      viewer.admin.query("update public.organization_members set role = $1 where user_id = $2", [name, admin]);
    await role("viewer");
    await scrollUntil(page, page.getByRole("heading", { name: "There is nothing for you to see here" }));
    expect(await rows(page).count()).toBe(0);
    await role("admin");
    await closeAll();
  });

  test("a network that is lost is said to be, and what was read stays; once back, it goes on", async () => {
    const page = await openAs(ADMIN, "#/activity?q=action:scroll.done");
    await rows(page).first().waitFor();
    await page.context().setOffline(true);
    await scrollUntil(page, page.getByText("The network is gone."));
    expect(await rows(page).count()).toBeGreaterThan(0);
    await page.context().setOffline(false);
    await page.getByText("The network is gone.").waitFor({ state: "detached" });
    await closeAll();
  });
});

describe("the search", () => {
  const query = (page: Page) => page.getByRole("combobox", { name: "Search" }).inputValue();

  test("box, terms, counts and address are always in step", async () => {
    await record("step.taken");
    await record("step.other");
    const page = await openAs(ADMIN, "#/activity?q=action:step.*");
    await page.getByRole("button", { name: /^step\.taken/ }).click();
    await page.waitForURL(/step\.taken/);
    await expect.poll(() => query(page)).toBe("action:step.* action:step.taken");
    await expect.poll(() => rows(page).count()).toBe(1);
    await page.getByRole("button", { name: "Remove action:step.*" }).click();
    await expect.poll(() => query(page)).toBe("action:step.taken");
    await page.goBack();
    await expect.poll(() => query(page)).toBe("action:step.* action:step.taken");
    // Back before the page has drawn what was found.
    await page.evaluate(() => {
      document.querySelector<HTMLElement>('[aria-label="Remove action:step.*"]')!.click();
      history.back();
    });
    await expect.poll(() => query(page)).toBe("action:step.* action:step.taken");
    await page.getByRole("button", { name: "Clear the search" }).click();
    await expect.poll(() => query(page)).toBe("");
    await closeAll();
  });

  test("what is typed before the page was painted is kept", async () => {
    const page = await openAs(ADMIN, "#/costs");
    await page.getByRole("table").waitFor();
    await page.evaluate(() => {
      const looking = new MutationObserver(() => {
        const box = document.querySelector<HTMLInputElement>("#q[role=combobox]");
        if (box === null) return;
        looking.disconnect();
        box.value = "typed at once";
        box.dispatchEvent(new InputEvent("input", { bubbles: true }));
      });
      looking.observe(document.body, { childList: true, subtree: true });
      location.hash = "#/activity";
    });
    await rows(page).first().waitFor();
    expect(await query(page)).toBe("typed at once");
    await closeAll();
  });

  test("an address that changes before the page was painted is gone to", async () => {
    const page = await openAs(ADMIN, "#/costs");
    await page.addInitScript(() => {
      const looking = new MutationObserver(() => {
        if (document.querySelector("header.bar") === null) return;
        looking.disconnect();
        location.hash = "#/health";
      });
      looking.observe(document, { childList: true, subtree: true });
    });
    await page.reload();
    await page.getByRole("heading", { name: "Health", exact: true }).waitFor();
    await closeAll();
  });

  test("fields and values are completed from the keyboard", async () => {
    await record("completed.done");
    const page = await openAs(ADMIN, "#/activity?q=action:completed.done");
    await rows(page).first().waitFor();
    const box = page.getByRole("combobox", { name: "Search" });
    await box.fill("");
    await box.pressSequentially("acti");
    await page.keyboard.press("Tab");
    expect(await box.inputValue()).toBe("action:");
    await page.keyboard.press("ArrowDown");
    expect(await page.locator("[role=option][aria-selected=true]").innerText()).toBe("action:completed.done");
    expect(await box.getAttribute("aria-activedescendant"))
      .toBe(await page.locator("[role=option][aria-selected=true]").getAttribute("id"));
    await page.keyboard.press("Enter");
    expect(await box.inputValue()).toBe("action:completed.done ");
    await box.pressSequentially("outc");
    await page.keyboard.press("Escape");
    expect(await page.getByRole("listbox").isVisible()).toBe(false);
    await closeAll();
  });

  test("a range of days is dragged on the chart, or given as dates", async () => {
    await record("ranged.done");
    const page = await openAs(ADMIN, "#/activity?q=action:ranged.done");
    const today = new Date().toISOString().slice(0, 10);
    await page.locator(".days [name=from]").fill("2026-01-05");
    await page.locator(".days [name=to]").fill("2026-01-02");
    await page.getByRole("button", { name: "Show these days" }).click();
    await expect.poll(() => query(page)).toBe("action:ranged.done created:2026-01-02..2026-01-05");
    await page.goBack();
    await page.locator(".u-over").waitFor();
    const box = (await page.locator(".u-over").boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.5, box.y + 30);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width - 2, box.y + 30, { steps: 5 });
    await page.mouse.up();
    await expect.poll(() => query(page)).toMatch(
      new RegExp(`^action:ranged.done created:\\d{4}-\\d\\d-\\d\\d\\.\\.${today}$`),
    );
    await expect.poll(() => rows(page).count()).toBe(1);
    await closeAll();
  });

  test("what is new is announced, loaded when asked for, and asking leaves no entry", async () => {
    await record("fresh.done");
    const page = await openAs(ADMIN, "#/activity?q=action:fresh.done");
    await rows(page).first().waitFor();
    await record("fresh.done", { email: MEMBER });
    const button = page.getByRole("button", { name: /new entr/ });
    await button.waitFor();
    const read = () =>
      viewer.admin.query("select count(*)::int as n from public.audit_logs where action like 'log.%'").then((
        { rows },
      ) => rows[0].n);
    const before = await read();
    await page.waitForResponse((response) => response.url().includes("/news?"));
    expect(await read()).toBe(before);
    await button.click();
    await expect.poll(() => rows(page).count()).toBe(2);
    await closeAll();
  });
});

describe("beyond the list", () => {
  test("what is on the screen is exported, and nothing else", async () => {
    for (let n = 0; n < 3; n++) await record("exported.done", { id: `n-${n}` });
    const page = await openAs(ADMIN, "#/activity?q=action:exported.done");
    await rows(page).first().waitFor();
    await page.getByRole("button", { name: "Export …" }).click();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Download" }).click(),
    ]);
    expect(download.suggestedFilename()).toMatch(/^audit-[0-9a-f-]{36}\.csv$/);
    const lines = (await readFile(await download.path(), "utf8")).trim().split(/\r?\n/);
    expect(lines).toHaveLength(4);
    expect(lines.slice(1).every((line) => line.includes("exported.done"))).toBe(true);
    await page.getByText("Saved 3 entries in one file").waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    await page.keyboard.press("Escape");
    expect(await page.getByRole("dialog").count()).toBe(0);
    await closeAll();
  });

  test("costs are added up, and lead to their entries", async () => {
    await viewer.admin.query("select audit.record($1, 'cost.had', null, null, '{}', 'success', 'openai', 0.25)", [
      ORGANIZATION,
    ]);
    const page = await openAs(ADMIN, "#/costs");
    await page.getByRole("table").waitFor();
    const provider = page.getByRole("table").getByRole("link").first();
    const name = await provider.innerText();
    expect(await accessibilityFaults(page)).toEqual([]);
    await provider.click();
    await page.waitForURL(/activity/);
    expect(await page.getByRole("combobox", { name: "Search" }).inputValue()).toBe(`created:30d provider:${name}`);
    await closeAll();
  });

  test("alerts are moved by admins, and each move leaves an entry", async () => {
    await viewer.raise("Something <b>happened</b>", { seen: 3 });
    const page = await openAs(ADMIN, "#/alerts");
    const alert = page.getByRole("article", { name: "Something <b>happened</b>" });
    await alert.waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    await alert.getByRole("button", { name: "Acknowledge" }).click();
    await alert.getByText("High · Acknowledged").waitFor();
    await alert.getByRole("button", { name: "Silence for 8 hours" }).click();
    await alert.getByText("High · Silenced until").waitFor();
    await alert.getByRole("button", { name: "Resolve" }).click();
    await alert.getByText("High · Resolved").waitFor();
    const { rows: moves } = await viewer.admin.query(
      "select action from public.audit_logs where action ~ '^alert\\.(acknowledged|silenced|resolved)$' order by created_at",
    );
    expect(moves.map(({ action }) => action)).toEqual(["alert.acknowledged", "alert.silenced", "alert.resolved"]);
    const auditor = await openAs(AUDITOR, "#/alerts?state=resolved");
    await auditor.getByRole("article", { name: "Something <b>happened</b>" }).waitFor();
    expect(await auditor.getByRole("button", { name: "Reopen" }).count()).toBe(0);
    await closeAll();
  });

  test("what an anomaly told becomes the new normal, and no other alert does", async () => {
    const { rows: [anomaly] } = await viewer.admin.query(
      `select audit.raise_alert(audit.anomaly_rule(), $1, 'accepted', now(), 'Unusual cost', '{"usual": [1, 2]}', '{}', 'high') as id`,
      [ORGANIZATION],
    );
    await viewer.admin.query(
      `select audit.raise_alert(audit.anomaly_rule(), $1, 'other', now(), 'Not one', '{"seen": 3}', '{}', 'high')`,
      [ORGANIZATION],
    );
    await viewer.admin.query(
      `insert into audit.judgements (organization_id, metric, hour, seen, made_of, unusual, alerts, alert)
       values ($1, 'cost', date_trunc('hour', now()), 9, 1, true, 2, $2) on conflict on constraint judgements_pkey do update
       set alert = excluded.alert`,
      [ORGANIZATION, anomaly.id],
    );
    const page = await openAs(ADMIN, "#/alerts");
    const alert = page.getByRole("article", { name: "Unusual cost" });
    await alert.getByRole("button", { name: "This is the new normal" }).click();
    await alert.getByText("High · Resolved").waitFor();
    const { rows: [entry] } = await viewer.admin.query(
      "select resource_id from public.audit_logs where action = 'anomaly.accepted' order by created_at desc limit 1",
    );
    expect(entry.resource_id).toBe("cost");
    const other = page.getByRole("article", { name: "Not one" });
    expect(await other.getByRole("button").allInnerTexts()).not.toContain("This is the new normal");
    await closeAll();
  });

  test("reports are generated and downloaded by those who read everything", async () => {
    const page = await openAs(ADMIN, "#/reports");
    await page.getByRole("button", { name: "Generate" }).click();
    await page.locator(".reports li").first().waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    const member = await openAs(MEMBER);
    await member.getByRole("navigation").waitFor();
    expect(await member.getByRole("link", { name: "Reports" }).count()).toBe(0);
    await closeAll();
  });
});

describe("for everyone", () => {
  const addresses = ["#/activity", "#/activity?q=action:nothing.there", "#/activity?q=(((", "entry"];

  test.each([
    ["light", "desktop"],
    ["dark", "desktop"],
    ["light", "phone"],
    ["dark", "phone"],
  ])("axe finds nothing: %s, %s", async (colorScheme, size) => {
    const options = {
      colorScheme: colorScheme as "light" | "dark",
      ...(size === "phone" ? { viewport: PHONE } : {}),
    };
    const name = await record("access.tested", { details: { changes: { limit: { old: 1, new: 2 } }, note: "x" } });
    await viewer.seal();
    const unsigned = await viewer.open(options);
    await unsigned.page.goto(viewer.info.viewer_url);
    await unsigned.page.getByLabel("Password").waitFor();
    expect(await accessibilityFaults(unsigned.page)).toEqual([]);
    const page = await openAs(ADMIN, "", options);
    for (const address of addresses) {
      await page.goto(`${viewer.info.viewer_url}/${address === "entry" ? `#/entry/${name}` : address}`);
      await page.reload();
      await page.locator(
        address === "entry"
          ? ".proof.proved"
          : address.endsWith("(((")
          ? "[role=alert]"
          : ".after:not(:empty), .rows a",
      )
        .first().waitFor();
      expect([address, await accessibilityFaults(page)]).toEqual([address, []]);
      // No row lies upon another.
      const boxes = await rows(page).evaluateAll((all) =>
        all.map((row) => row.getBoundingClientRect()).map(({ top, bottom }) => ({ top, bottom }))
      );
      boxes.slice(1).forEach(({ top }, n) => expect(top).toBeGreaterThan(boxes[n]!.bottom - 1));
      // Nothing has to be scrolled sideways to be read.
      expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
    }
    const nobody = await openAs(VIEWER, "", options);
    await nobody.getByRole("heading").waitFor();
    expect(await accessibilityFaults(nobody)).toEqual([]);
    await closeAll();
  });

  test("the keyboard alone signs in, searches, opens an entry and comes back", async () => {
    await record("keyboard.used");
    const { page } = await viewer.open();
    await page.goto(viewer.info.viewer_url);
    await page.getByLabel("Password").waitFor();
    const tabTo = async (selector: string) => {
      for (let n = 0; n < 60; n++) {
        if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
        await page.keyboard.press("Tab");
      }
      throw new Error(`the keyboard does not reach ${selector}`);
    };
    await tabTo("[name=email]");
    await page.keyboard.type(ADMIN);
    await tabTo("[name=password]");
    await page.keyboard.type("demo-password");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    await tabTo("#q");
    await page.keyboard.type("action:keyboard.used");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Enter");
    await page.waitForURL(/keyboard/);
    await rows(page).first().waitFor();
    await tabTo(".rows a");
    await page.keyboard.press("Enter");
    await page.locator("article").waitFor();
    await page.goBack();
    await rows(page).first().waitFor();
    await closeAll();
  });

  test("the page says by its headers that nothing else may run in it", async () => {
    const response = await fetch(`${viewer.info.viewer_url}/`);
    const policy = response.headers.get("content-security-policy")!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|\*/);
    expect(await response.text()).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\son\w+=/);
  });

  test("what the list page loads is at most 150 kB, compressed", async () => {
    const dist = new URL("../../functions/audit-viewer/dist/", import.meta.url);
    const page = await readFile(new URL("index.html", dist), "utf8");
    const first = (await readdir(new URL("assets/", dist))).filter((name) => page.includes(name));
    expect(first.some((name) => name.endsWith(".js"))).toBe(true);
    let bytes = gzipSync(page).length;
    for (const name of first) bytes += gzipSync(await readFile(new URL(`assets/${name}`, dist))).length;
    expect(bytes).toBeLessThanOrEqual(150_000);
  });
});
