// The PDF of an export. Its module, with the fonts, is loaded by those requests that need it.
import type { RenderedPart } from "./export_part.ts";
import type { ReportEntry } from "./pdf/search_report.ts";
import type { Filter } from "./pdf/words.ts";

/** The report as a PDF file. */
export async function renderReport({ rows, caller, ...part }: RenderedPart): Promise<Uint8Array> {
  const { searchReport } = await import("./pdf/search_report.ts");
  const entries = rows as ReportEntry[];
  const { pdf } = await searchReport({
    title: "Audit log",
    organization: { id: part.organization_id },
    query: part.query,
    filter: part.filter as Filter,
    order: "oldest first",
    generatedBy: String(caller.claims.email ?? caller.claims.sub),
    generatedAt: new Date(),
    period: { from: entries[0]?.created_at ?? null, to: entries.at(-1)?.created_at ?? null },
    export: { id: part.id, part: part.part, before: part.before },
    count: part.total ?? part.before + part.entries,
    rows: entries,
    manifestNote:
      `This file's SHA-256 stands in the signed manifest of export ${part.id}: exports/${part.id}/manifest.note`,
  });
  return pdf;
}
