// Builds the page into dist/: `npm run build:viewer`. Nothing in it is inline, so that the policy need not allow it.
import { defineConfig } from "vite";

const here = (path: string) => new URL(path, import.meta.url).pathname;

export default defineConfig({
  root: here("page"),
  // Relative, because the page lies at another address on every host.
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  resolve: {
    alias: {
      // The verifier of receipts is the one that `npm run verify` uses; a browser has no node:crypto.
      "node:crypto": here("page/node_crypto.ts"),
      "node:buffer": "buffer/",
    },
  },
  build: {
    outDir: here("dist"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
});
