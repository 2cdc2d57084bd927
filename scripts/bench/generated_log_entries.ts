// The entries of a generated log as one SQL statement: from the numbers of units to chained rows.
import {
  ENTRIES_PER_UNIT,
  type LogPlan,
  OFFERED,
  RARE_WORDS,
  stride,
  SYLLABLES,
  UNITS_PER_BLOCK,
  WORDS,
} from "./generated_log_plan.ts";

/** Events of single people; how often, in hundredths of a percent; and the two entries of each. */
const EVENTS: { weight: number; actions: [string, string]; resources: [string, string] }[] = [
  { weight: 8667, actions: ["query.executed", "query.completed"], resources: ["query", "query"] },
  { weight: 630, actions: ["api.accessed", "api.accessed"], resources: ["endpoint", "endpoint"] },
  { weight: 37, actions: ["api.accessed", "access.denied"], resources: ["endpoint", "endpoint"] },
  { weight: 200, actions: ["user.login", "settings.viewed"], resources: ["user", "settings"] },
  { weight: 33, actions: ["user.login_failed", "user.login"], resources: ["user", "user"] },
  { weight: 100, actions: ["settings.viewed", "user.logout"], resources: ["settings", "user"] },
  { weight: 200, actions: ["report.generated", "data.exported"], resources: ["report", "report"] },
  { weight: 67, actions: ["log.searched", "log.viewed"], resources: ["log", "entry"] },
  { weight: 26, actions: ["budget.changed", "budget.changed"], resources: ["budget", "budget"] },
  { weight: 12, actions: ["api_key.added", "api_key.updated"], resources: ["api_key", "api_key"] },
  { weight: 6, actions: ["api_key.updated", "api_key.deleted"], resources: ["api_key", "api_key"] },
  { weight: 12, actions: ["member.added", "member.role_changed"], resources: ["member", "member"] },
  {
    weight: 8,
    actions: ["integration.configured", "organization.updated"],
    resources: ["integration", "organization"],
  },
  // Only in the beginning; later the one before takes its place.
  { weight: 2, actions: ["integration.removed", "budget.deleted"], resources: ["integration", "budget"] },
];

const ERRORS = [
  "429 rate limit exceeded",
  "401 invalid api key",
  "504 upstream timeout",
  "400 context length exceeded",
];
const PATHS = [
  "/v1/queries",
  "/v1/responses",
  "/v1/budgets",
  "/v1/reports",
  "/v1/members",
  "/v1/api-keys",
  "/v1/usage",
];
const PAGES = ["billing", "members", "api-keys", "budgets", "integrations", "profile"];

const MAX_48_BITS = 2 ** 48;

/**
 * Appends the entries of the units $1 to $2 - 1 that fall to worker $3 of `workers`, each of whom has its own chains, to
 * `target`, and moves the heads. Draws are hashes of the unit's number, so neither the order nor the workers matter.
 */
export function appendStatement(plan: LogPlan, workers: number, target: string): string {
  const { organizations: all } = plan;
  const singles = plan.units - plan.batches * UNITS_PER_BLOCK;
  let salt = plan.seed * 1_000;
  /** A number in [0, 1) that depends on an expression; every call draws another one. */
  const draw = (of: string) => `((hashint8extended(${of}, ${++salt}) & ${MAX_48_BITS - 1}) / ${MAX_48_BITS}::float8)`;
  const below = (draw: string, count: string | number) => `floor(${draw} * ${count})::int`;
  /** 1 to count, the n-th 1/n as often as the first. */
  const zipf = (draw: string, count: string | number) =>
    `least(${count}, floor(exp(${draw} * ln(${count} + 1.0::float8)))::int)`;
  const normal = (of: string) => `(sqrt(-2 * ln(1 - ${draw(of)})) * cos(2 * pi() * ${draw(of)}))`;
  const pick = (draw: string, values: string[]) => at(texts(values), `1 + ${below(draw, values.length)}`);
  const word = (draw: string) => at(texts(WORDS), zipf(draw, WORDS.length));
  const rareWord = (rank: string) =>
    [0, 1, 2].map((place) => at(texts(SYLLABLES), `1 + ${rank} / ${SYLLABLES.length ** place} % ${SYLLABLES.length}`))
      .join(" || ");
  const uuid = (prefix: string, of: string) => `md5('${prefix} ${plan.seed}/' || ${of})::uuid`;
  const iso = (time: string) => `to_char(${time} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
  const seconds = (date: Date) => date.getTime() / 1000;

  return `
with placed as (
  select u, is_batch, k, which, no,
    -- A connection's slot; the answers to a batch come one by one.
    3 + no % 2 + ${
    below(`case when which = 0 then ${draw("k")} else ${draw("u")} end`, at(ints(all.map((o) => o.chains)), "no"))
  } as chain
  from (
    select u, which, p < ${plan.batches} as is_batch,
      -- What a batch has in common is drawn from the number of its block.
      case when p < ${plan.batches} then 1000000000000 + u / ${UNITS_PER_BLOCK} else u end as k,
      case
        when p < ${plan.batches} then width_bucket(p::float8, ${starts(all.map((o) => o.batches))})
        else width_bucket(
          (((p - ${plan.batches}) * ${UNITS_PER_BLOCK} + u % ${UNITS_PER_BLOCK}) * ${
    stride(singles)
  } % ${singles})::float8,
          ${starts(all.map((o) => o.units - o.batches * UNITS_PER_BLOCK))}
        )
      end as no
    from (
      select u, u / ${UNITS_PER_BLOCK} * ${stride(plan.blocks)} % ${plan.blocks} as p
      from generate_series($1::bigint, $2::bigint - 1) u
    ) unit,
      generate_series(0, ${ENTRIES_PER_UNIT - 1}) which
    offset 0
  ) unit
  offset 0
),
drawn as (
  select u, is_batch, k, which, no, chain, x,
    -- More by day than by night.
    to_timestamp(s + 0.8 / (2 * pi()) * 86400 * sin(2 * pi() * s / 86400)) as at,
    case when event = ${EVENTS.length} and x > 0.2 then ${EVENTS.length - 1} else event end as event,
    -- Every seventh left the organisation early; who came after took over.
    case when rank % 7 = 3 and x > 0.4 then rank % ${
    at(ints(all.map((o) => o.actors)), "no")
  } + 1 else rank end as rank,
    case when x < 0.15 and ${draw("k")} < 0.1 then ${OFFERED.length} else model end as model,
    prompt, completion, latency, has_failed, a, b
  from (
    select u, is_batch, k, which, no, chain, x,
      ${seconds(plan.start)} + ${seconds(plan.end) - seconds(plan.start) - 4 * 3600} * x ^ 0.75 as s,
      case when is_batch then 1 else width_bucket(${draw("u")}, ${
    shares(EVENTS.map((event) => event.weight))
  }) end as event,
      ${zipf(draw("k"), at(ints(all.map((o) => o.actors)), "no"))} as rank,
      width_bucket(${draw("k")}, ${shares(OFFERED.map((model) => model.weight).slice(0, -1))}) as model,
      prompt, completion,
      (150 + prompt / 20 + completion * 12)::int as latency,
      ${draw("u")} < 0.031 as has_failed,
      ${draw("u")} as a,
      ${draw("u")} as b
    from (
      select *,
        case when is_batch then u / ${UNITS_PER_BLOCK} * ${UNITS_PER_BLOCK} + 0.5 else u + ${
    draw("u")
  } end / ${plan.units} as x,
        least(180000, 1 + exp(7.2 + 1.0 * ${normal("u")}))::int as prompt,
        least(16000, 1 + exp(4.6 + 1.1 * ${normal("u")}))::int as completion
      from placed
      where chain % ${workers} = $3::int
      offset 0
    ) unit
    offset 0
  ) unit
  offset 0
),
told as (
  select d.u, d.which, d.no, d.chain, a.organization_id, a.user_id, d.has_failed, d.event, d.model, d.completion, d.prompt,
    d.at + case
      when d.which = 0 then '0'
      when d.event = 1 then make_interval(secs => d.latency / 1000.0)
      else make_interval(secs => 1 + 240 * d.a)
    end as created_at,
    case
      when d.event = 1 and d.which = 1 and d.has_failed then 'query.failed'
      else ${at(texts(EVENTS.flatMap(({ actions }) => actions)), "d.event * 2 - 1 + d.which")}
    end as action,
    case
      when d.event = 1 and d.which = 1 and d.has_failed or d.event = 5 and d.which = 0 then 'failure'
      when d.event = 3 and d.which = 1 then 'denied'
      else 'success'
    end as outcome,
    ${at(texts(EVENTS.flatMap(({ resources }) => resources)), "d.event * 2 - 1 + d.which")} as resource_type,
    case
      when d.event = 1 then ${uuid("query", "d.u")}::text
      when d.event in (2, 3) then ${at(texts(PATHS), `1 + ${below("d.a", PATHS.length)}`)}
      when d.event in (4, 5, 6) then case when (d.event = 6) = (d.which = 0) then ${
    at(texts(PAGES), `1 + ${below("d.a", PAGES.length)}`)
  } else a.user_id::text end
      when d.event = 7 then ${uuid("report", "d.u")}::text
      when d.event = 8 then case when d.which = 1 then concat(d.chain, '-', 1 + ${below("d.a", 500)}) end
      when d.event = 9 or d.event = 14 and d.which = 1 then ${
    uuid("budget", `d.no || '/' || ${below("d.a", 20)}`)
  }::text
      when d.event in (10, 11) then ${uuid("api key", `d.no || '/' || ${below("d.a", 200)}`)}::text
      when d.event = 13 and d.which = 1 then a.organization_id::text
      else ${uuid("thing", "d.u")}::text
    end as resource_id,
    case when d.is_batch and d.k % 3 = 0 then 'service' when d.event = 2 and d.b < 0.7 then 'api_key' else 'user' end as actor_type,
    case when d.is_batch and d.k % 3 = 0 then null else a.identity_hash end as identity_hash,
    ${uuid("request", "d.k")}::text as request_id,
    case (d.event - 1) * 2 + d.which
      when 0 then jsonb_build_object('new', jsonb_build_object(
        'model', ${at(texts(OFFERED.map(({ name }) => name)), "d.model")}, 'status', 'sent', 'user_id', a.user_id,
        'api_key_id', ${uuid("api key", `d.no || '/' || ${below("d.a", 12)}`)},
        'created_at', ${iso("d.at")},
        'parameters', case
          when d.b < 0.3 then jsonb_build_object('max_tokens', 2048, 'temperature', round(d.a::numeric, 1), 'purpose',
            ${word(draw("d.u"))} || ' ' || ${word(draw("d.u"))} || ' ' || ${rareWord(zipf(draw("d.u"), RARE_WORDS))})
          else jsonb_build_object('max_tokens', 2048, 'temperature', round(d.a::numeric, 1))
        end
      ))
      when 1 then jsonb_build_object('new', jsonb_build_object(
          'id', ${
    uuid("response", "d.u")
  }, 'success', not d.has_failed, 'latency_ms', d.latency, 'prompt_tokens', d.prompt,
          'created_at', ${iso("(d.at + make_interval(secs => d.latency / 1000.0))")},
          'completion_tokens', case when d.has_failed then 0 else d.completion end
        ) || case
          when d.has_failed then jsonb_build_object('error_message', ${pick("d.b", ERRORS)})
          else '{}'
        end)
      when 5 then jsonb_build_object('path', ${
    at(texts(PATHS), `1 + ${below("d.a", PATHS.length)}`)
  }, 'method', 'DELETE', 'status', 403,
        'reason', 'members may not delete what others made')
      when 7 then jsonb_build_object('page', ${at(texts(PAGES), `1 + ${below("d.a", PAGES.length)}`)})
      when 8 then jsonb_build_object('method', 'password', 'reason', 'invalid credentials')
      when 10 then jsonb_build_object('page', ${at(texts(PAGES), `1 + ${below("d.a", PAGES.length)}`)})
      when 11 then jsonb_build_object('session_id', ${uuid("session", "d.u")})
      when 12 then jsonb_build_object('title', ${word(draw("d.u"))} || ' ' || ${word(draw("d.u"))} || ' of ' || ${
    rareWord(zipf(draw("d.u"), RARE_WORDS))
  }, 'format', 'pdf', 'rows', d.prompt)
      when 13 then jsonb_build_object('format', ${
    pick("d.b", ["csv", "csv", "json", "xlsx"])
  }, 'rows', d.prompt, 'table', 'llm_queries')
      when 14 then jsonb_build_object('query', 'action:api_key.* created:7d', 'count', d.completion)
      when 15 then jsonb_build_object('entry', concat(d.chain, '-', 1 + ${below("d.a", 500)}))
      when 20 then jsonb_build_object('changes', jsonb_build_object('name', jsonb_build_object(
        'old', initcap(${word(draw("d.u"))}), 'new', initcap(${word(draw("d.u"))}) || ' ' || extract(year from d.at))))
      when 21 then jsonb_build_object('old', jsonb_build_object('name', initcap(${
    word(draw("d.u"))
  }), 'status', 'active',
        'key_hash', encode(sha256(int8send(d.u)), 'hex'), 'key_prefix', 'sk-' || left(md5(d.u::text), 4),
        'created_by', a.user_id, 'encrypted_key', '***'))
      when 18 then jsonb_build_object('new', jsonb_build_object('name', initcap(${
    word(draw("d.u"))
  }), 'status', 'active',
        'key_hash', encode(sha256(int8send(d.u)), 'hex'), 'key_prefix', 'sk-' || left(md5(d.u::text), 4),
        'created_at', ${iso("d.at")}, 'created_by', a.user_id, 'encrypted_key', '***'))
      when 19 then jsonb_build_object('changes', jsonb_build_object('status', jsonb_build_object('old', 'active', 'new', 'disabled')))
      when 22 then jsonb_build_object('new', jsonb_build_object('role', 'viewer', 'created_at', ${
    iso("d.at")
  }, 'invited_by', a.user_id))
      when 23 then jsonb_build_object('changes', jsonb_build_object('role', jsonb_build_object('old', 'viewer', 'new', 'member')))
      when 24 then jsonb_build_object('new', jsonb_build_object('kind', 'slack', 'name', initcap(${
    word(draw("d.u"))
  }) || ' alerts',
        'config', jsonb_build_object('channel', '#' || ${
    word(draw("d.u"))
  }), 'secret', '***', 'enabled', true, 'created_by', a.user_id))
      when 25 then jsonb_build_object('changes', jsonb_build_object('name', jsonb_build_object(
        'old', 'Organisation ' || d.no, 'new', 'Organisation ' || d.no || ' ' || initcap(${word(draw("d.u"))}))))
      when 26 then jsonb_build_object('old', jsonb_build_object('kind', 'webhook', 'name', initcap(${
    word(draw("d.u"))
  }),
        'config', jsonb_build_object('url', 'https://hooks.example/' || ${
    word(draw("d.u"))
  }), 'secret', '***', 'enabled', false))
      when 27 then jsonb_build_object('old', jsonb_build_object('name', initcap(${
    word(draw("d.u"))
  }), 'period', 'monthly',
        'limit_usd', 50 * d.completion, 'alert_thresholds', '[50, 80, 100]'::jsonb))
      else case
        when d.event = 9 then jsonb_build_object('changes', jsonb_build_object('limit_usd', jsonb_build_object(
          'old', round((10 * d.completion)::numeric, 2), 'new', round((15 * d.completion)::numeric, 2))))
        when d.event in (4, 5) then jsonb_build_object('method', 'password', 'session_id', ${uuid("session", "d.u")})
        else jsonb_build_object('path', ${
    at(texts(PATHS), `1 + ${below("d.a", PATHS.length)}`)
  }, 'method', 'GET', 'status', 200,
          'duration_ms', d.latency)
      end
    end as details
  from drawn d
  join bench.actors a on a.number = d.no and a.rank = d.rank and a.context = d.k % 2
),
numbered as (
  select t.organization_id, t.chain, t.user_id, t.action, t.outcome, t.resource_type, t.resource_id, t.actor_type,
    t.identity_hash, t.request_id, t.details,
    greatest(h.last_at, t.created_at) as created_at,
    coalesce(h.seq, 0) + row_number() over in_chain as seq,
    coalesce(h.hash, audit.first_prev_hash(t.organization_id, t.chain)) as head_hash,
    lead(true) over in_chain is null as is_last,
    case when t.event = 1 or t.resource_type = 'api_key' then ${
    at(texts(OFFERED.map(({ provider }) => provider)), "t.model")
  } end as provider,
    case
      when t.action = 'query.failed' then 0.00000000
      when t.action = 'query.completed' then 0.00000001 * (
        t.prompt * ${at(ints(OFFERED.map(({ input }) => input)), "t.model")}::bigint
        + t.completion * ${at(ints(OFFERED.map(({ output }) => output)), "t.model")}::bigint
      )
    end as cost
  from told t
  left join audit.heads h on h.organization_id = t.organization_id and h.chain = t.chain
  window in_chain as (partition by t.organization_id, t.chain order by t.created_at, t.u, t.which)
),
chained as materialized (
  select n.*,
    audit.chained(
      n.head_hash,
      convert_to(audit.entry_text(
        n.organization_id, n.chain, n.seq, n.created_at, n.action, n.outcome, n.resource_type, n.resource_id, n.user_id,
        n.actor_type, n.identity_hash, n.provider, n.cost, n.request_id, n.details, null
      ), 'UTF8')
    ) over (partition by n.organization_id, n.chain order by n.seq rows unbounded preceding) as hashes
  from numbered n
),
moved as (
  insert into audit.heads as h (organization_id, chain, seq, last_at, prev_hash, hash)
  select c.organization_id, c.chain, c.seq, c.created_at, substring(c.hashes from 1 for 32), substring(c.hashes from 33)
  from chained c
  where c.is_last
  on conflict on constraint heads_pkey do update
    set seq = excluded.seq, last_at = excluded.last_at, prev_hash = excluded.prev_hash, hash = excluded.hash
)
insert into ${target} (
  organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, created_by, actor_type,
  identity_hash, provider, cost, request_id, details, prev_hash, hash
)
select c.organization_id, c.chain, c.seq, c.created_at, c.action, c.outcome, c.resource_type, c.resource_id, c.user_id,
  c.actor_type, c.identity_hash, c.provider, c.cost, c.request_id, c.details,
  substring(c.hashes from 1 for 32), substring(c.hashes from 33)
from chained c
order by c.created_at, c.organization_id, c.chain, c.seq`;
}

const texts = (values: string[]) => `'{${values.map((value) => JSON.stringify(value)).join(",")}}'::text[]`;
const ints = (values: number[]) => `'{${values.join(",")}}'::int[]`;
const at = (array: string, index: string) => `(${array})[${index}]`;

/** Where each of the shares begins, for width_bucket(): of whole numbers one after another. */
function starts(counts: number[]): string {
  let sum = 0;
  return `'{${counts.map((count) => (sum += count) - count).join(",")}}'::float8[]`;
}

/** The same of weights, in [0, 1). */
function shares(weights: number[]): string {
  const total = weights.reduce((a, b) => a + b, 0);
  let sum = 0;
  return `'{${weights.map((weight) => ((sum += weight) - weight) / total).join(",")}}'::float8[]`;
}
