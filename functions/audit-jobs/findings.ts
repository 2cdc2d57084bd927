// What a job finds wrong, noted where people and alerts look (sql/295_findings.sql).
import type { Database } from "../_shared/database.ts";

/** Of an organisation; undefined for what concerns the whole project. */
export async function noteFinding(
  database: Database,
  organizationId: string | undefined,
  kind: string,
  subject: string,
  detail: Record<string, unknown>,
): Promise<void> {
  await database.askAsOwner({
    name: "note_finding",
    text: "select audit.note_finding(coalesce($1::uuid, audit.system_organization()), $2, $3, $4)::text",
    values: [organizationId ?? null, kind, subject, JSON.stringify(detail)],
  });
}
