// The viewer's page, built as `npm run build:viewer` does; the function audit-viewer serves what lies there.
import { join } from "node:path";

export async function buildViewer(root: string): Promise<void> {
  const { build } = await import("vite");
  await build({ configFile: join(root, "functions", "audit-viewer", "vite.config.ts"), logLevel: "warn" });
}
