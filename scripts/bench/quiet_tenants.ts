// Made-up tenants in whose hours nothing is wrong: queries by the hour with the rhythms of days and weeks, from counts
// that differ by chance alone to such that come in bursts.
import { HOUR } from "./nab.ts";

export type QuietTenant = { kind: string; buckets: { hour: number; queries: number; cost: number }[] };

/** Of the days before it no alert is expected, whatever happens. */
export const WARM_UP_DAYS = 5;

const KINDS = [
  { kind: "around the clock, by chance", night: 0.3, weekend: 0.6, burstiness: 0 },
  { kind: "office hours, by chance", night: 0.01, weekend: 0.05, burstiness: 0 },
  { kind: "around the clock, uneven (NB, k = 20)", night: 0.3, weekend: 0.6, burstiness: 1 / 20 },
  { kind: "office hours, uneven (NB, k = 10)", night: 0.02, weekend: 0.1, burstiness: 1 / 10 },
  { kind: "around the clock, bursty (NB, k = 4)", night: 0.3, weekend: 0.6, burstiness: 1 / 4 },
  { kind: "a nightly batch, and few besides", night: 0.2, weekend: 1, burstiness: 1 / 10, batch: true },
  { kind: "rare", night: 0.1, weekend: 0.2, burstiness: 1, busiest: 3 },
];

const FIRST = Date.UTC(2015, 1, 26);

export function quietTenants(each: number, days: number, random: () => number): QuietTenant[] {
  return KINDS.flatMap(({ kind, night, weekend, burstiness, batch, busiest }) =>
    Array.from({ length: each }, () => {
      const level = busiest ?? (batch ? 20 : 10 ** (1 + 2.5 * random()));
      const noon = 12 + 8 * (random() - 0.5);
      const dear = 10 ** (-3 + 2 * random());
      const buckets = Array.from({ length: days * 24 }, (_, index) => {
        const hour = FIRST + index * HOUR;
        const clock = index % 24;
        const day = new Date(hour).getUTCDay();
        const away = Math.min(Math.abs(clock - noon), 24 - Math.abs(clock - noon));
        const rhythm = Math.max(night, Math.cos(Math.min(away / 9, 1) * Math.PI / 2) ** 2) *
          (day % 6 === 0 ? weekend : 1);
        const rate = level * rhythm * (burstiness > 0 ? gamma(1 / burstiness, random) * burstiness : 1);
        // The batch begins now and then an hour earlier or later.
        const runs = batch && clock === Math.round(noon) + (random() < 0.1 ? 1 : 0);
        const queries = poisson(rate, random) + (runs ? poisson(400 * (0.8 + 0.4 * random()), random) : 0);
        return { hour, queries, cost: Number((dear * gamma(queries, random)).toFixed(6)) };
      });
      return { kind, buckets };
    })
  );
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

function poisson(mean: number, random: () => number): number {
  if (mean > 50) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  let count = 0;
  for (let product = random(); product > Math.exp(-mean); product *= random()) count++;
  return count;
}

/** Marsaglia and Tsang's method; the mean is the shape. */
function gamma(shape: number, random: () => number): number {
  if (shape === 0) return 0;
  if (shape < 1) return gamma(shape + 1, random) * random() ** (1 / shape);
  const d = shape - 1 / 3;
  for (;;) {
    const x = normal(random);
    const v = (1 + x / Math.sqrt(9 * d)) ** 3;
    if (v > 0 && Math.log(1 - random()) < x * x / 2 + d - d * v + d * Math.log(v)) return d * v;
  }
}
