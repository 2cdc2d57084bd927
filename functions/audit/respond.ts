// The parts of a route's description that all routes share.
import type { z } from "@hono/zod-openapi";
import { ProblemBody } from "./schemas.ts";

const PROBLEM = {
  default: {
    description: "A problem: what is wrong, where, and the way out (RFC 9457).",
    content: { "application/problem+json": { schema: ProblemBody } },
  },
};

/** Responses of a route that answers JSON. */
export function answers<S extends z.ZodType>(description: string, schema: S) {
  return { 200: { description, content: { "application/json": { schema } } }, ...PROBLEM };
}

/** Responses of a route that answers something else. */
export const PROBLEMS = PROBLEM;

/** The request needs the access token of a person. */
export const SIGNED_IN = [{ bearer: [] as string[] }];

/** A JSON body. */
export function body<S extends z.ZodType>(schema: S) {
  return { required: true, content: { "application/json": { schema } } };
}
