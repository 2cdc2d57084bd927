/** What a running local stack tells its scripts, in `.local/stack.json`. */
export interface StackInfo {
  /** As role `postgres`, which is no superuser, like on hosted projects. */
  db_url: string;
  admin_db_url: string;
  api_url: string;
  anon_key: string;
  service_role_key: string;
  jwt_secret: string;
  jobs_secret: string;
  drain_secret: string;
  viewer_url: string;
  log_vkey: string;
  organizations: StackOrganization[];
  users: StackUser[];
}

export interface StackOrganization {
  id: string;
  name: string;
}

/** A user of the sample application; role and organisation are null for someone who belongs to none. */
export interface StackUser {
  id: string;
  email: string;
  password: string;
  role: string | null;
  organization_id: string | null;
}
