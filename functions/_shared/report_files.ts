// The files of a report: for people, for programs, and the evidence pack with all of it. The same report gives the same
// bytes. Loaded by those requests that need it, fonts and all.
import type { Report } from "./report_schema.ts";

/** What audit.report_to_render() answers, without the places of its entries. */
export type ReportSource = Pick<Report, "report" | "people" | "integrity" | "content_sha256"> & {
  /** To the byte. */
  content: string;
  /** Files of entries that lie beside the pack, for they are too many. */
  parts: { name: string; entries: number }[];
  /** How many entries it lists, each of which could have a receipt. */
  listed: number;
  /** Whether its evidence has all entries that it is about, and not only those that it lists. */
  is_whole: boolean;
};

export type PackFile = { name: string; type: string; bytes: Uint8Array };

export type ReportFiles = {
  /** What can be downloaded by itself. */
  shown: PackFile[];
  /** What the evidence pack has, but for its manifest. */
  pack: PackFile[];
  /** The evidence pack. */
  zip(manifest: string, note: string): Uint8Array;
};

export type RenderFiles = (
  source: ReportSource,
  evidence: PackFile[],
  keys: { vkeys: string[] },
) => Promise<ReportFiles>;

/** Makes the files of a report. */
export const renderFiles: RenderFiles = async (source, evidence, { vkeys }) => {
  const [{ complianceReport }, { Content, reportJsonSchema }, { zipSync }] = await Promise.all([
    import("./pdf/compliance_report.ts"),
    import("./report_schema.ts"),
    import("fflate"),
  ]);
  const { report, people, integrity, content_sha256 } = source;
  const head = JSON.stringify({ report, content_sha256 }).slice(0, -1);
  const json = `${head},"content":${source.content},"people":${JSON.stringify(people)},"integrity":${
    JSON.stringify(integrity)
  }}\n`;
  const { pdf } = await complianceReport({
    report,
    people,
    integrity,
    content_sha256,
    content: Content.parse(JSON.parse(source.content)),
  });
  const shown: PackFile[] = [
    { name: "report.pdf", type: "application/pdf", bytes: pdf },
    { name: "report.json", type: "application/json", bytes: ENCODER.encode(json) },
  ];
  const pack: PackFile[] = [
    { name: "README.txt", type: "text/plain", bytes: ENCODER.encode(readme(source, evidence, vkeys)) },
    ...shown,
    { name: "content.json", type: "application/json", bytes: ENCODER.encode(source.content) },
    {
      name: "report.schema.json",
      type: "application/schema+json",
      bytes: ENCODER.encode(`${JSON.stringify(reportJsonSchema(), null, 2)}\n`),
    },
    ...evidence,
  ];
  return {
    shown,
    pack,
    zip(manifest, note) {
      const files = [
        ...pack,
        { name: "manifest.json", bytes: ENCODER.encode(manifest) },
        { name: "manifest.note", bytes: ENCODER.encode(note) },
      ];
      // DOS time has no zone: parts of the instant in UTC, so that the bytes do not depend on where they are made.
      const at = new Date(report.generated_at);
      const mtime = new Date(
        at.getUTCFullYear(),
        at.getUTCMonth(),
        at.getUTCDate(),
        at.getUTCHours(),
        at.getUTCMinutes(),
        at.getUTCSeconds(),
      );
      // Quick: compressing harder costs a hosted function its CPU. PDF is compressed already.
      return zipSync(
        Object.fromEntries(files.map(({ name, bytes }) => [name, [bytes, { level: name.endsWith(".pdf") ? 0 : 1 }]])),
        { mtime },
      );
    },
  };
};

function readme(
  { report, content_sha256, parts, listed, is_whole }: ReportSource,
  evidence: readonly PackFile[],
  vkeys: readonly string[],
): string {
  const receipts = evidence.filter(({ name }) => name.endsWith(".tlog-proof")).length;
  const which = is_whole ? "all entries that it is about" : "the entries that it lists";
  const beside = parts.reduce((sum, { entries }) => sum + entries, 0);
  return `${report.title}
Report ${report.id}, generated ${report.generated_at}

report.pdf          for people
report.json         the same for programs; report.schema.json says what it holds
content.json        what the report says, to the byte: the same for the same period and entries
${
    parts.length === 0
      ? `entries.ndjson      ${which}, each with the exact text that was hashed`
      : `entries-*.ndjson    ${which}, ${beside} in ${parts.length} files, each entry with the exact text that was hashed: they lie
                    beside this pack, where it was downloaded, and belong into this folder`
  }
*.tlog-proof        ${receipts} receipts, of the ${listed} entries that it lists: each proves one entry to be in a signed log
                    (C2SP tlog-proof). Any other is at GET /audit/logs/{entry}/proof
manifest.json       the SHA-256 of every other file
manifest.note       the log's signature of the manifest (C2SP signed-note)

To check it, with the public key that you have from elsewhere than this pack:

  npm run verify -- --export <this folder> --key <vkey>
  npm run verify -- --receipt <file>.tlog-proof --key <vkey>
  sha256sum content.json        ${content_sha256}

The program is that of the project "Audit logs for Supabase"; the formats are described at https://c2sp.org, and other tools
read them too. The keys that signed, to be compared and not to be believed:

${vkeys.map((vkey) => `  ${vkey}`).join("\n")}
`;
}

const ENCODER = new TextEncoder();
