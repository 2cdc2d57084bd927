-- Every schedule of the product. Where pg_cron is not installed nothing runs by itself: audit_logs_default then catches
-- entries of months without a partition, and audit.coverage says what waits.

do $$
begin
  if to_regprocedure('cron.schedule(text, text, text)') is not null then
    perform cron.schedule('audit-partitions', '17 2 * * *', 'select audit.ensure_partitions()');
    -- Does what the event triggers do, where the server does not let us make them.
    perform cron.schedule('audit-known-tables', '*/10 * * * *', 'select audit.track_known_tables()');
  end if;
end
$$;
