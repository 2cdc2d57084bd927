import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

/** One request of the trace. */
export interface TraceRow {
  /** 1 for the first row below the header. */
  number: number;
  /** Microseconds since 1970, what Postgres stores; the seventh decimal of the trace is dropped. */
  time: number;
  contextTokens: number;
  generatedTokens: number;
}

const HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens";
const ROW = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2})\.(\d{6})\d,(\d{1,9}),(\d{1,9})$/;
const MAX_BYTES = 256 * 1024 * 1024;

/** The trace that LLM_TRACE names, else the whole one beside the checkout, else the sample in it. */
export function findTrace(): string {
  const named = process.env["LLM_TRACE"];
  if (named) {
    if (!existsSync(named)) throw new Error(`LLM_TRACE names ${named}, which is not there`);
    return named;
  }
  const whole = fromRoot("../shared/data/llm/AzureLLMInferenceTrace_code_2023.csv.gz");
  return existsSync(whole) ? whole : fromRoot("data/llm-trace-sample.csv");
}

export function readTrace(path: string): TraceRow[] {
  const bytes = readFileSync(path);
  const gzipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return parseTrace((gzipped ? gunzipSync(bytes, { maxOutputLength: MAX_BYTES }) : bytes).toString("utf8"));
}

/** Lines may end in LF or CR LF, the last one in nothing. */
export function parseTrace(text: string): TraceRow[] {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  if (lines.shift() !== HEADER) throw new Error(`line 1 of the trace: expected the header ${HEADER}`);
  return lines.map((line, index) => parseRow(line, index + 1));
}

function parseRow(line: string, number: number): TraceRow {
  const [, date, clock, fraction, context, generated] = ROW.exec(line) ?? [];
  const milliseconds = Date.parse(`${date}T${clock}Z`);
  // Date.parse takes 30 February for 1 March; only a date that comes back unchanged is one.
  if (!(milliseconds >= 0) || !new Date(milliseconds).toISOString().startsWith(`${date}T${clock}`)) {
    throw new Error(
      `line ${number + 1} of the trace: expected YYYY-MM-DD HH:MM:SS.fffffff,tokens,tokens; ` +
        `found ${JSON.stringify(line.slice(0, 80))}`,
    );
  }
  return {
    number,
    time: milliseconds * 1000 + Number(fraction),
    contextTokens: Number(context),
    generatedTokens: Number(generated),
  };
}

/** As Postgres reads it, to the microsecond. */
export function formatTime(microseconds: number): string {
  const seconds = new Date(Math.floor(microseconds / 1000)).toISOString().slice(0, 19);
  return `${seconds}.${String(microseconds % 1_000_000).padStart(6, "0")}Z`;
}

function fromRoot(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}
