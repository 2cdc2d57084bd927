// What people search for, as requests for audit.search_page(): frequent, middling and rare values, such as occur long
// ago only, and such as never occur. Where a class has many values each request takes another one, so that no page of
// results stays warm by repetition.
import { actorEmail, actorId, type LogPlan, rareWord, WORDS } from "./generated_log_plan.ts";

export type Request = { query?: string; sort?: string };

export type RequestClass = {
  group: "filters" | "text and details";
  title: string;
  make(random: () => number): Request;
};

export function requestClasses(plan: LogPlan): RequestClass[] {
  const [measured] = plan.organizations;
  const { id: organization, actors } = measured!;
  const day = (date: Date) => date.toISOString().slice(0, 10);
  /** A day, at this share of the log's time. */
  const dayAt = (share: number) =>
    day(new Date(plan.start.getTime() + share * (plan.end.getTime() - plan.start.getTime())));
  const between = (random: () => number, from: number, to: number) => from + Math.floor(random() * (to - from + 1));
  const pick = (random: () => number, values: string[]) => values[Math.floor(random() * values.length)]!;
  const person = (rank: number) => `actor:${actorId(organization, Math.min(actors, rank))}`;
  /** Ranks of the rare end, of people who are still there. */
  const rareRank = (random: () => number) =>
    7 * between(random, Math.floor(actors / 14), Math.floor(actors / 7) - 1) + 1;
  const goneRank = (random: () => number) => 7 * between(random, 0, Math.floor((actors - 4) / 7)) + 3;
  const filters = (title: string, make: (random: () => number) => string | Request): RequestClass => ({
    group: "filters",
    title,
    make: (random) => asRequest(make(random)),
  });
  const text = (title: string, make: (random: () => number) => string | Request): RequestClass => ({
    group: "text and details",
    title,
    make: (random) => asRequest(make(random)),
  });

  return [
    filters("everything, newest first", () => ({})),
    filters("everything, oldest first", () => ({ sort: "created_at" })),
    filters("actor, frequent", (r) => person(between(r, 1, 2))),
    filters("actor, middling", (r) => person(between(r, 4, 9) * 7)),
    filters("actor, rare", (r) => person(rareRank(r))),
    filters("actor, long ago only", (r) => person(goneRank(r))),
    filters("actor, never", () => `actor:${crypto.randomUUID()}`),
    filters("actor by e-mail", (r) => `actor:${actorEmail(1, rareRank(r))}`),
    filters("actor, but not that provider", (r) => `${person(between(r, 1, 2))} -provider:openai`),
    filters("action, frequent", (r) => `action:${pick(r, ["query.executed", "query.completed"])}`),
    filters("action, middling", (r) => `action:${pick(r, ["user.login", "report.generated", "data.exported"])}`),
    filters("action, rare", (r) => `action:${pick(r, ["api_key.deleted", "member.role_changed", "budget.changed"])}`),
    filters("action, long ago only", (r) => `action:${pick(r, ["integration.removed", "budget.deleted"])}`),
    filters("action, never", (r) => `action:${pick(r, ["user.mfa_failed", "hold.placed"])}`),
    filters("action wildcard, frequent", () => "action:query.*"),
    filters(
      "action wildcard, rare",
      (r) => `action:${pick(r, ["api_key.*", "member.*", "*.deleted", "integration.*"])}`,
    ),
    filters("list of actions", () => "action:(user.login_failed or access.denied or api_key.deleted)"),
    filters("provider, frequent", (r) => `provider:${pick(r, ["openai", "anthropic", "google"])}`),
    filters("provider, long ago only", () => "provider:cohere"),
    filters("provider, never", () => "provider:mistral"),
    filters("outcome failure", () => "outcome:failure"),
    filters("outcome denied", () => "outcome:denied"),
    filters("resource type, rare", (r) => `resource_type:${pick(r, ["budget", "api_key", "integration"])}`),
    filters("date range, recent", (r) => `created:${pick(r, ["24h", "7d", "30d"])}`),
    filters("date range, a day long ago", (r) => `created:${dayAt(0.05 + 0.3 * r())}`),
    filters("cost range, frequent", () => "cost:0.001..0.01"),
    filters("cost range, rare", () => "cost:>0.2"),
    filters("cost range, never", () => "cost:>1000"),
    filters("cost, highest first", () => ({ query: "created:30d", sort: "-cost" })),
    filters("cost, highest first, of one actor", (r) => ({ query: person(between(r, 1, 60)), sort: "-cost" })),
    filters(
      "who failed, with which provider, when",
      (r) =>
        `${person(between(r, 1, 60))} provider:${pick(r, ["openai", "google"])} outcome:failure created:>=${
          dayAt(0.5 * r())
        }`,
    ),
    filters("rare action of a rare actor", (r) => `${person(rareRank(r))} action:api_key.*`),
    filters(
      "expensive and of one provider, long ago",
      (r) => `provider:anthropic cost:>0.05 created:${dayAt(0.1)}..${dayAt(0.2 + 0.1 * r())}`,
    ),
    filters("this or that", () => "(action:budget.* or outcome:denied) -actor_type:service"),

    text("word, frequent", (r) => pick(r, WORDS.slice(0, 3))),
    text("word, middling", (r) => pick(r, WORDS.slice(40, 90))),
    text("word, rare", (r) => rareWord(between(r, 5_000, 20_000))),
    text("word, in almost every entry", (r) => pick(r, ["success", "created_at", "query"])),
    // Another each time: a search leaves an entry, which the next one for the same word would find.
    text("word, never", () => `zz${crypto.randomUUID().slice(0, 8)}`),
    text("two words, frequent", () => `${WORDS[0]} ${WORDS[1]}`),
    text("two words, rare together", (r) => `${pick(r, WORDS.slice(20, 40))} ${pick(r, WORDS.slice(60, 90))}`),
    text("phrase", () => `"${WORDS[0]} ${WORDS[2]}"`),
    text("phrase, rare", (r) => `"${pick(r, WORDS.slice(5, 20))} ${pick(r, WORDS.slice(20, 40))}"`),
    text("beginning of a word", (r) => `${pick(r, WORDS.slice(30, 60)).slice(0, 5)}*`),
    text("word of one actor", (r) => `${WORDS[4]} ${person(between(r, 1, 30))}`),
    text("word, but not another", () => `${WORDS[5]} -${WORDS[0]} action:report.generated`),
    text("word, long ago", (r) => `${pick(r, WORDS.slice(0, 30))} created:${dayAt(0.05)}..${dayAt(0.1)}`),
    text("path = frequent value", (r) => `new.model:${pick(r, ["gpt-5-mini", "claude-sonnet-4-5"])}`),
    text("path = rare value", () => "new.model:command-r"),
    text("path = phrase", () => `new.error_message:"504 upstream timeout"`),
    text("path > frequent", () => "new.prompt_tokens:>2000"),
    text("path > rare", () => "new.prompt_tokens:>60000"),
    text("path = number", (r) => `new.completion_tokens:${between(r, 1_000, 4_000)}`),
    text("path of changes >", () => "changes.limit_usd.new:>20000"),
    text("path exists, frequent", () => "new.parameters.purpose:*"),
    text("path exists, rare", () => "changes.limit_usd:*"),
    text("path, never", () => "changes.retention_days.new:>30"),
  ];
}

function asRequest(request: string | Request): Request {
  return typeof request === "string" ? { query: request } : request;
}
