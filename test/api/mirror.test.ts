// The mirror, attacked: every write fails before and after it took effect, files are missing or cut, runs are bounded,
// killed and overlap. What is in the mirror verifies with the key alone, and a checkpoint is never there before its files.
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Archive, ArchiveError } from "../../functions/_shared/archive/archive.ts";
import type { Database } from "../../functions/_shared/database.ts";
import { formatCheckpoint, parseCheckpoint } from "../../functions/_shared/tlog/checkpoint.ts";
import { appendEntry, emptyEdge, partialFiles } from "../../functions/_shared/tlog/edge.ts";
import { treeOf } from "../../functions/_shared/tlog/frontier.ts";
import { formatNote, parseNote, signNote } from "../../functions/_shared/tlog/note.ts";
import { formatHex } from "../../functions/_shared/tlog/text.ts";
import { partialTiles, tilePath } from "../../functions/_shared/tlog/tile.ts";
import { fullTiles, mirrorArchive, type MirrorResult } from "../../functions/audit-jobs/mirror.ts";
import { type Outside, readOutside } from "../../functions/audit-jobs/receiver_settings.ts";
import { startS3 } from "../support/s3.ts";
import { ACME, crashing, GLOBEX, type SealedProject, sealedProject } from "../support/sealed_project.ts";
import { type MemoryArchive, memoryArchive, readArchive } from "../support/sealing.ts";

let project: SealedProject;
let copy: MemoryArchive;

beforeEach(async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  project = await sealedProject();
  copy = memoryArchive();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await project.end();
});

type Over = { to?: Archive; name?: string; stored?: Archive; database?: Database };
function mirror({ to = copy, name = "there", stored = project.archive, database = project.database }: Over = {}) {
  const outside: Outside = { receivers: () => [], policy: () => undefined, mirror: () => ({ name, archive: to }) };
  return mirrorArchive({ database, stored, outside }) as Promise<MirrorResult & { configured: true }>;
}

/** Until it has everything, whoever fails on the way; answers how many runs that took. */
async function mirrorToTheEnd(over: Over = {}): Promise<number> {
  for (let run = 1; run <= 100; run++) {
    await project.later();
    const result = await mirror(over).catch(() => undefined);
    if (result?.files === 0 && result.failed === 0) return run;
  }
  throw new Error("mirroring does not come to its end");
}

/** Everything that readers of the archive need is in the mirror, and the same. */
function expectMirrored(): void {
  expect(readArchive(copy, project.keys)).toEqual(readArchive(project.archive, project.keys));
  for (const [path, bytes] of copy.files) expect(project.archive.files.get(path), path).toEqual(bytes);
}

async function state() {
  const { rows } = await project.client.query("select * from audit.outside where kind = 'mirror'");
  return rows[0] as { behind_checkpoints: string; behind_entries: string; last_error: string | null };
}

/** An archive that tells of each write before it takes effect and after; what is thrown there the writer gets. */
function watched(archive: Archive, watch: (path: string, when: "before" | "after") => void): Archive {
  return {
    ...archive,
    async put(path, bytes, kind) {
      watch(path, "before");
      await archive.put(path, bytes, kind);
      watch(path, "after");
    },
  };
}

describe("the mirror", () => {
  test("has every log as it grows, in whatever steps", async () => {
    for (const entries of [1, 2, 250, 3, 256, 1, 600]) {
      await project.grow(entries);
      await project.grow(1, GLOBEX);
      expect(await mirror()).toMatchObject({ configured: true, failed: 0 });
      expectMirrored();
      expect(await state()).toMatchObject({ behind_checkpoints: "0", behind_entries: "0", last_error: null });
    }
    expect(await mirror()).toMatchObject({ logs: 0, files: 0 });
  });

  test("begins with a project that has logs already, and skips what came in between", async () => {
    await project.grow(700);
    await project.grow(40, GLOBEX);
    await project.grow(300);
    await mirrorToTheEnd();
    expectMirrored();
    // Partial files of sizes that were replaced are not copied.
    expect(copy.files.size).toBeLessThan(project.archive.files.size);
  });

  test("copies what is encrypted as it is", async () => {
    await project.grow(10);
    for (const [path, bytes] of project.archive.files) {
      if (path.includes("/entries/")) project.archive.files.set(path, bytes.map((byte) => byte ^ 0xff));
    }
    await mirror();
    for (const [path, bytes] of copy.files) expect(project.archive.files.get(path)).toEqual(bytes);
    expect([...copy.files.keys()].some((path) => path.includes("/entries/"))).toBe(true);
  });

  test("gets the cosignatures of a checkpoint that it has", async () => {
    await project.grow();
    await mirror();
    const { rows: [{ id, published, note }] } = await project.client.query(
      "select l.id, l.published, c.note from audit.logs l join audit.checkpoints c on c.log = l.id and c.size = l.published where l.month is null",
    );
    const cosigned = `${note}— w1.example AAAAAAAA\n`;
    await project.client.query("select audit.record_cosignatures($1, $2, $3, true)", [id, published, cosigned]);
    expect(await mirror()).toMatchObject({ logs: 1 });
    expect(new TextDecoder().decode(copy.files.get("anchor/checkpoint"))).toBe(cosigned);
    expect(await mirror()).toMatchObject({ logs: 0 });
  });

  test("begins anew in another place", async () => {
    await project.grow(300);
    await mirror();
    const other = memoryArchive();
    await mirror({ to: other, name: "elsewhere" });
    expect(other.files).toEqual(copy.files);
    expect(await project.value("select string_agg(name, ',') from audit.outside")).toBe("elsewhere");
  });

  test("in S3 is locked, and verifies with the key alone", async () => {
    const access = { bucket: "outside", region: "eu-central-1" };
    const s3 = await startS3({ ...access, accessKeyId: "AKIA", secretAccessKey: "secret", locked: true });
    const setting = JSON.stringify({
      ...access,
      endpoint: s3.endpoint,
      access_key_id: "AKIA",
      secret_access_key: "secret",
      prefix: "audit/acme",
      lock: { mode: "GOVERNANCE", days: 30 },
    });
    const outside = readOutside({
      setting: (name) => name === "AUDIT_S3" ? setting : undefined,
      openBucket: memoryArchive,
    });
    await project.grow(300);
    const result = await mirrorArchive({ database: project.database, stored: project.archive, outside });
    expect(result).toMatchObject({ configured: true, failed: 0 });
    for (const [key, versions] of s3.objects) {
      const { bytes, headers } = versions[0]!;
      expect(headers["x-amz-object-lock-mode"]).toBe("GOVERNANCE");
      copy.files.set(key.slice("audit/acme/".length), Uint8Array.from(bytes));
    }
    expectMirrored();
    const host = new URL(s3.endpoint).host;
    expect(await project.value("select name from audit.outside")).toBe(`${host}/outside/audit/acme`);
    await s3.stop();
  });

  test("is nowhere where nobody configured it", async () => {
    await project.grow();
    const outside = readOutside({ setting: () => undefined, openBucket: memoryArchive });
    const deps = { database: project.database, stored: project.archive, outside };
    expect(await mirrorArchive(deps)).toEqual({ configured: false });
    const bad = readOutside({ setting: () => '{"secret_access_key":"SECRET"}', openBucket: memoryArchive });
    await expect(mirrorArchive({ ...deps, outside: bad })).rejects.toMatchObject({
      code: "not_configured",
      message: expect.not.stringContaining("SECRET"),
    });
  });
});

describe("whatever fails", () => {
  test.each(["before", "after"] as const)(
    "each write, %s it took effect: all is there in the end, checkpoints last",
    async (when) => {
      await project.grow(300);
      await project.grow(3, GLOBEX);
      const failed = new Set<string>();
      const to = watched(copy, (path, now) => {
        if (now === "before" && path.endsWith("/checkpoint")) expectImplied(path.slice(0, -"/checkpoint".length));
        if (now !== when || failed.has(path)) return;
        failed.add(path);
        throw new ArchiveError("unavailable", "the connection broke");
      });
      expect(await mirrorToTheEnd({ to })).toBeGreaterThan(3);
      expect(failed).toEqual(new Set(copy.files.keys()));
      expectMirrored();
      expect(await state()).toMatchObject({ behind_checkpoints: "0", last_error: null });
    },
  );

  test("a mirror that is away is left alone, and is shown", async () => {
    await project.grow();
    const to = watched(copy, () => {
      throw new ArchiveError("unavailable", "busy", { retryAfter: 100 });
    });
    expect(await mirror({ to })).toMatchObject({ failed: 1 });
    expect(await mirror()).toMatchObject({ files: 0 });
    expect((await state()).last_error).toBe("unavailable");
    const pause = Number(
      await project.value("select extract(epoch from next_try_at - clock_timestamp()) from audit.receivers"),
    );
    expect(Math.abs(pause - 100)).toBeLessThan(5);
  });

  test.each(["missing", "cut"])("a file of one log is %s: its checkpoint stays away, the others come", async (how) => {
    await project.grow(300);
    await project.grow(1, GLOBEX);
    const path = [...project.archive.files.keys()].find((name) =>
      name.startsWith(ACME) && name.endsWith("tile/0/000")
    )!;
    const whole = project.archive.files.get(path)!;
    if (how === "missing") project.archive.files.delete(path);
    else project.archive.files.set(path, whole.slice(0, -32));
    expect(await mirror()).toMatchObject({ failed: 1 });
    const folders = [...copy.files.keys()].filter((name) => name.endsWith("/checkpoint"));
    expect(folders.filter((name) => name.startsWith(ACME))).toEqual([]);
    expect(folders.filter((name) => name.startsWith(GLOBEX))).toHaveLength(1);
    expect((await state()).last_error).toBe(how === "missing" ? "missing_file" : "damaged_file");
    // Only that log is left alone.
    await project.grow(1, GLOBEX);
    expect(await mirror()).toMatchObject({ failed: 0 });
    project.archive.files.set(path, whole);
    await mirrorToTheEnd();
    expectMirrored();
    expect((await state()).last_error).toBe(null);
  });

  test.each(
    ["register_receivers", "claim_delivery", "record_delivery"].flatMap((statement) =>
      [[statement, "before"], [statement, "after"]] as const
    ),
  )("a run that is killed, %s, %s: the next one finishes it", async (statement, when) => {
    await project.grow(300);
    await expect(mirror({ database: crashing(project.database, statement, when) })).rejects.toThrow("killed");
    await mirrorToTheEnd();
    expectMirrored();
  });

  test("runs at once copy each log once", async () => {
    await project.grow(300);
    await project.grow(1, GLOBEX);
    const results = await Promise.all([mirror(), mirror(), mirror()]);
    const files = results.reduce((sum, result) => sum + result.files, 0);
    await mirrorToTheEnd();
    expectMirrored();
    expect(files).toBeLessThanOrEqual(copy.files.size);
  });
});

describe("a large log", () => {
  test("is copied in bounded runs, each going on where the one before ended", { timeout: 120_000 }, async () => {
    const size = 65_536 + 700;
    const folder = await seedLog(size);
    const written: string[] = [];
    const to = watched(copy, (path, when) => void (when === "before" && written.push(path)));
    const first = await mirror({ to });
    expect(first.files).toBeGreaterThanOrEqual(400);
    expect(first.files).toBeLessThan(420);
    expect(copy.files.has(`${folder}/checkpoint`)).toBe(false);
    expect(await state()).toMatchObject({ behind_checkpoints: "1", behind_entries: String(size), last_error: null });
    // The second fails in the middle; the third does a step of it again, at most.
    const failing = watched(to, () => {
      if (written.length > first.files + 100) throw new ArchiveError("unavailable", "gone");
    });
    expect(await mirror({ to: failing })).toMatchObject({ failed: 1 });
    const runs = await mirrorToTheEnd({ to });
    expect(runs).toBeLessThan(4);
    expectMirrored();
    expect(copy.files.has(`${folder}/tile/2/000.p/1`)).toBe(true);
    const twice = written.filter((path, at) => written.indexOf(path) < at);
    expect(twice.length).toBeLessThanOrEqual(17);
  });
});

test("files by sizes: steps of any length name each full file once, and with the partial ones all that there are", () => {
  const step = fc.oneof(fc.nat(600), fc.nat(70_000), fc.constantFrom(1, 255, 256, 257, 65_536));
  fc.assert(fc.property(fc.array(step, { minLength: 1, maxLength: 6 }), (steps) => {
    let size = 0;
    const named: string[] = [];
    for (const more of steps) {
      named.push(...fullTiles(size, size + more).map(tilePath));
      size += more;
    }
    const all = fullTiles(0, size).map(tilePath);
    expect(named.sort()).toEqual(all.sort());
    expect(new Set(all).size).toBe(all.length);
    // A bundle and a tile for 256 entries, and a tile for each 256 tiles.
    const bundles = Math.floor(size / 256);
    let tiles = 0;
    for (let level = bundles; level > 0; level = Math.floor(level / 256)) tiles += level;
    expect(all).toHaveLength(bundles + tiles);
  }));
});

/** Fails unless the mirror has every file that the checkpoint of this log, as the database has it, implies. */
function expectImplied(folder: string): void {
  const note = new TextDecoder().decode(project.archive.files.get(`${folder}/checkpoint`));
  const { size } = parseCheckpoint(parseNote(note).text);
  for (const tile of [...fullTiles(0, size), ...partialTiles(size)]) {
    expect(copy.files.has(`${folder}/${tilePath(tile)}`), tilePath(tile)).toBe(true);
  }
}

/** A log of so many small entries, as sealing would have left it. */
async function seedLog(size: number): Promise<string> {
  const folder = `${ACME}/2026-01`;
  const origin = `${project.keys.base}/${folder}`;
  const edge = emptyEdge();
  const encoder = new TextEncoder();
  for (let index = 0; index < size; index++) {
    for (const { tile, bytes } of appendEntry(edge, encoder.encode(`{"n":${index}}`))) {
      project.archive.files.set(`${folder}/${tilePath(tile)}`, bytes);
    }
  }
  for (const { tile, bytes } of partialFiles(edge)) project.archive.files.set(`${folder}/${tilePath(tile)}`, bytes);
  const tree = treeOf(edge.frontier);
  const note = formatNote(
    await signNote(formatCheckpoint({ origin, ...tree, extensions: [] }), project.keys.signers(origin)),
  );
  project.archive.files.set(`${folder}/checkpoint`, encoder.encode(note));
  await project.client.query(
    `with made as (
       insert into audit.logs (organization_id, month, origin, sequenced, size, published)
       values ($1, '2026-01-01', $2, $3, $3, $3)
       returning id
     )
     insert into audit.checkpoints (log, size, root, frontier, note, signed_at, published_at)
     select id, $3, decode($4, 'hex'), ''::bytea, $5, now(), now() from made`,
    [ACME, origin, size, formatHex(tree.root), note],
  );
  return folder;
}
