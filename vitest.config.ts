import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // They have a configuration of their own, beside them.
    exclude: ["test/browser/**"],
    globalSetup: "test/support/global_setup.ts",
    // A test that waits for a lock it should never meet ends by statement_timeout (test/support/database.ts) before this.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // The database server works beside them: two files at a time keep two cores busy.
    maxWorkers: 2,
  },
});
