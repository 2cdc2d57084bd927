-- The log with the people in it: e-mail, IP address and user agent where they are known and not erased.

create or replace view public.audit_events
  with (security_invoker = true)
as
  select a.organization_id, a.chain, a.seq, a.created_at, a.action, a.outcome, a.resource_type, a.resource_id,
    a.created_by, a.actor_type, i.email, i.ip_address, i.user_agent, a.provider, a.cost, a.request_id, a.details
  from public.audit_logs a
  left join lateral (
    -- A commitment that stands twice is the same identity twice.
    select i.email, i.ip_address, i.user_agent
    from audit.identities i
    where i.identity_hash = a.identity_hash
    limit 1
  ) i on true;

comment on view public.audit_events is
  'The audit log with e-mail, IP address and user agent of the actor; the reader''s own rights decide what is shown.';

revoke all on public.audit_events from public, anon, authenticated, service_role;
grant select on public.audit_events to authenticated, service_role;
