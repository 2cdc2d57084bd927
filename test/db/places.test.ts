// Places of addresses, loaded as people load them: from the package, and from files in the shapes that are offered.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

let db: TestDatabase;
let client: pg.Client;
let folder: string;
beforeAll(async () => {
  db = await createDatabase("product");
  client = await db.connect();
  folder = await mkdtemp(join(tmpdir(), "audit-places-"));
});
afterAll(async () => {
  await db.drop();
  await rm(folder, { recursive: true });
});

async function places(...args: string[]): Promise<{ code: number; output: string }> {
  const child = spawn(join(ROOT, "node_modules/.bin/tsx"), ["scripts/cli/places.ts", "--database", db.url(), ...args], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => output += chunk);
  const [code] = await once(child, "close");
  return { code, output };
}

async function placeOf(address: string | null): Promise<(string | null)[]> {
  const { rows } = await client.query({
    text: "select * from audit.place_of($1)",
    values: [address],
    rowMode: "array",
  });
  return rows[0]!;
}

/** Cities at the ends of countries, also across the date line. */
const WITHIN: [string, ...[number, number][]][] = [
  ["US", [21.31, -157.86], [71.29, -156.79], [25.76, -80.19], [44.9, -66.98]],
  ["RU", [54.71, 20.51], [66.16, -169.81], [43.12, 131.9]],
  ["FR", [51.03, 2.38], [41.39, 9.16], [48.39, -4.49]],
  ["NZ", [-43.95, -176.56], [-46.41, 168.35], [-34.43, 172.68]],
  ["FJ", [-16.78, 179.99], [-18.14, 178.44], [-19.1, -178.2]],
  ["ES", [28.12, -15.43], [42.27, 3.19]],
  ["SG", [1.35, 103.82]],
];

const file = async (name: string, content: string | Uint8Array) => {
  await writeFile(join(folder, name), content);
  return join(folder, name);
};

test("without data an address is nowhere", async () => {
  expect(await placeOf("192.0.2.1")).toEqual([null, null, null]);
});

test("the package's countries are loaded, with whose they are", async () => {
  const { code, output } = await places();
  expect(output).toMatch(
    /ranges of 2\d\d places loaded.*\nIP Geolocation by DB-IP \(https:\/\/db-ip\.com\), CC BY 4\.0/,
  );
  expect(code).toBe(0);
  for (const [address, country] of [["8.8.8.8", "US"], ["193.0.6.139", "NL"], ["2001:67c:2e8:22::c100:68b", "NL"]]) {
    expect([address, await placeOf(address!)]).toEqual([address, [country, null, null]]);
  }
  // As proxies write them; and what is no address, or nobody's.
  expect(await placeOf("[2001:67c:2e8:22::c100:68b]:443")).toEqual(["NL", null, null]);
  for (const address of ["10.0.0.1", "fe80::1%eth0", "client.example.com", "", null]) {
    expect([address, await placeOf(address)]).toEqual([address, [null, null, null]]);
  }
  // Without a city somebody is anywhere in the country; each country of the data has its circle.
  const { rows: circles } = await client.query(
    "select country, latitude, longitude, radius_km as radius from audit.places",
  );
  const circle = (country: string) => circles.find((each) => each.country === country);
  expect(circles.filter(({ radius }) => !(radius > 50)).map(({ country }) => country)).toEqual([]);
  for (const [country, ...cities] of WITHIN) {
    for (const [latitude, longitude] of cities) {
      const { rows: [{ km }] } = await client.query("select audit.km_between($1, $2, $3, $4) as km", [
        circle(country).latitude,
        circle(country).longitude,
        latitude,
        longitude,
      ]);
      expect(km, country).toBeLessThan(circle(country).radius);
    }
  }
  // As small as that allows, without what has a code of its own: French Guiana, Puerto Rico.
  expect(circle("FR").radius).toBeLessThan(900);
  expect(circle("DE").radius).toBeLessThan(550);
  expect(circle("GF").latitude).toBeLessThan(10);
  const { rows } = await client.query("select attribution from audit.place_data");
  expect(rows[0].attribution).toMatch(/^IP Geolocation by DB-IP .*CC BY 4\.0/);
}, 120_000);

test("cities are loaded where a file has them; between ranges nothing is known", async () => {
  const cities = await file(
    "cities.csv.gz",
    gzipSync(
      `192.0.2.0,192.0.2.99,EU,DE,"Berlin, Land",Berlin,52.5,13.4\n` +
        `192.0.2.100,192.0.2.127,EU,DE,"Berlin, Land",Berlin,52.5,13.4\n` +
        `192.0.2.200,192.0.2.255,EU,FR,Île-de-France,"L'Haÿ-""les""-Roses",48.8,2.3\n` +
        `198.51.100.0,198.51.100.255,ZZ,ZZ,,,0,0\n` +
        `255.255.255.0,255.255.255.255,EU,FR,,,48.8,2.3\n` +
        `2001:db8::,2001:db8::ffff,EU,DE,"Berlin, Land",Berlin,52.5,13.4\n`,
    ),
  );
  expect(await places("--file", cities, "--attribution", "Us, CC0")).toMatchObject({ code: 0 });
  for (
    const [address, place] of [
      ["192.0.1.255", [null, null, null]],
      ["192.0.2.0", ["DE", "Berlin, Land", "Berlin"]],
      ["192.0.2.127", ["DE", "Berlin, Land", "Berlin"]],
      ["192.0.2.128", [null, null, null]],
      ["192.0.2.255", ["FR", "Île-de-France", `L'Haÿ-"les"-Roses`]],
      ["192.0.3.0", [null, null, null]],
      ["198.51.100.7", [null, null, null]],
      ["255.255.255.255", ["FR", null, null]],
      ["::1", [null, null, null]],
      ["2001:db8::5", ["DE", "Berlin, Land", "Berlin"]],
      ["2001:db8::1:0", [null, null, null]],
    ] as [string, (string | null)[]][]
  ) expect([address, await placeOf(address)]).toEqual([address, place]);
  const { rows: circles } = await client.query(
    "select city, country, round(latitude::numeric, 1)::float8 as latitude, round(radius_km) as radius from audit.places order by id",
  );
  expect(circles).toEqual([
    { city: "Berlin", country: "DE", latitude: 52.5, radius: 100 },
    { city: `L'Haÿ-"les"-Roses`, country: "FR", latitude: 48.8, radius: 100 },
    { city: null, country: "FR", latitude: 45.5, radius: 813 },
  ]);
  // Neighbours of one place are one range.
  expect((await client.query("select from audit.place_ranges where first_address = '192.0.2.100'")).rowCount).toBe(0);
  expect((await client.query("select attribution from audit.place_data")).rows).toEqual([{ attribution: "Us, CC0" }]);
});

test("cities of one name in a region are as far as they are apart", async () => {
  const cities = await file(
    "twice.csv",
    `192.0.2.0,192.0.2.99,NA,US,Wisconsin,Springfield,43,-89\n192.0.2.100,192.0.2.255,NA,US,Wisconsin,Springfield,45,-91\n`,
  );
  expect(await places("--file", cities, "--attribution", "Us, CC0")).toMatchObject({ code: 0 });
  const { rows } = await client.query("select latitude, longitude, round(radius_km) as radius from audit.places");
  expect(rows).toEqual([{ latitude: 44, longitude: -90, radius: 237 }]);
});

test.each([
  ["192.0.2.0,192.0.2.99,DE\n192.0.2.50,192.0.2.120,FR\n", "192.0.2.0 to 192.0.2.99"],
  ["192.0.2.9,192.0.2.0,DE\n", "ends before it begins"],
  ["192.0.2.0,2001:db8::,DE\n", "ends before it begins"],
  ["192.0.2.0,192.0.2.9\n", "has 2 columns"],
  ["192.0.2.0,192.0.2.9,EU,DE,,Berlin,152.5,13.4\n", "loaded_latitude_check"],
  ["here,there,DE\n", "invalid input syntax"],
  ["", "no range"],
])("a file that says %j is refused, and the places stay", async (content, message) => {
  const before = await placeOf("192.0.2.0");
  const { code, output } = await places("--file", await file("bad.csv", content), "--attribution", "Us");
  expect(code).toBe(1);
  expect(output).toContain(message);
  expect(await placeOf("192.0.2.0")).toEqual(before);
});

test("a file without its licence is refused", async () => {
  const { code, output } = await places("--file", await file("any.csv", "192.0.2.0,192.0.2.1,DE\n"));
  expect([code, output]).toEqual([1, expect.stringContaining("--attribution")]);
});
