import { expect, test } from "vitest";
import { client } from "../support/workbench.ts";
test("tests of rules", async () => {
  const { rows } = await client.query("select * from audit.test_rules()");
  console.table(rows);
  await client.query("insert into public.budgets (organization_id) values (gen_random_uuid())");
  const c = await client.query("select audit.evaluate_rules()"); console.log(c.rows);
  expect(rows.filter((r: any) => !r.passed)).toEqual([]);
});
