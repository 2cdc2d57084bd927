import { availableParallelism, cpus } from "node:os";
import { generatorName } from "./load.ts";
import { withClient } from "./variants.ts";

export type Machine = { cores: number; processor: string; postgres: string; generator: string };

export async function readMachine(url: string): Promise<Machine> {
  const postgres = await withClient(url, async (client) => {
    const { rows: [row] } = await client.query<{ server_version: string }>("show server_version");
    return row!.server_version;
  });
  return {
    cores: availableParallelism(),
    processor: cpus()[0]?.model.trim() ?? "unknown",
    postgres,
    generator: generatorName(),
  };
}
