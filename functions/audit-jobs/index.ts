// Function `audit-jobs`: what the clock sets off. Wires what the jobs need; what they do is in the files named after them.
import { parseArchiveKeys } from "../_shared/archive/bundle_encryption.ts";
import { encryptedBundles } from "../_shared/archive/encrypted_bundles.ts";
import { storageArchive } from "../_shared/archive/storage_archive.ts";
import { openDatabase } from "../_shared/database.ts";
import { openConnection, required, resolveName, secureConnection, setting } from "../_shared/env.ts";
import { type LogKeys, readLogKeys } from "../_shared/log_keys.ts";
import { Problem } from "../_shared/problem.ts";
import { renderReport } from "../_shared/report.ts";
import { renderFiles } from "../_shared/report_files.ts";
import { BUCKET, createUrlSigner, openStorage } from "../_shared/storage.ts";
import { deliverAlerts, LINK_SECONDS } from "./alert_deliveries.ts";
import { createApp } from "./app.ts";
import { makeBackup } from "./backup.ts";
import { collectLogs } from "./collect_logs.ts";
import { readBack } from "./read_back.ts";
import { readBackupSettings } from "./backup_settings.ts";
import { expireArchives } from "./expire.ts";
import { makeExports } from "./exports.ts";
import type { ManagementApi } from "./management_logs.ts";
import { mirrorArchive } from "./mirror.ts";
import { readOutside, RECEIVER_PATIENCE } from "./receiver_settings.ts";
import { deliverCheckpoints } from "./receivers.ts";
import { signManifests } from "./manifests.ts";
import { makeReports } from "./reports.ts";
import { sealLogs } from "./seal.ts";
import { cosignCheckpoint } from "./witnesses.ts";

declare const Deno: {
  serve(handler: (request: Request) => Response | Promise<Response>): unknown;
};

const projectUrl = required("SUPABASE_URL");
const serviceKey = setting("SUPABASE_SERVICE_ROLE_KEY");
const database = openDatabase({ url: required("SUPABASE_DB_URL"), ca: setting("AUDIT_DB_CA"), connections: 6 });
const archiveKeys = setting("AUDIT_ARCHIVE_KEY");
const stored = storageArchive({ projectUrl, serviceKey });
const archive = encryptedBundles(stored, archiveKeys === undefined ? undefined : parseArchiveKeys(archiveKeys));
const outside = readOutside({
  setting,
  openBucket: (bucket) => storageArchive({ projectUrl, serviceKey, bucket, patience: RECEIVER_PATIENCE }),
});

const app = createApp({
  secret: required("AUDIT_JOBS_SECRET"),
  jobs: {
    backup: () =>
      makeBackup({
        database,
        ...readBackupSettings({ setting, openBucket: (bucket) => storageArchive({ projectUrl, serviceKey, bucket }) }),
      }),
    exports: () =>
      makeExports({ database, openStorage: () => openStorage(projectUrl, serviceKey), render: renderReport }),
    manifests: () => signManifests({ database, keys: logKeys() }),
    seal: async (query) => {
      const result = await sealLogs({ database, archive, keys: logKeys() }, {
        dueNow: query.get("due_now") === "true",
      });
      // One invocation is bounded: the next is asked for at once, not at the clock's next tick.
      if (result.more) {
        await database.askAsOwner({
          name: "continue_sealing",
          text: "select audit.continue_sealing()::text",
          values: [],
        });
      }
      return result;
    },
    "collect-logs": async () => {
      const result = await collectLogs({ database, api: managementApi() });
      if (result.more && result.error === undefined) {
        await database.askAsOwner({
          name: "continue_collecting",
          text: "select audit.continue_collecting()::text",
          values: [],
        });
      }
      return result;
    },
    "deliver-alerts": async () => {
      const result = await deliverAlerts({
        database,
        network: { resolve: resolveName, connect: openConnection, secure: secureConnection },
        projectUrl,
        signUrls: createUrlSigner(projectUrl, serviceKey, LINK_SECONDS),
        mail: { key: setting("AUDIT_EMAIL_KEY"), from: setting("AUDIT_EMAIL_FROM") },
      });
      if (result.more) {
        await database.askAsOwner({
          name: "continue_alert_deliveries",
          text: "select audit.continue_alert_deliveries()::text",
          values: [],
        });
      }
      return result;
    },
    "deliver-checkpoints": () => deliverCheckpoints({ database, outside }),
    expire: () =>
      expireArchives({
        database,
        archive: stored,
        exported: storageArchive({ projectUrl, serviceKey, bucket: BUCKET }),
      }),
    mirror: () => mirrorArchive({ database, stored, outside }),
    "read-back": async () => {
      const result = await readBack({ database, archive, keys: logKeys() });
      if (result.more && result.failed === 0) {
        await database.askAsOwner({
          name: "continue_reading_back",
          text: "select audit.continue_reading_back()::text",
          values: [],
        });
      }
      return result;
    },
    reports: async () => {
      const result = await makeReports({
        database,
        openStorage: () => openStorage(projectUrl, serviceKey),
        archive,
        keys: logKeys(),
        render: renderFiles,
      });
      // One invocation makes one report: the next is asked for at once, not at the clock's next tick.
      if (result.more && result.failed === 0) {
        await database.askAsOwner({
          name: "continue_reports",
          text: "select audit.continue_reports()::text",
          values: [],
        });
      }
      return result;
    },
    witness: () => cosignCheckpoint({ database, stored, outside }),
  },
});

/** Read by the jobs that sign, so that the others work without. */
function logKeys(): LogKeys {
  const key = setting("AUDIT_LOG_KEY");
  if (key === undefined) {
    throw new Problem("not_configured", "AUDIT_LOG_KEY is missing: logs cannot be signed.", {
      hint: "Make a key with npm run keygen and set it as a secret of the project.",
    });
  }
  return readLogKeys(key, setting("AUDIT_LOG_VKEYS"));
}

function managementApi(): ManagementApi {
  const token = setting("AUDIT_MANAGEMENT_TOKEN");
  if (token === undefined) {
    throw new Problem("not_configured", "AUDIT_MANAGEMENT_TOKEN is missing: the project's logs cannot be read.", {
      hint: "Set an access token that may read the project's logs, or send them by a log drain.",
    });
  }
  return {
    url: setting("AUDIT_MANAGEMENT_URL") ?? "https://api.supabase.com",
    project: setting("AUDIT_PROJECT_REF") ?? new URL(projectUrl).hostname.split(".")[0]!,
    token,
  };
}

Deno.serve(app.fetch);
