-- Stand-in for pg_net 0.20: the same queue, responses and functions. The worker that sends the requests is net.ts.
-- Not imitated: `create extension pg_net`, net.http_collect_response, settings of the worker.

create schema net authorization supabase_admin;
create sequence net.http_request_queue_id_seq;

create unlogged table net.http_request_queue (
  id bigint not null default nextval('net.http_request_queue_id_seq'),
  method text not null,
  url text not null,
  headers jsonb,
  body bytea,
  timeout_milliseconds integer not null
);

create unlogged table net._http_response (
  id bigint,
  status_code integer,
  content_type text,
  headers jsonb,
  content text,
  timed_out boolean,
  error_msg text,
  created timestamptz not null default now()
);
create index _http_response_created_idx on net._http_response (created);

create function net.percent_encode(value text)
returns text language sql immutable set search_path = '' as $$
  select coalesce(string_agg(
    case
      when octets between 48 and 57 or octets between 65 and 90 or octets between 97 and 122
        or octets in (45, 46, 95, 126) then chr(octets)
      else '%' || upper(lpad(to_hex(octets), 2, '0'))
    end, '' order by position), '')
  from (
    select position, get_byte(convert_to(value, 'UTF8'), position) as octets
    from generate_series(0, octet_length(convert_to(value, 'UTF8')) - 1) as position
  ) as bytes
$$;

create function net.url_with_params(url text, params jsonb)
returns text language sql immutable set search_path = '' as $$
  select url || coalesce(
    case when strpos(url, '?') > 0 then '&' else '?' end
      || string_agg(net.percent_encode(key) || '=' || net.percent_encode(value), '&'),
    ''
  )
  from jsonb_each_text(params)
$$;

create function net.http_get(
  url text,
  params jsonb default '{}',
  headers jsonb default '{}',
  timeout_milliseconds integer default 5000
) returns bigint language sql set search_path = '' as $$
  insert into net.http_request_queue (method, url, headers, timeout_milliseconds)
  values ('GET', net.url_with_params(url, params), headers, timeout_milliseconds)
  returning id
$$;

create function net.http_delete(
  url text,
  params jsonb default '{}',
  headers jsonb default '{}',
  timeout_milliseconds integer default 5000,
  body jsonb default null
) returns bigint language sql set search_path = '' as $$
  insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
  values ('DELETE', net.url_with_params(url, params), headers, convert_to(body::text, 'UTF8'), timeout_milliseconds)
  returning id
$$;

create function net.http_post(
  url text,
  body jsonb default '{}',
  params jsonb default '{}',
  headers jsonb default '{"Content-Type": "application/json"}',
  timeout_milliseconds integer default 5000
) returns bigint language plpgsql set search_path = '' as $$
declare
  queued bigint;
begin
  if not exists (
    select from jsonb_each_text(headers)
    where lower(key) = 'content-type' and value = 'application/json'
  ) then
    raise exception 'Content-Type header must be "application/json"';
  end if;
  insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
  values ('POST', net.url_with_params(url, params), headers, convert_to(body::text, 'UTF8'), timeout_milliseconds)
  returning id into queued;
  return queued;
end
$$;

-- As on hosted: everyone may queue a request (the API does not expose this schema).
grant usage on schema net to postgres, anon, authenticated, service_role;
grant all on net.http_request_queue, net._http_response to public;
grant usage on sequence net.http_request_queue_id_seq to public;
