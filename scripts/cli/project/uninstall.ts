// Taking the product out of a project. The log stays, with what it takes to read and verify it, unless told twice.
import { withoutInstallation } from "./config_toml.ts";
import { digest } from "./payload.ts";
import { type Change, FOLDER, MANIFEST, migrationName, MIGRATIONS, type Project, Refusal } from "./project.ts";

export type Removal = {
  changes: Change[];
  /** What stays and is to be taken out by hand. */
  left: string[];
  migration: string;
};

/** The two names that have to be said so that the log goes. */
export const LOG_TABLE = "public.audit_logs";
export const LOG_SCHEMA = "audit";

export async function planRemoval(project: Project, dropLog: boolean): Promise<Removal> {
  // Who took the product out and kept the log may delete it later.
  const isLogLeft = project.migrations.some((name) => /_audit_logs_stopped\.sql$/.test(name));
  if (project.manifest === null && !(dropLog && isLogLeft)) {
    throw new Refusal(`Nothing is installed in ${project.root}: there is no ${MANIFEST}.`);
  }
  const changes: Change[] = [];
  const left: string[] = [];
  for (const [path, installed] of Object.entries(project.manifest?.files ?? {})) {
    const at = `${FOLDER}/${path}`;
    const current = await project.read(at);
    if (current === null) continue;
    if (digest(current) === installed) changes.push({ change: "delete", path: at });
    else left.push(at);
  }
  if (project.manifest !== null) changes.push({ change: "delete", path: MANIFEST });
  const config = withoutInstallation(project.config);
  changes.push(...config.changes);
  const migration = migrationName(project, dropLog ? "audit_logs_dropped" : "audit_logs_stopped");
  changes.push({ change: "create", path: `${MIGRATIONS}/${migration}`, text: dropLog ? STOP + DROP : STOP });
  return { changes, left: [...left, ...config.left], migration };
}

// Functions go with the triggers that call them: `drop trigger` locks all of Auth's tables on hosted Supabase.
const STOP =
  `-- Stops capture and every schedule of the audit log. What is in the log stays, and can be read and verified.

set local lock_timeout = '3s';

do $$
declare
  v_function regprocedure;
begin
  if to_regclass('audit.tracked_tables') is null then
    return;
  end if;
  if to_regclass('cron.job') is not null then
    perform cron.unschedule(j.jobid) from cron.job j where j.jobname like 'audit-%';
  end if;
  -- First those that would put capture back.
  drop function if exists audit.on_ddl_command_end() cascade;
  drop function if exists audit.on_sql_drop() cascade;
  perform audit.untrack(t.table_name::text) from audit.tracked_tables t;
  for v_function in
    select distinct t.tgfoid::regprocedure
    from pg_catalog.pg_trigger t
    join pg_catalog.pg_proc p on p.oid = t.tgfoid and p.pronamespace = 'audit'::regnamespace
    join pg_catalog.pg_class c on c.oid = t.tgrelid
    where c.relnamespace <> 'audit'::regnamespace and c.relname !~ '^audit_logs(_|$)'
  loop
    execute format('drop function %s cascade', v_function);
  end loop;
end
$$;
`;

const DROP = `
-- And the log itself, with everything that verifies it. Its archive in Storage stays until you delete the buckets.
drop schema if exists audit cascade;
drop table if exists public.audit_logs cascade;
drop function if exists public.record_audit_event;

do $$
declare
  v_role text;
begin
  foreach v_role in array array['audit_writer', 'audit_purger'] loop
    if exists (select from pg_catalog.pg_roles r where r.rolname = v_role) then
      execute format('grant %I to current_user', v_role);
      execute format('drop owned by %I', v_role);
      begin
        execute format('drop role %I', v_role);
      exception when dependent_objects_still_exist then
        raise notice 'role % stays: another database of this server uses it', v_role;
      end;
    end if;
  end loop;
end
$$;
`;
