// What a generated log holds: which organisations, how busy, with how many people, which words. Everything follows from
// the number of entries, a seed and the time of its end, so that a log can be made again and searched for known values.
import { createHash } from "node:crypto";
import { MODELS } from "../demo/prices.ts";

export type LogSize = { entries: number; seed: number; end: Date };

export type PlannedOrganization = {
  /** From 1; the first is the one that is measured. */
  number: number;
  id: string;
  /** Of two entries each, like a query and its response. */
  units: number;
  /** Blocks of so many units that one batch job made. */
  batches: number;
  actors: number;
  /** As many connections as wrote for it. */
  chains: number;
};

export type LogPlan = LogSize & {
  start: Date;
  units: number;
  /** Units come in blocks; some blocks are one batch of one organisation, of the others each unit stands for itself. */
  blocks: number;
  batches: number;
  organizations: PlannedOrganization[];
};

export const ENTRIES_PER_UNIT = 2;
export const UNITS_PER_BLOCK = 20;
/** The measured organisation has this share of all entries, exactly. */
export const MEASURED_SHARE = 0.1;
const MONTHS = 14;
const BATCHED = 0.25;
const MOST_ACTORS = 1_000;
const MOST_CHAINS = 16;

/** The organisation that is measured has a tenth; the n-th of the others 1/n^1.1 as much as the first. */
export function planLog(size: LogSize): LogPlan {
  const step = ENTRIES_PER_UNIT * UNITS_PER_BLOCK;
  if (size.entries < 4_000 || size.entries % step !== 0) {
    throw new Error(`a generated log has at least 4,000 entries, and a multiple of ${step}`);
  }
  const units = size.entries / ENTRIES_PER_UNIT;
  const others = Math.min(400, Math.max(8, Math.round(size.entries / 25_000)));
  const shares = apportion(
    units - units * MEASURED_SHARE,
    Array.from({ length: others }, (_, index) => (index + 1) ** -1.1),
  );
  const organizations = [units * MEASURED_SHARE, ...shares].map((own, index): PlannedOrganization => ({
    number: index + 1,
    id: organizationId(index + 1),
    units: own,
    batches: Math.floor(own * BATCHED / UNITS_PER_BLOCK),
    actors: Math.min(MOST_ACTORS, Math.max(3, Math.round(own / 250))),
    chains: Math.min(MOST_CHAINS, Math.max(1, Math.round(Math.sqrt(own) / 40))),
  }));
  const start = new Date(size.end);
  start.setUTCMonth(start.getUTCMonth() - MONTHS);
  return {
    ...size,
    start,
    units,
    blocks: units / UNITS_PER_BLOCK,
    batches: organizations.reduce((sum, { batches }) => sum + batches, 0),
    organizations,
  };
}

/** Whole numbers in the proportion of the weights that add up to the total. */
export function apportion(total: number, weights: number[]): number[] {
  const sum = weights.reduce((a, b) => a + b, 0);
  let given = 0;
  let weight = 0;
  return weights.map((each) => {
    weight += each;
    const share = Math.round(total * weight / sum) - given;
    given += share;
    return share;
  });
}

/** A number that shares no factor with `count` and lies near its golden section: its multiples go round evenly. */
export function stride(count: number): number {
  let candidate = Math.max(1, Math.round(count * 0.6180339887498949));
  while (commonDivisor(candidate, count) !== 1) candidate += 1;
  return candidate;
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

/** As the load's own (sample.ts), so that it writes for organisations that have a past in the generated log. */
export function organizationId(number: number): string {
  return uuidOf(String(number));
}

/** The user with this rank in an organisation: 1 is the busiest. The first two are admins, the others members. */
export function actorId(organization: string, rank: number): string {
  return uuidOf(`actor ${organization}/${rank}`);
}

export function actorEmail(number: number, rank: number): string {
  return `person${rank}@organization${number}.example`;
}

/** As `md5(name)::uuid` in SQL. */
function uuidOf(name: string): string {
  const hex = createHash("md5").update(name).digest("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** From the most frequent to the least; a value of rank n occurs about 1/n as often as the first. */
export const WORDS = (
  "report summary contract invoice customer analysis revenue quarterly translation review draft email product forecast " +
  "policy meeting support ticket campaign budget risk compliance proposal market survey audit onboarding pricing vendor " +
  "renewal incident security research roadmap release feedback candidate interview supplier shipment inventory warranty " +
  "refund subscription churn segment pipeline territory commission payroll expense benefit pension claim underwriting " +
  "litigation deposition clause appendix exhibit patent trademark licence royalty merger acquisition valuation dividend " +
  "ledger reconciliation accrual depreciation amortisation treasury hedge derivative collateral covenant syndicate " +
  "actuary prognosis dosage biopsy pathology radiology cardiology oncology neurology epidemiology turbine reactor " +
  "alloy polymer catalyst spectrometer centrifuge calibration tolerance torque gearbox hydraulic pneumatic conveyor"
).split(" ");

/** So many more words, made of syllables: the names, codes and rare terms of real text. */
export const RARE_WORDS = 50_000;
export const SYLLABLES = (
  "ba ke lo mi nu pra sto tri vel wan xo yor zim dal fen gar hul jin kos lem mor nif oru pel qua rin sav tul umi vok " +
  "wes yal zen bri cro dru fla gle hin jov"
).split(" ");

/** The rare word of this rank, from 1. `RARE_WORD_SQL` says the same. */
export function rareWord(rank: number): string {
  const digit = (place: number) => SYLLABLES[Math.floor(rank / SYLLABLES.length ** place) % SYLLABLES.length];
  return `${digit(0)}${digit(1)}${digit(2)}`;
}

/** The last is a provider that was used in the beginning only. */
export const OFFERED = [...MODELS, { provider: "cohere", name: "command-r", input: 50, output: 150, weight: 0 }];
