// npm run keygen: what it makes, and what it refuses to spoil.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { parseArchiveKeys } from "../../functions/_shared/archive/bundle_encryption.ts";
import { formatVerifierKey, parseSignerKey, parseVerifierKey } from "../../functions/_shared/tlog/key.ts";
import { noteSigner, noteVerifier, signNote, verifyNote } from "../../functions/_shared/tlog/note.ts";

async function keygen(...args: string[]) {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", "scripts/cli/keygen.ts", ...args], { cwd: root });
  const output = { out: "", err: "" };
  child.stdout.on("data", (chunk) => output.out += chunk);
  child.stderr.on("data", (chunk) => output.err += chunk);
  const [code] = await once(child, "close");
  return { code, ...output };
}

async function place(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "keygen-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return join(folder, "key");
}

describe("a signing key", () => {
  it("is printed with its public key, which verifies what it signs", async () => {
    const { code, out, err } = await keygen("example.com/audit");
    expect(code).toBe(0);
    const [secret, vkey, end] = out.split("\n");
    expect(end).toBe("");
    const signed = await signNote("text\n", [noteSigner(parseSignerKey(secret!, "note"))]);
    expect(verifyNote(signed, [noteVerifier(parseVerifierKey(vkey!, "note"))])).toHaveLength(1);
    expect(parseVerifierKey(vkey!, "note").name).toBe("example.com/audit");
    expect(err).toContain("AUDIT_LOG_KEY");
    expect((await keygen("example.com/audit")).out).not.toBe(out);
  });

  it("is written to a file that only its owner reads, and never over another", async () => {
    const file = await place();
    const { code, out } = await keygen("example.com/audit", "--out", file);
    expect(code).toBe(0);
    expect(out).not.toContain("PRIVATE");
    const secret = await readFile(file, "utf8");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(formatVerifierKey(parseSignerKey(secret.trim(), "note"))).toBe(out.trim());

    const again = await keygen("example.com/audit", "--out", file);
    expect(again).toMatchObject({ code: 2, out: "", err: expect.stringContaining("is there already") });
    expect(await readFile(file, "utf8")).toBe(secret);

    expect(await keygen("--public", file)).toMatchObject({ code: 0, out });
    await writeFile(file, `${secret} ${secret}`);
    expect(await keygen("--public", file)).toMatchObject({ code: 0, out: out + out });
  });

  it("is never quoted where it cannot be read", async () => {
    const file = await place();
    await writeFile(file, "PRIVATE+KEY+example.com/audit+00000000+c2VjcmV0\n");
    const { code, out, err } = await keygen("--public", file);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).not.toContain("c2VjcmV0");
    await writeFile(file, "\n");
    expect(await keygen("--public", file)).toMatchObject({ code: 2, err: expect.stringContaining("holds no key") });
  });
});

it("a key that encrypts archives is one that they take", async () => {
  const file = await place();
  const { code, out } = await keygen("--archive");
  expect(code).toBe(0);
  expect(parseArchiveKeys(out)).toHaveLength(1);
  expect(await keygen("--archive", "--out", file)).toMatchObject({ code: 0, out: "" });
  expect(parseArchiveKeys(await readFile(file, "utf8"))).toHaveLength(1);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

it.each([
  [],
  ["a name"],
  ["a+name"],
  ["https://example.com/audit"],
  ["example.com/audit/"],
  [""],
  ["example.com/audit", "--archive"],
  ["--archive", "--public", "x"],
  ["--public", "/nothing"],
  ["--unknown"],
])("%j is wrong usage", async (...args: string[]) => {
  const { code, out, err } = await keygen(...args.filter((arg) => typeof arg === "string"));
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(err).not.toBe("");
});

it("tells how keys are kept, changed, lost and stolen", async () => {
  const { code, out } = await keygen("--help");
  expect(code).toBe(0);
  for (const word of ["AUDIT_LOG_KEY", "AUDIT_ARCHIVE_KEY", "stolen", "lost", "both sign"]) expect(out).toContain(word);
});
