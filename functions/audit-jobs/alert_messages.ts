// What channels are told, each in its own form. Made of the message as the database keeps it, so that every attempt says
// the same, to the byte.

/**
 * What happened, as sql/650_deliveries.sql has it of an alert and sql/770_report_messages.sql of a report; of anything else
 * what is not optional.
 */
export type Message = {
  organization_id: string;
  severity: string;
  title: string;
  alert_id?: string;
  transition?: string;
  rule_id?: string;
  group?: string;
  reason?: Record<string, unknown>;
  opened_at?: string;
  first_seen_at?: string;
  last_seen_at?: string;
  resolved_at?: string | null;
  occurrences?: number;
  entries?: string[];
  query?: string | null;
  report_id?: string;
  template?: string;
  schedule?: string;
  from?: string;
  to?: string;
  generated_at?: string;
  content_sha256?: string;
  /** Where each file can be read without signing in, by its name, and until when. */
  links?: Record<string, string>;
  links_until?: string;
};

export type Told = { type: string; at: string; message: Message };

type Links = {
  alert?: string;
  entries?: string;
  report?: string;
  files?: Record<string, string>;
  files_until?: string;
};

const MOST_SECTION = 3_000;
const MOST_REASONS = 20;

/** The body of a webhook: what the database says, and where to look. */
export function webhookBody({ type, at, message }: Told, projectUrl: string): {
  type: string;
  timestamp: string;
  data: Omit<Message, "links" | "links_until"> & { links: Links };
} {
  const { links: _, links_until: __, ...said } = message;
  return { type, timestamp: at, data: { ...said, links: linksOf(message, projectUrl) } };
}

/** The body of Slack's incoming webhook. Whatever others could have written is escaped, and cut to what Slack takes. */
export function slackBody(told: Told, projectUrl: string): { text: string; blocks: object[] } {
  const why = reasonsOf(told.message);
  const links = namedLinks(told.message, projectUrl).map(([name, url]) => `<${url}|${name}>`);
  const section = (text: string) => ({ type: "section", text: { type: "mrkdwn", verbatim: true, text } });
  return {
    text: escaped(headlineOf(told), MOST_SECTION),
    blocks: [
      section(`*${escaped(headlineOf(told), MOST_SECTION - 2)}*`),
      section(factsOf(told).map(([name, value]) => `${name}: ${escaped(value, 300)}`).join("\n")),
      ...(why.length === 0 ? [] : [section(escaped(why.join("\n"), MOST_SECTION))]),
      ...(links.length === 0 ? [] : [section(links.join(" · "))]),
    ],
  };
}

/** A mail, in plain text. */
export function mailOf(told: Told, projectUrl: string): { subject: string; text: string } {
  const why = reasonsOf(told.message);
  const blocks = [
    headlineOf(told),
    factsOf(told).map(([name, value]) => `${name}: ${value}`).join("\n"),
    why.join("\n"),
    namedLinks(told.message, projectUrl).map(([name, url]) => `${name}: ${url}`).join("\n"),
  ];
  return {
    // deno-lint-ignore no-control-regex -- a subject is one line
    subject: headlineOf(told).replace(/[\u0000-\u001f\u007f]+/g, " ").slice(0, 200),
    text: blocks.filter((block) => block !== "").join("\n\n") + "\n",
  };
}

function headlineOf({ message: { severity, title, transition } }: Told): string {
  const news = transition === undefined || transition === "opened" ? "" : ` ${transition}`;
  return `[${severity}${news}] ${title}`;
}

function factsOf({ at, message }: Told): [string, string][] {
  const facts: [string, string | undefined | null][] = [
    ["Organisation", message.organization_id],
    ["Severity", message.severity],
    ["About", message.group],
    ["When", message.first_seen_at ?? at],
    ["Last seen", message.last_seen_at],
    ["Resolved", message.resolved_at],
    ["Times", message.occurrences === undefined ? undefined : String(message.occurrences)],
    ["Entries", message.entries?.join(", ")],
    ["Alert", message.alert_id],
    ["Report", message.report_id],
    ["From", message.from],
    ["Until before", message.to],
    ["SHA-256 of its content", message.content_sha256],
    ["Files can be read by whoever has their addresses until", message.links_until],
  ];
  return facts.filter((fact): fact is [string, string] => typeof fact[1] === "string" && fact[1] !== "");
}

function reasonsOf({ reason = {} }: Message): string[] {
  const lines = Object.entries(reason).slice(0, MOST_REASONS).map(([name, value]) =>
    `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`
  );
  return lines.length === 0 ? [] : ["Why", ...lines];
}

function linksOf(message: Message, projectUrl: string): Links {
  const { organization_id, alert_id, query, report_id, links, links_until } = message;
  const base = `${projectUrl}/functions/v1/audit`;
  return {
    ...(alert_id === undefined ? {} : { alert: `${base}/alerts/${alert_id}` }),
    ...(query ? { entries: `${base}/logs?${new URLSearchParams({ organization_id, q: query })}` } : {}),
    // For whoever signs in; the files for whoever has their addresses.
    ...(report_id === undefined ? {} : { report: `${base}/reports/${report_id}` }),
    ...(links === undefined ? {} : { files: links, files_until: links_until! }),
  };
}

function namedLinks(message: Message, projectUrl: string): [name: string, url: string][] {
  const { alert, entries, report, files = {} } = linksOf(message, projectUrl);
  const named: [string, string | undefined][] = [
    ["Entries", entries],
    ["Alert", alert],
    ...Object.entries(files),
    ["Report, to be signed in for", report],
  ];
  return named.filter((link): link is [string, string] => link[1] !== undefined);
}

/** Slack's three characters escaped, and never more than so many characters, of which none is half of one. */
function escaped(text: string, most: number): string {
  let whole = "";
  for (const character of text) {
    const next = { "&": "&amp;", "<": "&lt;", ">": "&gt;" }[character] ?? character;
    if (whole.length + next.length > most - 1) return `${whole}…`;
    whole += next;
  }
  return whole;
}
