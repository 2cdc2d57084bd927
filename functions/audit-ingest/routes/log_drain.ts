// POST /log-drain: batches of a Supabase Log Drain. A drain sends a batch once and asks for no answer; what it has no
// luck with, the collector of audit-jobs finds (where it is switched on).
import { ingestLines } from "../../_shared/logs/ingest_lines.ts";
import { Problem } from "../../_shared/problem.ts";
import { equalSecrets } from "../../_shared/secrets.ts";
import type { App } from "../app.ts";
import { bearerOf } from "../authenticate.ts";
import { parseBody, readBody } from "../body.ts";
import type { Deps } from "../deps.ts";

/** A drain sends 250 lines; somebody may send a file of them. */
const LIMITS = { sent: 8 * 1024 * 1024, unpacked: 16 * 1024 * 1024 };
const MOST_LINES = 20_000;

export function addLogDrain(app: App, { database, drainSecret }: Deps): void {
  app.post("/log-drain", async (c) => {
    if (drainSecret === undefined) {
      throw new Problem("not_configured", "AUDIT_DRAIN_SECRET is missing: no drain can be told from others.", {
        hint: "Set it as a secret of the project, and in the drain as header: Authorization: Bearer <secret>.",
      });
    }
    // Two while it is being changed: "new,old".
    const sent = bearerOf(c.req.header("authorization"));
    const matches = await Promise.all(drainSecret.split(",").map((secret) => equalSecrets(sent, secret)));
    if (!matches.includes(true)) {
      throw new Problem("not_authenticated", "The drain does not show its secret.", {
        hint: "Give the drain the header: Authorization: Bearer <AUDIT_DRAIN_SECRET>.",
        headers: { "www-authenticate": "Bearer" },
      });
    }
    const body = parseBody(await readBody(c.req.raw, LIMITS), { lenient: true });
    const lines = Array.isArray(body) ? body : [body];
    if (lines.length > MOST_LINES) {
      throw new Problem("too_large", `A batch has at most ${MOST_LINES} lines.`);
    }
    return c.json(await ingestLines(database, lines));
  });
}
