// A local stack for the whole run, with the built viewer; each test file opens a browser on it (support.ts).
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";
import type { StackInfo } from "../../scripts/stack/info.ts";
import { freePort } from "../../scripts/stack/ports.ts";
import { startStack } from "../../scripts/stack/stack.ts";

declare module "vitest" {
  interface ProvidedContext {
    stack: StackInfo;
  }
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export default async function (project: TestProject): Promise<() => Promise<void>> {
  const dir = await mkdtemp(join(tmpdir(), "audit-viewer-"));
  const stack = await startStack({ root: ROOT, dir, port: await freePort(), dbPort: await freePort() });
  project.provide("stack", stack.info);
  return async () => {
    await stack.stop();
    await rm(dir, { recursive: true, force: true });
  };
}
