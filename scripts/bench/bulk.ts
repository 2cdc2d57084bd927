// Many rows in one statement.
import { insertMany } from "./sample.ts";
import type { Scenario } from "./scenario.ts";
import { VARIANTS, withClient } from "./variants.ts";

export const BULK: Scenario[] = [10_000, 100_000].map((rows) => ({
  name: `bulk-${rows}`,
  title: `${rows.toLocaleString("en")} rows in one INSERT`,
  kind: "bulk",
  variants: VARIANTS,
  run: ({ url }) =>
    withClient(url, async (client) => {
      // The first statement of a connection also loads catalogues and compiles the trigger; imports are long-lived.
      await client.query(insertMany(10, "1"));
      const start = performance.now();
      await client.query(insertMany(rows, "1"));
      return { us_per_row: (performance.now() - start) * 1000 / rows };
    }),
}));
