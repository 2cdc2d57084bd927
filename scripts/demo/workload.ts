import { createHash } from "node:crypto";
import type { StackUser } from "../stack/info.ts";
import { cost, type Model, MODELS } from "./prices.ts";
import type { TraceRow } from "./trace.ts";

/** A row of the trace with everything that the trace does not tell. */
export interface Request {
  row: TraceRow;
  queryId: string;
  responseId: string;
  model: Model;
  queryText: string;
  temperature: number;
  /** Null if the provider answered. */
  error: string | null;
  cost: string;
  latencyMs: number;
}

/** What one person sends at once: one request, or a batch of them. */
export interface Unit {
  user: StackUser;
  requests: Request[];
}

/** Half of the blocks of so many rows are batches, the other half requests made one by one. */
const BLOCK = 20;

const ERRORS = [
  { chance: 0.02, message: "429 rate limit exceeded" },
  { chance: 0.007, message: "401 invalid api key" },
  { chance: 0.003, message: "504 upstream timeout" },
];

const TASKS = ["Complete", "Explain", "Write tests for", "Refactor", "Find the bug in", "Document"];
const SUBJECTS = [
  "parse_invoice() in billing/import.py",
  "the retry loop of the upload client",
  "the SQL of the monthly report",
  "RobotArm::moveTo in motion/arm.cpp",
  "the date arithmetic in contracts/deadline.ts",
  "the Über-Cache in src/cache.rs",
  "the 在庫 (stock) endpoint of the warehouse service",
];

/**
 * Spreads the trace over the people who may send queries. Depends on nothing but its arguments, so a second start
 * makes the same requests with the same ids, and an interrupted one can be continued.
 */
export function makeWorkload(rows: TraceRow[], users: StackUser[]): Unit[] {
  const senders = users
    .filter((user) => user.role === "admin" || user.role === "member")
    .sort((a, b) => (digest(a.id).compare(digest(b.id))));
  if (senders.length === 0) throw new Error("the sample application has nobody who may send queries");
  // The n-th sends 1/n as much as the first: few heavy users, as everywhere.
  const weighted = senders.map((user, index) => ({ user, weight: 1 / (index + 1) }));

  const units: Unit[] = [];
  for (let start = 0; start < rows.length; start += BLOCK) {
    const block = rows.slice(start, start + BLOCK);
    const together = draws(`block ${start / BLOCK}`);
    if (together(0) < 0.5) {
      const { user } = pick(weighted, together(1));
      const model = pick(MODELS, together(2));
      units.push({ user, requests: block.map((row) => makeRequest(row, model)) });
    } else {
      for (const row of block) {
        const alone = draws(`row ${row.number}`);
        units.push({ user: pick(weighted, alone(1)).user, requests: [makeRequest(row, pick(MODELS, alone(2)))] });
      }
    }
  }
  return units;
}

function makeRequest(row: TraceRow, model: Model): Request {
  const draw = draws(`request ${row.number}`);
  const name = `${row.number} ${row.time} ${row.contextTokens} ${row.generatedTokens}`;
  const error = pickError(draw(0));
  return {
    row,
    queryId: uuid(`query ${name}`),
    responseId: uuid(`response ${name}`),
    model,
    queryText: `${TASKS[Math.floor(draw(1) * TASKS.length)]} ${SUBJECTS[Math.floor(draw(2) * SUBJECTS.length)]}`,
    temperature: Math.floor(draw(3) * 11) / 10,
    error,
    cost: error === null ? cost(model, row.contextTokens, row.generatedTokens) : cost(model, 0, 0),
    latencyMs: Math.round(150 + row.contextTokens / 20 + (error === null ? row.generatedTokens * 12 : 0)),
  };
}

function pickError(draw: number): string | null {
  let sum = 0;
  for (const { chance, message } of ERRORS) {
    sum += chance;
    if (draw < sum) return message;
  }
  return null;
}

function pick<T extends { weight: number }>(choices: readonly T[], draw: number): T {
  let rest = draw * choices.reduce((sum, { weight }) => sum + weight, 0);
  // Rounding may leave a rest after the last choice: then it is the last.
  return choices.find(({ weight }) => (rest -= weight) < 0) ?? choices.at(-1)!;
}

/** Up to eight independent numbers in [0, 1) that always come out the same for the same name. */
function draws(name: string): (index: number) => number {
  const bytes = digest(name);
  return (index) => bytes.readUInt32BE(index * 4) / 2 ** 32;
}

/** A UUID of version 8 (free form), made from the name. */
export function uuid(name: string): string {
  const bytes = digest(name).subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function digest(name: string): Buffer {
  return createHash("sha256").update(`audit-logs demo: ${name}`).digest();
}
