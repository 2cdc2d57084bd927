// Saved searches through HTTP. Who may what stands in test/sql/565_saved_searches.sql.
import { afterAll, beforeAll, expect, test } from "vitest";
import { SavedSearch, SavedSearchList } from "../../functions/audit/schemas.ts";
import { ACME, type Api, BOB, OSCAR, startApi } from "./server.ts";

let api: Api;

beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

async function asked(path: string, status: number, options: { as?: string; method?: string; body?: unknown } = {}) {
  const response = await api.call(path, options);
  const answer = await response.json();
  expect(response.status, JSON.stringify(answer)).toBe(status);
  return answer;
}

test("one is saved, listed, shared and deleted, in its canonical form", async () => {
  const body = { organization_id: ACME, name: "Denied", query: "  outcome:denied   and created:7d" };
  const search = SavedSearch.parse(await asked("/searches", 201, { body }));
  expect(search).toMatchObject({ name: "Denied", query: "outcome:denied created:7d", shared: false, own: true });
  const listed = async (as?: string) =>
    SavedSearchList.parse(await asked(`/searches?organization_id=${ACME}`, 200, as === undefined ? {} : { as }))
      .searches;
  expect(await listed()).toEqual([search]);
  expect(await listed(BOB)).toEqual([]);
  await asked(`/searches/${search.id}`, 404, { as: BOB, method: "PATCH", body: { name: "mine" } });
  const shared = SavedSearch.parse(
    await asked(`/searches/${search.id}`, 200, { method: "PATCH", body: { shared: true } }),
  );
  expect(shared.shared).toBe(true);
  expect(await listed(BOB)).toEqual([{ ...shared, own: false }]);
  await asked(`/searches/${search.id}`, 403, { as: BOB, method: "DELETE" });
  SavedSearch.parse(await asked(`/searches/${search.id}`, 200, { method: "DELETE" }));
  await asked(`/searches/${search.id}`, 404, { method: "DELETE" });
});

test.each<[string, object, number, object]>([
  ["no query", { name: "x" }, 400, { code: "invalid_request", path: "/query" }],
  ["a query that cannot be read", { name: "x", query: "a (b" }, 400, {
    code: "invalid_query",
    path: "/query",
    position: 3,
  }],
  ["no name", { name: "  ", query: "" }, 422, { code: "invalid_argument", path: "/name" }],
  ["an unknown field", { name: "x", query: "", owner: BOB }, 400, { code: "invalid_request", path: "/owner" }],
])("refused: %s", async (_, body, status, problem) => {
  expect(await asked("/searches", status, { body: { organization_id: ACME, ...body } })).toMatchObject(problem);
});

test("who reads no log of the organisation keeps no search of it", async () => {
  await asked("/searches", 403, { as: OSCAR, body: { organization_id: ACME, name: "x", query: "" } });
  await asked(`/searches?organization_id=${ACME}`, 403, { as: OSCAR });
});
