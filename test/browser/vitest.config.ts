// Tests in a real browser: one stack for all of them, and one file after the other, since they change who may what.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: fileURLToPath(new URL("../../", import.meta.url)),
  test: {
    include: ["test/browser/**/*.test.ts"],
    globalSetup: "test/browser/global_setup.ts",
    testTimeout: 60_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});
