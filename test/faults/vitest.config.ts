// Apart from `npm test`: these take minutes, and have the machine to themselves.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/faults/faults.ts", "test/faults/load.ts"],
    globalSetup: "test/support/global_setup.ts",
    hookTimeout: 300_000,
    bail: 1,
  },
});
