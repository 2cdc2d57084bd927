// Loads a data set of places, by which audit.place_of() says where addresses are. See --help.
import { createReadStream } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { Command, CommanderError } from "commander";
import { parse } from "csv-parse";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { countryCircles } from "./country_circles.ts";

type Options = { database: string; file: string[]; attribution?: string };

const PACKAGE = "@ip-location-db/dbip-country";
const HELP = `
Without --file it is the data set of the npm package ${PACKAGE}: countries, by DB-IP, CC BY 4.0. Its licence asks
that whoever shows the places shows this link: <a href='https://db-ip.com'>IP Geolocation by DB-IP</a>.

A file is CSV, packed with gzip where its name ends so, with the columns
  first address, last address, country                                                    as in ${PACKAGE}
  first, last, continent, country, region, city, latitude, longitude                      DB-IP's free city data
  first, last, country, region, area, city, postcode, latitude, longitude, time zone      ip-location-db's
and --attribution says whose it is and under which licence: it is kept beside the data.

Where a file has latitude and longitude, cities are where it says. Without a city somebody is anywhere in the country,
whose extent is that of the npm package @rapideditor/country-coder (ISC). By that, rules tell impossible travel.

Examples:
  npm run places -- --database "$SUPABASE_DB_URL"
  npm run places -- --database "$SUPABASE_DB_URL" --file dbip-city-lite-2026-11.csv.gz \\
    --attribution "IP Geolocation by DB-IP (https://db-ip.com), CC BY 4.0"`;

/** Where country, region, city, latitude and longitude stand, by the number of columns. */
const COLUMNS: Record<number, (number | undefined)[]> = {
  3: [2, undefined, undefined, undefined, undefined],
  8: [3, 4, 5, 6, 7],
  10: [2, 3, 5, 7, 8],
};
/** How far from a city's coordinates somebody can be whose address is said to be there. */
const CITY_KM = 100;

const program = new Command("npm run places --")
  .description("Loads a data set of places, in place of the one before.")
  .requiredOption("--database <URL>", "the project's database, as its owner")
  .option("--file <file...>", "CSV of ranges; several are one data set", [])
  .option("--attribution <text>", "whose data it is, and under which licence; needed with --file")
  .addHelpText("after", HELP)
  .exitOverride()
  .action(load);

try {
  await program.parseAsync();
} catch (error) {
  // Commander has said what is wrong with the arguments, or printed the help.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    console.error(`Error: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}

async function load({ database, file, attribution }: Options): Promise<void> {
  const { files, credit } = file.length === 0 ? ofPackage() : { files: file, credit: attribution };
  if (credit === undefined) throw new Error("--attribution is missing: say whose data it is, and under which licence.");
  const client = new pg.Client({ connectionString: database });
  await client.connect();
  try {
    await client.query("begin");
    await client.query(
      `create temporary table loaded (
         first_address inet, last_address inet, country text, region text, city text,
         latitude float8 check (latitude between -90 and 90), longitude float8 check (longitude between -180 and 180)
       ) on commit drop`,
    );
    for (const each of files) await copyFile(client, each);
    await client.query("analyze loaded");
    await checkRanges(client);
    // Whoever asks meanwhile sees the places of before.
    await client.query("delete from audit.place_ranges; delete from audit.places; delete from audit.place_data");
    await client.query(
      `with place as (
         select country, region, city, avg(latitude) as latitude, avg(longitude) as longitude
         from loaded group by country, region, city
       ),
       reach as (
         -- Of several cities of one name, or what is said of one at several points, all.
         select p.country, p.region, p.city, p.latitude, p.longitude,
           max(audit.km_between(p.latitude, p.longitude, l.latitude, l.longitude)) + $2 as radius
         from place p
         left join loaded l on p.city is not null and l.country = p.country and l.region is not distinct from p.region and l.city = p.city
         group by p.country, p.region, p.city, p.latitude, p.longitude
       )
       insert into audit.places (id, country, region, city, latitude, longitude, radius_km)
       select row_number() over (order by r.country, r.region, r.city), r.country, r.region, r.city,
         case when r.radius is null then c.latitude else r.latitude end,
         case when r.radius is null then c.longitude else r.longitude end, coalesce(r.radius, c.radius)
       from reach r
       left join jsonb_to_recordset($1) c (country text, latitude float8, longitude float8, radius float8) on c.country = r.country`,
      [JSON.stringify(countryCircles()), CITY_KM],
    );
    const { rowCount } = await client.query(
      `with range as (
         select l.first_address, l.last_address, p.id as place
         from loaded l
         join audit.places p on p.country = l.country and p.region is not distinct from l.region and p.city is not distinct from l.city
         union all
         -- Between ranges nothing is known.
         select g.first_address, null, null
         from (
           select l.last_address + 1 as first_address, lead(l.first_address) over (order by l.first_address) as next_address
           from loaded l
           where l.last_address not in ('255.255.255.255', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')
         ) g
         where g.next_address is distinct from g.first_address
         union all
         -- What is before the first of IPv6 is not with the last of IPv4.
         select '::', null, null
         where not exists (select from loaded l where l.first_address = '::')
       )
       insert into audit.place_ranges (first_address, place)
       select r.first_address, r.place
       from (
         select r.first_address, r.place, lag(r.place) over w as place_before, row_number() over w as n, family(r.first_address) as family,
           lag(family(r.first_address)) over w as family_before
         from range r
         window w as (order by r.first_address)
       ) r
       where r.n = 1 or r.place is distinct from r.place_before or r.family <> r.family_before`,
    );
    await client.query("insert into audit.place_data (attribution) values ($1)", [credit]);
    await client.query("commit");
    await client.query("vacuum (analyze) audit.place_ranges");
    await client.query("vacuum (analyze) audit.places");
    const { rows: [size] } = await client.query(
      `select count(*) as places, pg_size_pretty(pg_total_relation_size('audit.place_ranges') + pg_total_relation_size('audit.places')) as size
       from audit.places`,
    );
    console.log(`${rowCount} ranges of ${size.places} places loaded, ${size.size}.\n${credit}`);
  } finally {
    await client.end();
  }
}

function ofPackage(): { files: string[]; credit: string } {
  const resolved = createRequire(import.meta.url).resolve(`${PACKAGE}/package.json`);
  const { version } = createRequire(import.meta.url)(resolved) as { version: string };
  return {
    files: ["ipv4", "ipv6"].map((family) => join(dirname(resolved), `dbip-country-${family}.csv`)),
    credit: `IP Geolocation by DB-IP (https://db-ip.com), CC BY 4.0; ${PACKAGE} ${version}`,
  };
}

async function copyFile(client: pg.Client, file: string): Promise<void> {
  const rows = new Transform({
    writableObjectMode: true,
    transform(row: string[], _, done) {
      const columns = COLUMNS[row.length];
      if (columns === undefined) return done(new Error(`${file} has ${row.length} columns; see --help.`));
      const [first, last] = row;
      const place = columns.map((at) => at === undefined ? null : row[at] || null);
      // ZZ is a country that nobody knows.
      if (place[0] === null || place[0] === "ZZ") return done();
      done(null, `${[first, last, ...place].map((value) => quote(value ?? null)).join(",")}\n`);
    },
  });
  const packed = file.endsWith(".gz") ? [createGunzip()] : [];
  await pipeline([
    createReadStream(file),
    ...packed,
    parse({ relax_column_count: true }),
    rows,
    client.query(copyFrom("copy loaded from stdin (format csv)")),
  ] as never);
}

/** For COPY: what is null has no quotes. */
function quote(value: string | null): string {
  return value === null ? "" : `"${value.replaceAll('"', '""')}"`;
}

async function checkRanges(client: pg.Client): Promise<void> {
  const { rows: [wrong] } = await client.query(
    `select host(l.first_address) || ' to ' || host(l.last_address) as range
     from (select *, lead(first_address) over (order by first_address) as next_address from loaded) l
     where l.last_address < l.first_address or family(l.last_address) <> family(l.first_address) or l.next_address <= l.last_address
       and family(l.next_address) = family(l.first_address)
     limit 1`,
  );
  if (wrong !== undefined) throw new Error(`Range ${wrong.range} ends before it begins, or where the next one begins.`);
  const { rows: [{ count }] } = await client.query("select count(*)::int as count from loaded");
  if (count === 0) throw new Error("There is no range in it.");
}
