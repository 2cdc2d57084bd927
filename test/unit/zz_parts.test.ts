import { test } from "vitest";
import { createDatabase } from "/work/wt/auth/test/support/database.ts";
test("parts", async () => {
  const db = await createDatabase();
  const c = await db.connect();
  c.on("notice", n => console.log(n.message));
  const ev = (off:number,n:number)=>`(select array_agg(row('log','user.login_failed','failure',now()-(g%60000)*interval '1 ms',null,('u'||g||'@x.example'),('10.'||(g/65536)||'.'||(g/256%256)||'.'||(g%256)),'curl/8',null,'r'||g,'{"reason":"invalid_credentials"}')::audit.auth_event) from generate_series(${off}, ${off+n-1}) g)`;
  for (let k=0;k<3;k++) {
  await c.query(`do $$ declare e audit.auth_event[] := ${ev(k*4000,1000)}; c audit.auth_case[]; t timestamptz; 
  begin
    t:=clock_timestamp(); c:=audit.auth_cases(e); raise notice 'cases %', clock_timestamp()-t;
    t:=clock_timestamp(); perform audit.settle_auth(e); raise notice 'settle %', clock_timestamp()-t;
    e := ${ev(k*4000+1000,1000)};
    t:=clock_timestamp(); perform audit.append_auth(e); raise notice 'append_auth %', clock_timestamp()-t;
    t:=clock_timestamp(); perform audit.auth_details(null, x.*) from unnest(e) x; raise notice 'details %', clock_timestamp()-t;
    t:=clock_timestamp(); perform audit.identify(audit.system_organization(), null, x.email||'x', x.ip_address, x.user_agent) from unnest(e) x; raise notice 'identify %', clock_timestamp()-t;
  end $$`);
  }
  await db.drop();
}, 120000);
