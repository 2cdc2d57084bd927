// What a request that its schema does not fit is told: what is wrong and where.
import type { z } from "@hono/zod-openapi";
import { type Place, Problem } from "../_shared/problem.ts";

type Result = { success: boolean; target?: string; error?: z.ZodError };

/** The hook of every route: goes on where the request is valid. */
export function invalid(result: Result): void {
  if (result.success) return;
  const issue = result.error!.issues[0]!;
  const inBody = result.target === "json";
  const unknown = issue.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const steps = unknown === undefined ? issue.path : [...issue.path, unknown];
  const name = String(steps[0] ?? "");
  const place: Place = inBody
    ? { path: steps.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("") }
    : { parameter: name };
  throw new Problem("invalid_request", describe(issue, name, inBody, unknown), { place });
}

function describe(issue: z.core.$ZodIssue, name: string, inBody: boolean, unknown: string | undefined): string {
  const what = inBody ? "field" : "parameter";
  if (unknown !== undefined) {
    return `There is no ${what} "${unknown.slice(0, 50)}".`;
  }
  const missing = issue.code === "invalid_type" && issue.input === undefined &&
    /undefined/.test(issue.message);
  if (missing) return `The ${what} "${name}" is missing.`;
  return name === "" ? issue.message : `The ${what} "${name}" is not valid: ${issue.message}`;
}
