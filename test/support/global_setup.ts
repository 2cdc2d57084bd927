// One cluster for the whole run; each test file takes databases from it (database.ts).
import type { TestProject } from "vitest/node";
import { startTestCluster } from "./cluster.ts";

declare module "vitest" {
  interface ProvidedContext {
    clusterPort: number;
  }
}

export default async function (project: TestProject): Promise<() => Promise<void>> {
  const cluster = await startTestCluster();
  project.provide("clusterPort", cluster.port);
  return () => cluster.remove();
}
