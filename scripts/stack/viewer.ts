// The viewer's page, built as `npm run build:viewer` does; the function audit-viewer serves what lies there.
import { join } from "node:path";

/** `outDir` is where it goes, if not to the function. */
export async function buildViewer(root: string, outDir?: string): Promise<void> {
  const { build } = await import("vite");
  await build({
    configFile: join(root, "functions", "audit-viewer", "vite.config.ts"),
    logLevel: "warn",
    ...(outDir === undefined ? {} : { build: { outDir } }),
  });
}
