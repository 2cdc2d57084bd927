import type { Database, Variant } from "./variants.ts";

export type Metrics = Record<string, number>;

/** One thing to measure. Every run of it has a fresh database of one variant. */
export type Scenario = {
  /** For --only. */
  name: string;
  title: string;
  /** Which table of the report it stands in. */
  kind: "writers" | "isolation" | "idle" | "bulk" | "long" | "index";
  variants: readonly Variant[];
  run(database: Database, options: { seconds: number; round: number }): Promise<Metrics>;
};
