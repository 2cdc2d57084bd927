/**
 * The names of our logs: one for each organisation and calendar month (UTC), `<base>/<organization_id>/<yyyy-mm>`. C2SP
 * tlog-checkpoint wants a URL without scheme, spaces and plus signs.
 */
import { TlogError } from "./error.ts";
import { hasControls } from "./text.ts";

/** `base` names the deployment, like "example.com/audit"; `month` is "2026-11". */
export type LogName = { base: string; organizationId: string; month: string };

export function formatOrigin({ base, organizationId, month }: LogName): string {
  const origin = `${base}/${organizationId}/${month}`;
  // What could not be read is not written either.
  parseOrigin(origin);
  return origin;
}

export function parseOrigin(origin: string): LogName {
  const [, base, organizationId, month] = PATTERN.exec(origin) ?? [];
  if (base === undefined || organizationId === undefined || month === undefined || hasControls(origin)) {
    throw new TlogError("malformed_origin", `${JSON.stringify(origin.slice(0, 200))} is not the name of a log`);
  }
  return { base, organizationId, month };
}

// No empty part, so no scheme and no slash at an end.
const PATTERN = new RegExp(
  String.raw`^(?=.{1,255}$)([^\p{White_Space}\p{Surrogate}+/]+(?:/[^\p{White_Space}\p{Surrogate}+/]+)*)` +
    String.raw`/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/(\d{4}-(?:0[1-9]|1[0-2]))$`,
  "u",
);
