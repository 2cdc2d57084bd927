// Witnesses, attacked and attacking: they refuse, lie, hang and saw another history; runs are killed, overlap and meet the
// sealer. What readers get is then the newest checkpoint, with no cosignature that does not verify.
import { Buffer } from "node:buffer";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Database } from "../../functions/_shared/database.ts";
import { openCheckpoint } from "../../functions/_shared/tlog/checkpoint.ts";
import { cosigner } from "../../functions/_shared/tlog/cosignature.ts";
import { leafHash } from "../../functions/_shared/tlog/hash.ts";
import { generateKey } from "../../functions/_shared/tlog/key.ts";
import { formatSignatures, parseNote, signNote } from "../../functions/_shared/tlog/note.ts";
import { proveInclusion } from "../../functions/_shared/tlog/prove.ts";
import { formatReceipt, verifyReceipt } from "../../functions/_shared/tlog/receipt.ts";
import { SIZE_CONTENT_TYPE } from "../../functions/_shared/tlog/witness.ts";
import { tilesOf } from "../../functions/_shared/archive/tiles.ts";
import { readOutside } from "../../functions/audit-jobs/receiver_settings.ts";
import { cosignCheckpoint, type WitnessResult } from "../../functions/audit-jobs/witnesses.ts";
import { ACME, crashing, type SealedProject, sealedProject } from "../support/sealed_project.ts";
import { memoryArchive } from "../support/sealing.ts";
import { startWitness, type Witness } from "../support/witness.ts";

let project: SealedProject;
let witnesses: Witness[];
let one: Witness;

beforeEach(async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  project = await sealedProject();
  witnesses = await Promise.all(["w1", "w2", "w3"].map(startWitness));
  one = witnesses[0]!;
  for (const { logs } of witnesses) logs.set(project.anchor, project.keys.verifiers(project.anchor));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all([project.end(), ...witnesses.map((witness) => witness.stop())]);
});

/** Asks those witnesses, by default the first alone. */
async function cosign(
  asked = [one],
  { quorum = "w1", database = project.database, archive = project.archive }: {
    quorum?: string;
    database?: Database;
    archive?: typeof project.archive;
  } = {},
): Promise<WitnessResult> {
  const policy = [...asked.map(({ policy }) => policy), "group two 2 " + asked.map(({ name }) => name).join(" ")];
  if (asked.length < 2) policy.pop();
  const outside = readOutside({
    setting: (name) => name === "AUDIT_WITNESSES" ? [...policy, `quorum ${quorum}`].join("\n") : undefined,
    openBucket: memoryArchive,
  });
  return await cosignCheckpoint({ database, stored: archive, outside });
}

/** What readers get. Throws where a signature does not verify. */
function published() {
  return openCheckpoint(project.archive.files.get("anchor/checkpoint")!, {
    origin: project.anchor,
    log: project.keys.verifiers(project.anchor),
    witnesses: witnesses.map(({ verifier }) => verifier),
  });
}
const cosigners = () => published().cosignatures.map(({ name }) => name.slice(0, 2)).sort();

async function findings(): Promise<{ kind: string; subject: string; detail: Record<string, unknown> }[]> {
  const { rows } = await project.client.query(
    "select kind, subject, detail from audit.findings order by kind, subject",
  );
  return rows;
}
async function state(name = "w1") {
  const { rows } = await project.client.query("select * from audit.outside where kind = 'witness' and name = $1", [
    name,
  ]);
  return rows[0] as {
    last_success: Date | null;
    behind_checkpoints: string;
    behind_entries: string;
    last_error: string | null;
    disabled: boolean;
  };
}

describe("witnesses", () => {
  test("cosign the anchor log, as it grows by one and by many", async () => {
    for (const entries of [1, 1, 5]) {
      const size = await project.grow(entries);
      expect(await cosign()).toEqual({ configured: true, asked: 1, cosigned: 1, enough: true, published: true });
      expect(published().checkpoint.size).toBe(size);
      expect(cosigners()).toEqual(["w1"]);
    }
    // Many checkpoints at once: the proof spans tiles.
    await anchorMany(700);
    await cosign();
    await anchorMany(3);
    const before = one.requests.length;
    expect(await cosign()).toMatchObject({ cosigned: 1, published: true });
    expect(one.requests).toHaveLength(before + 1);
    expect(one.trees.get(project.anchor)!.size).toBe(published().checkpoint.size);
    expect(await state()).toMatchObject({ behind_checkpoints: "0", behind_entries: "0", last_error: null });
    // What is kept is what is published.
    const kept = await project.value<string>(
      "select c.note from audit.checkpoints c join audit.logs l on l.id = c.log and l.published = c.size where l.month is null",
    );
    expect(new TextDecoder().decode(project.archive.files.get("anchor/checkpoint"))).toBe(kept);
    expect(await findings()).toEqual([]);
  });

  test("are enough when the policy says so", async () => {
    await project.grow();
    witnesses[1]!.instead = () => ({ status: 500 });
    witnesses[2]!.instead = () => ({ status: 500 });
    expect(await cosign(witnesses, { quorum: "two" })).toMatchObject({
      asked: 3,
      cosigned: 1,
      enough: false,
      published: true,
    });
    expect(await project.value("select count(*) from audit.cosigned_checkpoints")).toBe("0");
    witnesses[1]!.instead = undefined;
    await project.later();
    // Only those who have not cosigned are asked, and what the first signed stays.
    expect(await cosign(witnesses, { quorum: "two" })).toMatchObject({ asked: 2, cosigned: 1, enough: true });
    expect(cosigners()).toEqual(["w1", "w2"]);
    expect(await project.value("select count(*) from audit.cosigned_checkpoints")).toBe("1");
    expect(await state("w3")).toMatchObject({ last_error: "http_500", behind_checkpoints: "1" });
  });

  test("are asked every hour where nothing happens, and not before", async () => {
    await project.grow();
    one.now = () => 1_700_000_000;
    await cosign();
    expect(published().cosignatures[0]!.time).toBe(1_700_000_000);
    expect(await cosign()).toMatchObject({ asked: 0 });
    await project.client.query("update audit.receivers set tried_at = tried_at - interval '61 minutes'");
    one.now = () => 1_700_003_700;
    expect(await cosign()).toMatchObject({ asked: 1, cosigned: 1, published: true });
    expect(published().cosignatures).toEqual([expect.objectContaining({ time: 1_700_003_700 })]);
    expect((await state()).last_success!.getTime()).toBe(1_700_003_700_000);
    expect(one.requests).toHaveLength(2);
  });

  test("that nobody configured, or whose address nobody knows, are not asked", async () => {
    await project.grow();
    const outside = (text?: string) => readOutside({ setting: () => text, openBucket: memoryArchive });
    const deps = { database: project.database, stored: project.archive };
    expect(await cosignCheckpoint({ ...deps, outside: outside() })).toEqual({ configured: false });
    const [keyword, name, vkey] = one.policy.split(" ");
    const offline = outside(`${keyword} ${name} ${vkey}\nquorum none`);
    expect(await cosignCheckpoint({ ...deps, outside: offline })).toEqual({ configured: false });
    const unsafe = outside(`${keyword} ${name} ${vkey} http://example.com/\nquorum none`);
    await expect(cosignCheckpoint({ ...deps, outside: unsafe })).rejects.toMatchObject({ code: "not_configured" });
    expect(one.requests).toEqual([]);
  });

  test("before the first log there is nothing to ask them", async () => {
    expect(await cosign()).toMatchObject({ configured: true, asked: 0 });
  });
});

describe("a witness that knows another size", () => {
  test("is asked again with a proof from that: it was restored, or we were", async () => {
    const sizes = [await project.grow()];
    await cosign();
    const early = one.trees.get(project.anchor)!;
    sizes.push(await project.grow());
    await cosign();
    sizes.push(await project.grow());
    one.trees.set(project.anchor, early); // restored from its backup
    expect(await cosign()).toMatchObject({ cosigned: 1 });
    await project.client.query("delete from audit.receiver_logs"); // we do not remember
    await project.grow();
    expect(await cosign()).toMatchObject({ cosigned: 1 });
    const [first, second, third] = sizes;
    expect(one.requests.map((body) => Number(/^old (\d+)/.exec(body)![1]))).toEqual([
      0,
      first,
      second,
      first,
      0,
      third,
    ]);
    expect(await findings()).toEqual([]);
  });

  test("and names another one each time, is not asked for ever", async () => {
    await project.grow();
    await project.grow();
    const size = await project.grow();
    let told = 0;
    one.instead = () => ({ status: 409, headers: { "content-type": SIZE_CONTENT_TYPE }, body: `${++told % size}\n` });
    expect(await cosign()).toMatchObject({ cosigned: 0 });
    expect(one.requests).toHaveLength(3);
    expect(await state()).toMatchObject({ last_error: "old_size" });
    expect(await findings()).toEqual([]);
  });

  test("that is larger than ours has seen what we do not have: a finding, with its entry", async () => {
    const size = await project.grow();
    one.instead = () => ({ status: 409, headers: { "content-type": SIZE_CONTENT_TYPE }, body: `${size + 1}\n` });
    await cosign();
    expect(await findings()).toEqual([{
      kind: "witness_disagrees",
      subject: "w1",
      detail: { log: project.anchor, size, witness_size: size + 1 },
    }]);
    const entry = "select count(*) from public.audit_logs where action = 'verification.failed' and resource_id = 'w1'";
    expect(await project.value(entry)).toBe("1");
    expect(await state()).toMatchObject({ last_error: "ahead" });
    expect(cosigners()).toEqual([]);
  });

  test("that a later run of ours has shown it is no finding", async () => {
    await project.grow();
    let once = true;
    one.instead = async (answer) => {
      if (!once) return answer;
      once = false;
      const size = await project.grow();
      return { status: 409, headers: { "content-type": SIZE_CONTENT_TYPE }, body: `${size}\n` };
    };
    await cosign();
    expect(await state()).toMatchObject({ last_error: "ahead" });
    expect(await findings()).toEqual([]);
  });
});

describe("a witness that saw another history", () => {
  test.each(["smaller", "same"])("of a %s size refuses, which is a finding", async (which) => {
    const size = await project.grow();
    await cosign();
    one.trees.set(project.anchor, { size, root: leafHash(new Uint8Array()) });
    if (which === "smaller") await project.grow();
    else await project.client.query("update audit.receivers set tried_at = '-infinity'");
    expect(await cosign()).toMatchObject({ asked: 1, cosigned: 0, published: false });
    expect(await findings()).toEqual([
      expect.objectContaining({ kind: "witness_disagrees", detail: expect.objectContaining({ witness_size: size }) }),
    ]);
    expect(await state()).toMatchObject({ last_error: "inconsistent" });
    // Seen again it is the same finding.
    await project.later();
    await project.client.query("update audit.receivers set tried_at = '-infinity'");
    await cosign();
    expect(await findings()).toHaveLength(1);
  });

  test("does not hold up the others", async () => {
    await project.grow();
    await cosign(witnesses, { quorum: "two" });
    one.trees.set(project.anchor, { size: 1, root: leafHash(new Uint8Array()) });
    await project.grow();
    expect(await cosign(witnesses, { quorum: "two" })).toMatchObject({ asked: 3, cosigned: 2, enough: true });
    expect(cosigners()).toEqual(["w2", "w3"]);
  });
});

describe("a witness that does not sign", () => {
  const stranger = generateKey("stranger.example", "cosignature");
  const textOf = (body: string) => parseNote(body.slice(body.indexOf("\n\n") + 2)).text;
  const signed = async (body: string) =>
    formatSignatures((await signNote(textOf(body), [cosigner(stranger, 1_700_000_000)])).signatures);
  test.each(
    [
      ["an unknown log", () => one.logs.clear(), "unknown_log"],
      ["an unknown key", () => one.logs.set(project.anchor, []), "unknown_key"],
      ["a request that it does not like", () => one.instead = () => ({ status: 400 }), "bad_request"],
      ["an error", () => one.instead = () => ({ status: 503 }), "http_503"],
      ["a redirect", () => one.instead = () => ({ status: 302, headers: { location: one.url } }), "redirected"],
      ["no content", () => one.instead = () => ({ status: 204 }), "unavailable"],
      ["an empty answer", () => one.instead = () => ({ status: 200, body: "" }), "malformed_note"],
      ["a page", () => one.instead = () => ({ status: 200, body: "<html>\n" }), "malformed_note"],
      [
        "no text",
        () => one.instead = () => ({ status: 200, body: Uint8Array.of(0xff, 10) }),
        "malformed_witness_message",
      ],
      [
        "an answer without end",
        () => one.instead = () => "endless",
        "too_large",
      ],
      ["10 MB", () => one.instead = () => ({ status: 200, body: "a".repeat(10_000_000) }), "too_large"],
      [
        "a conflict without a size",
        () => one.instead = () => ({ status: 409, headers: { "content-type": SIZE_CONTENT_TYPE }, body: "many\n" }),
        "malformed_witness_message",
      ],
      ["a conflict of no type", () => one.instead = () => ({ status: 409, body: "0\n" }), "malformed_witness_message"],
      [
        "the signature of a stranger",
        () => one.instead = async (_, body) => ({ status: 200, body: await signed(body) }),
        "no_known_signature",
      ],
      [
        "its signature over another text",
        () => one.instead = async (_, body) => ({ status: 200, body: await one.sign(textOf(body).replace("/", "|")) }),
        "invalid_signature",
      ],
      ["its signature, with another time", () => {
        one.instead = ({ body }) => {
          const [, name, base64] = /^— (\S+) (\S+)\n$/.exec(body as string)!;
          const bytes = Buffer.from(base64!, "base64");
          bytes[11]! ^= 1;
          return { status: 200, body: `— ${name} ${bytes.toString("base64")}\n` };
        };
      }, "invalid_signature"],
      ["a signature of no time", () => one.now = () => 0, "malformed_witness_message"],
    ] as [string, () => void, string][],
  )("%s: noted, and readers get what they had", async (_, arrange, error) => {
    await project.grow();
    const before = project.archive.files.get("anchor/checkpoint");
    arrange();
    expect(await cosign()).toMatchObject({ asked: 1, cosigned: 0, enough: false, published: false });
    expect(await state()).toMatchObject({ last_error: error, behind_checkpoints: "1", last_success: null });
    expect(project.archive.files.get("anchor/checkpoint")).toEqual(before);
    expect(await findings()).toEqual([]);
    // And is left alone for a while.
    const asked = one.requests.length;
    await cosign();
    expect(one.requests).toHaveLength(asked);
  });

  test("for years to come is not believed to be as new", async () => {
    await project.grow();
    one.now = () => Number.MAX_SAFE_INTEGER;
    expect(await cosign()).toMatchObject({ cosigned: 1 });
    expect((await state()).last_success!.getTime()).toBeLessThan(Date.now() + 5_000);
  });

  test("and is gone is not asked again", async () => {
    await project.grow();
    one.instead = () => ({ status: 410 });
    await cosign();
    await project.later();
    expect(await cosign()).toMatchObject({ asked: 0 });
    expect(await state()).toMatchObject({ disabled: true });
    expect(await findings()).toEqual([expect.objectContaining({ kind: "receiver_gone", subject: "w1" })]);
  });

  test("and hangs keeps the others for as long as one request may take", { timeout: 40_000 }, async () => {
    await project.grow();
    one.instead = () => "hang";
    const start = performance.now();
    expect(await cosign(witnesses, { quorum: "two" })).toMatchObject({ cosigned: 2, enough: true, published: true });
    expect(performance.now() - start).toBeLessThan(15_000);
    expect(await state()).toMatchObject({ last_error: "timeout" });
  });
});

describe("an older checkpoint never replaces a newer one", () => {
  test("that was published while the witness was asked", async () => {
    const size = await project.grow();
    one.instead = async (answer) => {
      one.instead = undefined;
      await project.grow();
      return answer;
    };
    expect(await cosign()).toMatchObject({ cosigned: 1, published: false });
    expect(published().checkpoint.size).toBeGreaterThan(size);
    expect(cosigners()).toEqual([]);
    // The cosignature is kept, for receipts.
    const kept = await project.value<string>(
      "select note from audit.checkpoints c join audit.logs l on l.id = c.log where l.month is null and c.size = $1",
      [size],
    );
    expect(kept).toContain("— w1.example/witness ");
    expect(await cosign()).toMatchObject({ cosigned: 1, published: true });
    expect(cosigners()).toEqual(["w1"]);
  });

  test("that a run is about to publish", async () => {
    await project.grow();
    await project.client.query(
      "update audit.logs set lease = gen_random_uuid(), lease_until = clock_timestamp() + interval '1 minute' where month is null",
    );
    expect(await cosign()).toMatchObject({ cosigned: 1, published: false });
    expect(cosigners()).toEqual([]);
  });

  test("and nobody seals meanwhile", async () => {
    await project.grow();
    await project.client.query("select audit.anchor_checkpoints()");
    let claimed: unknown;
    const archive = {
      ...project.archive,
      async put(...file: Parameters<typeof project.archive.put>) {
        claimed = await project.value("select audit.claim_log('test.example/audit')");
        await project.archive.put(...file);
      },
    };
    await anchorLater();
    expect(await cosign([one], { archive })).toMatchObject({ published: true });
    expect(claimed).toBe(null);
    // Afterwards the log is free.
    expect(await project.value("select audit.claim_log('test.example/audit') ->> 'folder'")).toBe("anchor");
  });

  test("where writing fails the lease lasts, because the request may take effect later", async () => {
    await project.grow();
    const archive = { ...project.archive, put: () => Promise.reject(new Error("timeout")) };
    await expect(cosign([one], { archive })).rejects.toThrow("timeout");
    expect(await project.value("select lease_until > clock_timestamp() from audit.logs where month is null")).toBe(
      true,
    );
    await project.later();
    await project.client.query("update audit.logs set lease_until = '-infinity'");
    expect(await cosign()).toMatchObject({ cosigned: 1, published: true });
  });
});

describe("a run that is killed", () => {
  test.each(
    [
      "register_receivers",
      "claim_cosigning",
      "record_cosignatures",
      "lease_checkpoint",
      "record_published",
      "record_delivery",
    ].flatMap((statement) => [[statement, "before"], [statement, "after"]] as const),
  )("%s, %s: the next one finishes it", async (statement, when) => {
    await project.grow();
    await cosign();
    await project.grow();
    await expect(cosign([one], { database: crashing(project.database, statement, when) })).rejects.toThrow("killed");
    await project.later();
    await project.client.query("update audit.logs set lease_until = '-infinity'");
    await cosign();
    expect(cosigners()).toEqual(["w1"]);
    expect(await state()).toMatchObject({ behind_checkpoints: "0", last_error: null });
    expect(await findings()).toEqual([]);
  });

  test("two runs at once ask once", async () => {
    await project.grow();
    const results = await Promise.all([cosign(), cosign(), cosign()]);
    expect(results.filter((result) => result.configured && result.cosigned === 1)).toHaveLength(1);
    expect(one.requests).toHaveLength(1);
  });
});

describe("an archive that proves nothing", () => {
  test.each(["missing", "altered"])("is a finding: a tile is %s", async (how) => {
    await project.grow();
    await cosign();
    await project.grow();
    for (const [path, bytes] of project.archive.files) {
      if (!path.startsWith("anchor/tile/0/")) continue;
      if (how === "missing") project.archive.files.delete(path);
      else bytes[0]! ^= 1;
    }
    const asked = one.requests.length;
    expect(await cosign()).toMatchObject({ cosigned: 0 });
    expect(one.requests).toHaveLength(asked);
    expect(await findings()).toEqual([
      expect.objectContaining({ kind: "archive_damaged", subject: "anchor/checkpoint" }),
    ]);
    expect(await state()).toMatchObject({ last_error: "damaged_file" });
  });
});

test("a log's checkpoint is proved by the anchor log and its witnesses, without asking anyone", async () => {
  await project.grow(3);
  const { rows: [log] } = await project.client.query(
    "select id, origin, published::int as size from audit.logs where organization_id = $1",
    [ACME],
  );
  const anchorOf = (size = log.size) =>
    project.value<Anchored | null>("select audit.anchor_of($1, $2)", [log.id, size]);
  const origin = project.anchor;
  const trust = { origin, log: project.keys.verifiers(origin), witnesses: [one.verifier] };
  const early = (await anchorOf())!;
  expect(early.size).toBe(log.size);
  expect(openCheckpoint(early.checkpoint, trust).cosignatures).toEqual([]);
  expect(await anchorOf(log.size + 1)).toBe(null);
  await cosign();
  await project.grow();
  const { index, entry, note, checkpoint: cosigned } = (await anchorOf(1))!;
  expect(entry.split("\n").slice(0, 2)).toEqual([log.origin, String(log.size)]);
  expect(parseNote(note).text).toBe(entry);
  const { checkpoint } = openCheckpoint(cosigned, trust);
  expect(checkpoint.size).toBeLessThan(published().checkpoint.size);
  const leaf = leafHash(new TextEncoder().encode(entry));
  const path = await proveInclusion(checkpoint, index, leaf, tilesOf(project.archive, "anchor"));
  const receipt = formatReceipt({ index, path, checkpoint: parseNote(cosigned) });
  expect(verifyReceipt(receipt, leaf, trust)).toMatchObject({ cosignatures: [{ name: "w1.example/witness" }] });
});

type Anchored = { index: number; entry: string; size: number; note: string; checkpoint: string };

/** Has the anchor log grow by so many entries, which are of logs that nobody has. */
async function anchorMany(entries: number): Promise<void> {
  await project.client.query(
    `with made as (
       insert into audit.logs (organization_id, month, origin)
       select gen_random_uuid(), '2026-01-01', 'x/' || gen_random_uuid() from generate_series(1, $1::int)
       returning id
     )
     insert into audit.anchor_entries (index, log, size, entry)
     select l.sequenced + row_number() over () - 1, m.id, 1, 'entry of ' || m.id || E'\\n'
     from made m cross join audit.logs l where l.month is null`,
    [entries],
  );
  await project.client.query("update audit.logs set sequenced = sequenced + $1 where month is null", [entries]);
  await project.grow();
}

/** Gives the anchor log something to seal. */
async function anchorLater(): Promise<void> {
  await project.client.query(`insert into audit.anchor_entries (index, log, size, entry)
     select a.sequenced, l.id, l.published + 1000, E'later\\n' from audit.logs l, audit.logs a
     where a.month is null and l.month is not null limit 1`);
  await project.client.query("update audit.logs set sequenced = sequenced + 1 where month is null");
}
