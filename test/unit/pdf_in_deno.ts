// Makes the report of the JSON on stdin in the runtime that runs this, and writes what came out to stdout: pdf.test.ts runs
// it in Deno, where the functions run.
import { Buffer } from "node:buffer";
import { text } from "node:stream/consumers";
import process from "node:process";
import { searchReport } from "../../functions/_shared/pdf/search_report.ts";

const report = JSON.parse(await text(process.stdin));
const { pdf, pages, contentHash } = await searchReport({ ...report, generatedAt: new Date(report.generatedAt) });
process.stdout.write(JSON.stringify({ pages, contentHash, pdf: Buffer.from(pdf).toString("base64") }));
