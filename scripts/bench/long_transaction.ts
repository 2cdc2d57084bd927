// Tens of thousands of single-row statements in one transaction. Row versions that a transaction leaves behind cannot
// be pruned before it ends, so whatever walks them gets slower with every statement.
import { insertOne } from "./sample.ts";
import type { Scenario } from "./scenario.ts";
import { withClient } from "./variants.ts";

const STATEMENTS = 30_000;
const SAMPLE = 1_000;

export const LONG_TRANSACTION: Scenario[] = [
  longTransaction("long-transaction", "one organisation", 1),
  longTransaction("long-transaction-two-organizations", "two organisations in turn", 2),
];

function longTransaction(name: string, title: string, organizations: number): Scenario {
  return {
    name,
    title: `${STATEMENTS.toLocaleString("en")} statements, ${title}`,
    kind: "long",
    variants: ["unaudited", "ours"],
    run: ({ url }) =>
      withClient(url, async (client) => {
        await client.query(WRITE_SINGLY);
        await client.query(insertOne("1"));
        const { rows: [{ first_us, last_us }] } = await client.query(
          "select * from pg_temp.write_singly($1, $2, $3)",
          [STATEMENTS, SAMPLE, organizations],
        );
        return { first_us, last_us, growth: last_us / first_us };
      }),
  };
}

const WRITE_SINGLY = `
  create function pg_temp.write_singly(
    statements int, sample int, organizations int, out first_us float8, out last_us float8
  )
    language plpgsql
  as $$
  declare
    mark timestamptz := clock_timestamp();
  begin
    for i in 1..statements loop
      if i = statements - sample + 1 then
        mark := clock_timestamp();
      end if;
      ${insertOne("1 + i % organizations")};
      if i = sample then
        first_us := extract(epoch from clock_timestamp() - mark) * 1e6 / sample;
      end if;
    end loop;
    last_us := extract(epoch from clock_timestamp() - mark) * 1e6 / sample;
  end
  $$`;
