-- Where reports by schedule are told: a message for each recipient, in the outbox (650), in the transaction in which the
-- report is complete. So whoever finds it complete finds it told, and what is told is told once, also where its files are
-- made again without somebody who was erased.
--
-- The addresses under which the files can be read without signing in are made by the job when the message is sent, so that
-- they hold when it arrives, however late that is. They are kept with the message: each attempt says the same.

create or replace function audit.report_channels(report audit.reports)
  returns setof audit.channels
  language sql
  stable
  set search_path = ''
  rows 10
as $$
  select c.*
  from audit.report_schedules s
  join audit.channels c
    on case
      when s.channels is null then c.organization_id = (report).organization_id and c.is_default
      else c.organization_id = s.organization_id and c.id = any (s.channels)
    end
  where s.id = (report).schedule
  order by c.id
$$;

comment on function audit.report_channels(audit.reports) is
  'Who is told of a report: the channels that its schedule names, else the organisation''s default ones; nobody where nobody scheduled it.';

create or replace function audit.report_message(report audit.reports)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object(
    'organization_id', (report).organization_id, 'severity', 'info',
    'title', format('%s, %s to %s', t.title,
      to_char((report).period_from at time zone s.time_zone, 'YYYY-MM-DD'),
      to_char(((report).period_to - interval '1 microsecond') at time zone s.time_zone, 'YYYY-MM-DD')),
    'report_id', (report).id, 'template', (report).template, 'schedule', (report).schedule,
    'from', audit.instant_text((report).period_from), 'to', audit.instant_text((report).period_to),
    'generated_at', audit.instant_text((report).generated_at),
    'content_sha256', encode(sha256(convert_to((report).content, 'UTF8')), 'hex')
  )
  from audit.report_templates t, audit.report_schedules s
  where t.template = (report).template and s.id = (report).schedule
$$;

comment on function audit.report_message(audit.reports) is 'What recipients are told of a report by schedule.';

create or replace function audit.queue_report(report audit.reports)
  returns int
  language plpgsql
  set search_path = ''
as $$
declare
  v_message jsonb := audit.report_message(report);
  v_channel audit.channels;
  v_told int := 0;
begin
  for v_channel in select c.* from audit.report_channels(report) c loop
    perform audit.queue_message(v_channel, (report).organization_id, 'report.ready', v_message);
    v_told := v_told + 1;
  end loop;
  return v_told;
end
$$;

comment on function audit.queue_report(audit.reports) is 'Has the recipients of a report told that it is there; answers how many there are.';

create or replace function audit.delivered_files(delivery uuid)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select coalesce(jsonb_agg(f -> 'path'), '[]')
  from audit.deliveries d
  join audit.channels c on c.id = d.channel_id
  join audit.reports r on r.id = audit.as_uuid(d.message ->> 'report_id')
  cross join lateral jsonb_array_elements(r.files) f
  where d.id = delivered_files.delivery and d.type = 'report.ready'
    and r.state = 'done' and (c.personal or r.names = '{}')
$$;

comment on function audit.delivered_files(uuid) is
  'Paths of the files that a message may link to: none where they are not there any more, or are being made again, or show
addresses of people that the channel may not have. For audit-jobs.';

create or replace function audit.keep_links(delivery uuid, links jsonb, until timestamptz)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
begin
  -- Of two runs the first says it, and both tell the same.
  update audit.deliveries d set
    message = d.message || jsonb_build_object('links', keep_links.links, 'links_until', audit.instant_text(keep_links.until))
  where d.id = keep_links.delivery
    and coalesce((d.message ->> 'links_until')::timestamptz, '-infinity') < clock_timestamp() + interval '1 day';
  return (select d.message from audit.deliveries d where d.id = keep_links.delivery);
end
$$;

comment on function audit.keep_links(uuid, jsonb, timestamptz) is
  'Keeps with a message the addresses of its files, unless it has some that hold for another day; answers the message. For audit-jobs.';
