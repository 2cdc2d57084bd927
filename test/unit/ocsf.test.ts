// Every action of the catalogue, and what else an entry can be, as an event that OCSF 1.8.0 allows. The tables below are
// what version 1.8.0 of the schema (github.com/ocsf/ocsf-schema) asks of the classes and objects in use.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
type Members = { [key: string]: Json };

const REQUIRED_OF_ALL = ["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"];

type EventClass = {
  caption: string;
  category: string;
  required: string[];
  /** Of these, at least one. */
  oneOf?: string[];
  /** activity_id → caption; 0 (Unknown) and 99 (Other) are allowed for all. */
  activities: string[];
  /** status_id → caption. */
  statuses: string[];
};

const OUTCOMES = ["Unknown", "Success", "Failure"];

const CLASSES: Record<number, EventClass> = {
  1008: {
    caption: "Event Log Activity",
    category: "System Activity",
    required: [],
    oneOf: ["log_file", "log_name", "log_provider", "log_type", "log_type_id"],
    activities: ["Clear", "Delete", "Export", "Archive", "Rotate", "Start", "Stop", "Restart", "Enable", "Disable"],
    statuses: OUTCOMES,
  },
  2004: {
    caption: "Detection Finding",
    category: "Findings",
    required: ["finding_info"],
    activities: ["Create", "Update", "Close"],
    statuses: ["Unknown", "New", "In Progress", "Suppressed", "Resolved", "Archived", "Deleted"],
  },
  3001: {
    caption: "Account Change",
    category: "Identity & Access Management",
    required: ["user"],
    activities: [
      ...["Create", "Enable", "Password Change", "Password Reset", "Disable", "Delete", "Attach Policy"],
      ...["Detach Policy", "Lock", "MFA Factor Enable", "MFA Factor Disable", "Unlock"],
    ],
    statuses: OUTCOMES,
  },
  3002: {
    caption: "Authentication",
    category: "Identity & Access Management",
    required: ["user"],
    oneOf: ["service", "dst_endpoint"],
    activities: [
      ...["Logon", "Logoff", "Authentication Ticket", "Service Ticket Request", "Service Ticket Renew", "Preauth"],
      "Account Switch",
    ],
    statuses: OUTCOMES,
  },
  3004: {
    caption: "Entity Management",
    category: "Identity & Access Management",
    required: ["entity"],
    activities: [
      ...["Create", "Read", "Update", "Delete", "Move", "Enroll", "Unenroll", "Enable", "Disable", "Activate"],
      ...["Deactivate", "Suspend", "Resume"],
    ],
    statuses: OUTCOMES,
  },
  3005: {
    caption: "User Access Management",
    category: "Identity & Access Management",
    required: ["privileges", "user"],
    activities: ["Assign Privileges", "Revoke Privileges"],
    statuses: OUTCOMES,
  },
  3006: {
    caption: "Group Management",
    category: "Identity & Access Management",
    required: ["group"],
    activities: [
      ...["Assign Privileges", "Revoke Privileges", "Add User", "Remove User", "Delete", "Create", "Add Subgroup"],
      "Remove Subgroup",
    ],
    statuses: OUTCOMES,
  },
  6001: {
    caption: "Web Resources Activity",
    category: "Application Activity",
    required: ["web_resources"],
    activities: ["Create", "Read", "Update", "Delete", "Search", "Import", "Export", "Share"],
    statuses: OUTCOMES,
  },
  6003: {
    caption: "API Activity",
    category: "Application Activity",
    required: ["actor", "api", "src_endpoint"],
    activities: ["Create", "Read", "Update", "Delete"],
    statuses: OUTCOMES,
  },
  6005: {
    caption: "Datastore Activity",
    category: "Application Activity",
    required: ["actor", "src_endpoint"],
    oneOf: ["database", "databucket", "table"],
    activities: ["Read", "Update", "Connect", "Query", "Write", "Create", "Delete", "List", "Encrypt", "Decrypt"],
    statuses: OUTCOMES,
  },
};

const SEVERITIES = ["Unknown", "Informational", "Low", "Medium", "High", "Critical", "Fatal"];

/** Objects in use: what each must have, and of what at least one. */
const OBJECTS: Record<string, { required?: string[]; oneOf?: string[] }> = {
  actor: { oneOf: ["process", "user", "session", "app_name", "app_uid"] },
  ai_model: { required: ["ai_provider", "name"] },
  api: { required: ["operation"] },
  entity: { oneOf: ["name", "uid", "device", "group", "org", "policy", "user"] },
  finding_info: { required: ["uid"] },
  group: { oneOf: ["name", "uid"] },
  http_request: {},
  message_context: { oneOf: ["application", "service"] },
  metadata: { required: ["product", "version"] },
  product: { oneOf: ["name", "uid"] },
  query_info: { required: ["query_string"], oneOf: ["name", "uid"] },
  resources: { oneOf: ["name", "uid"] },
  service: { oneOf: ["name", "uid"] },
  session: {},
  src_endpoint: { oneOf: ["ip", "uid", "name", "hostname", "svc_name"] },
  table: { oneOf: ["name", "uid"] },
  user: { oneOf: ["account", "name", "uid"] },
  web_resources: { oneOf: ["name", "uid"] },
};

const INTEGERS = new Set([
  ...["time", "timezone_offset", "category_uid", "class_uid", "type_uid", "activity_id", "severity_id", "status_id"],
  ...["action_id", "disposition_id", "type_id", "log_type_id", "ai_role_id", "prompt_tokens", "completion_tokens"],
]);
const BOOLEANS = new Set(["is_alert", "is_mfa"]);
const TEXT_LISTS = new Set(["privileges", "profiles"]);

/** What stands in an event only where a profile is named. */
const PROFILED: Record<string, { members: string[]; classes?: number[] }> = {
  host: { members: ["actor"], classes: [2004, 6001] },
  ai_operation: { members: ["ai_model", "message_context"] },
  security_control: { members: ["action_id", "action", "disposition_id", "disposition"] },
};

/** The catalogue, and one of each kind that it does not name. */
const TYPES: Record<string, number> = {
  "user.login": 300201,
  "user.login_failed": 300201,
  "user.logout": 300202,
  "user.session_expired": 300202,
  "user.session_revoked": 300202,
  "user.signed_up": 300101,
  "user.password_changed": 300103,
  "user.password_reset_requested": 300104,
  "user.mfa_enabled": 300110,
  "user.mfa_disabled": 300111,
  "user.mfa_failed": 300201,
  "api_token.created": 300401,
  "api_token.revoked": 300404,
  "permission.granted": 300501,
  "permission.revoked": 300502,
  "member.added": 300603,
  "member.removed": 300604,
  "member.role_changed": 300501,
  "access.denied": 600399,
  "api.accessed": 600399,
  "query.executed": 600301,
  "query.completed": 600301,
  "query.failed": 600301,
  "report.generated": 600101,
  "data.exported": 600107,
  "settings.viewed": 600501,
  "log.searched": 600504,
  "log.viewed": 600501,
  "log.exported": 600107,
  "api_key.added": 300401,
  "api_key.updated": 300403,
  "api_key.deleted": 300404,
  "budget.created": 300401,
  "budget.changed": 300403,
  "budget.deleted": 300404,
  "organization.updated": 300403,
  "integration.configured": 300403,
  "integration.removed": 300404,
  "capture.tracked": 100809,
  "capture.untracked": 100810,
  "capture.changed": 100899,
  "log.opened": 100806,
  "log.heartbeat": 100899,
  "retention.changed": 300403,
  "hold.placed": 300401,
  "hold.released": 300404,
  "log.purged": 100802,
  "subject.accessed": 600501,
  "subject.erased": 600507,
  "auditor.granted": 300501,
  "auditor.revoked": 300502,
  "alert.opened": 200401,
  "alert.acknowledged": 200402,
  "alert.resolved": 200403,
  "rule.changed": 300403,
  "channel.created": 300401,
  "channel.changed": 300403,
  "channel.enabled": 300403,
  "channel.disabled": 300403,
  "channel.deleted": 300404,
  "verification.failed": 200401,
  "document.created": 600505,
  "document.updated": 600502,
  "document.deleted": 600507,
  "row.created": 600505,
  "query.response_deleted": 600507,
  "user.deleted": 300106,
  "page.viewed": 600501,
  "photo.album.shared": 600108,
  "invoice.paid": 600399,
};

/** Entries as they can be: columns, then e-mail, IP address and user agent. */
const KINDS: [Members, string | null, string | null, string | null][] = [
  [
    { outcome: "success", created_by: "10000000-0000-4000-8000-000000000001", actor_type: "user" },
    "j@x.org",
    "::1",
    "curl",
  ],
  [{ outcome: "failure", actor_type: "database", details: { database_role: "postgres" } }, null, null, null],
  [
    {
      outcome: "denied",
      actor_type: "user",
      provider: 'a"b\\',
      resource_id: "\n",
      details: { user_id: "u", title: "" },
    },
    '"j x"@',
    "forged, header",
    '"',
  ],
  [
    {
      ...{ outcome: "success", actor_type: "service", provider: "openai", resource_type: "user", resource_id: "u" },
      details: {
        new: { model: "m", prompt_tokens: 1e30, completion_tokens: 1.5, role: ["r"] },
        severity: {},
        query: [],
      },
    },
    "",
    "",
    "",
  ],
  [
    {
      ...{ outcome: "denied", actor_type: "api_key", resource_type: "organization", resource_id: "", provider: "" },
      details: { new: "text", changes: [], old: 1, user_id: null, severity: "critical", query: "a:b" },
    },
    null,
    "203.0.113.7",
    null,
  ],
];

const BASE: Members = {
  ...{
    organization_id: "0a000000-0000-4000-8000-000000000001",
    chain: 3,
    seq: 7,
    created_at: "2026-01-31T23:59:59.999999Z",
  },
  ...{ details: {}, prev_hash: `\\x${"ab".repeat(32)}`, hash: `\\x${"cd".repeat(32)}` },
};

let db: TestDatabase;
let eventsOf: (
  columns: Members[],
  email?: string | null,
  ip?: string | null,
  agent?: string | null,
) => Promise<Members[]>;

beforeAll(async () => {
  db = await createDatabase("product");
  const client = await db.connect();
  eventsOf = async (columns, email = null, ip = null, agent = null) => {
    const { rows } = await client.query<{ line: string }>(
      `select audit.ocsf_line(jsonb_populate_record(null::public.audit_logs, e.value), $2, $3, $4) as line
       from jsonb_array_elements($1) with ordinality e order by e.ordinality`,
      [JSON.stringify(columns.map((some) => ({ ...BASE, ...some }))), email, ip, agent],
    );
    return rows.map(({ line }) => JSON.parse(line));
  };
});
afterAll(() => db.drop());

describe("an event is one of its class in OCSF 1.8.0", () => {
  test.each(Object.entries(TYPES))("%s is %i", async (action, type) => {
    for (const [columns, email, ip, agent] of KINDS) {
      const [event] = await eventsOf([{ action, ...columns }], email, ip, agent);
      // Configured for the first time, it is created.
      const creates = action === "integration.configured" && "new" in (columns.details as Members ?? {});
      expect(event!.type_uid, JSON.stringify(columns)).toBe(creates ? 300401 : type);
      expect(problems(event!)).toEqual([]);
    }
  });
});

test("the entries of the vectors are events too", async () => {
  const { entries } = JSON.parse(readFileSync(new URL("../vectors/entries.json", import.meta.url), "utf8"));
  const columns = entries.map(({ row, hash }: { row: Record<string, string | null>; hash: string }) => ({
    ...row,
    created_at: BASE.created_at,
    details: JSON.parse(row.details!),
    identity_hash: row.identity_hash && `\\x${row.identity_hash}`,
    prev_hash: `\\x${row.prev_hash}`,
    hash: `\\x${hash}`,
  }));
  const events = await eventsOf(columns, "jane@example.com", "203.0.113.7", "curl");
  expect(events.length).toBeGreaterThan(30);
  expect(events.flatMap(problems)).toEqual([]);
  expect(events.map(({ unmapped }) => (unmapped as Members).details)).toEqual(
    columns.map(({ details }: Members) => details),
  );
});

test("what the table of classes forbids is found", async () => {
  const [event] = await eventsOf([{
    action: "query.executed",
    outcome: "denied",
    actor_type: "user",
    provider: "openai",
  }]);
  const broken: [string, Members][] = [
    ["api is required", { ...event, api: undefined as unknown as Json }],
    ["api.operation is required", { ...event, api: {} }],
    ["actor.user is without account, name, uid", { ...event, actor: { user: { type_id: 1 } } }],
    ["time is no integer", { ...event, time: "2026-01-31" }],
    ["activity 5 is none of its class", { ...event, activity_id: 5 }],
    ["type_name is not Entity Management: Create", { ...event, class_uid: 3004 }],
    ["action_id needs profile security_control", {
      ...event,
      metadata: { ...event!.metadata as Members, profiles: [] },
    }],
    ["severity is not High", { ...event, severity_id: 4 }],
    ["surprise is unknown", { ...event, surprise: {} }],
  ];
  for (const [problem, changed] of broken) {
    expect(problems(JSON.parse(JSON.stringify(changed)))).toContain(problem);
  }
});

/** What is wrong with an event, by the tables. */
function problems(event: Members): string[] {
  const found: string[] = [];
  const metadata = (event.metadata ?? {}) as Members;
  const profiles = (metadata.profiles ?? []) as string[];
  const own = CLASSES[event.class_uid as number];
  if (!own) return [`class ${event.class_uid} is none`];
  const activity = event.activity_id as number;
  const caption = activity === 99 ? "Other" : own.activities[activity - 1];

  lacking(event, "", { required: [...REQUIRED_OF_ALL, ...own.required], ...(own.oneOf ? { oneOf: own.oneOf } : {}) });
  if (caption === undefined) found.push(`activity ${activity} is none of its class`);
  const expected: Members = {
    category_uid: Math.floor((event.class_uid as number) / 1000),
    category_name: own.category,
    class_name: own.caption,
    type_uid: (event.class_uid as number) * 100 + activity,
    type_name: `${own.caption}: ${caption}`,
    // Where the schema has no word, the event's own stands there.
    activity_name: activity === 99 ? metadata.event_code! : caption!,
    severity: SEVERITIES[event.severity_id as number]!,
    status: own.statuses[event.status_id as number]!,
  };
  for (const [name, value] of Object.entries(expected)) {
    if (event[name] !== value) found.push(`${name} is not ${value}`);
  }
  if (metadata.version !== "1.8.0") found.push("version is not 1.8.0");
  for (const [profile, { members, classes }] of Object.entries(PROFILED)) {
    if (profiles.includes(profile) || classes && !classes.includes(event.class_uid as number)) continue;
    for (const name of members) if (name in event) found.push(`${name} needs profile ${profile}`);
  }
  for (const name of profiles) if (!(name in PROFILED)) found.push(`profile ${name} is unknown`);
  walk(event, "");
  return found;

  function lacking(
    members: Members,
    path: string,
    { required = [], oneOf }: { required?: string[]; oneOf?: string[] },
  ) {
    for (const name of required) if (!(name in members)) found.push(`${path}${name} is required`);
    if (oneOf && !oneOf.some((name) => name in members)) {
      found.push(`${path.slice(0, -1)} is without ${oneOf.join(", ")}`);
    }
  }

  function walk(members: Members, path: string) {
    for (const [name, value] of Object.entries(members)) {
      const place = path + name;
      if (place === "unmapped") continue;
      if (INTEGERS.has(name)) {
        if (!Number.isInteger(value)) found.push(`${place} is no integer`);
      } else if (BOOLEANS.has(name)) {
        if (typeof value !== "boolean") found.push(`${place} is no boolean`);
      } else if (TEXT_LISTS.has(name)) {
        if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
          found.push(`${place} is no list`);
        }
      } else if (typeof value === "object" && value !== null) {
        if (Array.isArray(value) !== ["resources", "web_resources"].includes(name)) {
          found.push(`${place} is or is no list`);
        }
        if (!(name in OBJECTS)) found.push(`${place} is unknown`);
        for (const item of [value].flat() as Members[]) {
          lacking(item, `${place}.`, OBJECTS[name] ?? {});
          walk(item, `${place}.`);
        }
      } else if (typeof value !== "string") {
        found.push(`${place} is no text`);
      }
    }
  }
}
