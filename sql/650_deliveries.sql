-- Stand-in of delivery: alerts that would be queued for their channels.

create or replace function audit.queue_alert(alert_id uuid, transition text)
  returns void
  language sql
  set search_path = ''
as $$ select $$;

comment on function audit.queue_alert(uuid, text) is 'Queues an alert''s transition for its channels.';
