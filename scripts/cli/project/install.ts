// What has to change in a project so that it has the package's version: nothing where it has it already.
import { withInstallation } from "./config_toml.ts";
import { digest, type Payload } from "./payload.ts";
import {
  type Change,
  currentMigrations,
  FOLDER,
  MANIFEST,
  type Manifest,
  migrationName,
  MIGRATIONS,
  type Project,
} from "./project.ts";

export type Installation = { changes: Change[]; migration: string | null };

export async function planInstallation(project: Project, payload: Payload): Promise<Installation> {
  const { manifest } = project;
  const changes: Change[] = [];

  // Functions. What is as it was installed is replaced; what somebody has changed is not.
  for (const [path, text] of payload.files) {
    const current = await project.read(`${FOLDER}/${path}`);
    const at = `${FOLDER}/${path}`;
    if (current === null) changes.push({ change: "create", path: at, text });
    else if (digest(current) === digest(text)) continue;
    else if (digest(current) === manifest?.files[path]) changes.push({ change: "replace", path: at, text });
    else {
      changes.push({
        change: "conflict",
        path: at,
        reason: "it was changed by hand, or is not ours. Keep your change elsewhere and delete the file, then repeat.",
      });
    }
  }
  for (const [path, installed] of Object.entries(manifest?.files ?? {})) {
    if (payload.files.has(path)) continue;
    const current = await project.read(`${FOLDER}/${path}`);
    if (current !== null && digest(current) === installed) {
      changes.push({ change: "delete", path: `${FOLDER}/${path}` });
    }
  }

  // The migration: once a version.
  const wanted = digest(payload.migration);
  const migrations = [...manifest?.migrations ?? []];
  const known = migrations.at(-1)?.digest === wanted ? migrations.at(-1)!.file : await sameMigration(project, wanted);
  let migration: string | null = null;
  if (known === undefined) {
    migration = migrationName(
      project,
      migrations.length === 0 ? "audit_logs" : `audit_logs_${payload.version.replaceAll(/\W/g, "_")}`,
    );
    changes.push({ change: "create", path: `${MIGRATIONS}/${migration}`, text: payload.migration });
  }
  if (migrations.at(-1)?.digest !== wanted) migrations.push({ file: known ?? migration!, digest: wanted });

  changes.push(...withInstallation(project.config));

  const next: Manifest = {
    version: payload.version,
    files: Object.fromEntries([...payload.files].map(([path, text]) => [path, digest(text)]).sort()),
    migrations,
  };
  const text = `${JSON.stringify(next, null, 2)}\n`;
  const current = await project.read(MANIFEST);
  if (current !== text) changes.push({ change: current === null ? "create" : "replace", path: MANIFEST, text });
  return { changes, migration };
}

/** A migration of the project with the same text: installed by hand, or its manifest is lost. */
async function sameMigration(project: Project, wanted: string): Promise<string | undefined> {
  for (const name of currentMigrations(project)) {
    if (!name.includes("audit_logs")) continue;
    if (digest(await project.read(`${MIGRATIONS}/${name}`) ?? "") === wanted) return name;
  }
}

/** What is the user's own and in the way. */
export function conflicts(changes: Change[]): string[] {
  return changes.flatMap((each) => each.change === "conflict" ? [`${each.path}: ${each.reason}`] : []);
}
