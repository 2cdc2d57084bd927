// How fast an archive is verified offline: a generated one of one organisation, in a folder, read by `npm run verify`'s own
// code with as many threads as there are processors.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { formatVerifierKey, generateKey } from "../../functions/_shared/tlog/key.ts";
import { runVerification } from "../cli/verify/run.ts";
import { SampleOrganization } from "./sample_archive.ts";

const SILENT = { begin() {}, advance() {} };
/** Entries of about 600 bytes each. */
const PADDING = 100;

export async function verifySpeed(entries: number): Promise<{ entries: number; seconds: number }> {
  const folder = await mkdtemp(join(tmpdir(), "audit-bench-archive-"));
  try {
    const key = generateKey("bench.example/audit", "note");
    const organization = new SampleOrganization("0a000000-0000-4000-8000-000000000001", {
      keys: [key],
      padding: PADDING,
      async write(path, bytes) {
        await mkdir(dirname(join(folder, path)), { recursive: true });
        await writeFile(join(folder, path), bytes);
      },
    });
    await organization.month("2026-01", entries, { chains: 16, interval: 1_000_000n });
    const report = await runVerification({ target: folder, keys: [formatVerifierKey(key)] }, SILENT);
    if (!report.verified) throw new Error(`the archive does not verify: ${JSON.stringify(report.findings)}`);
    return { entries: report.entries, seconds: report.seconds };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
