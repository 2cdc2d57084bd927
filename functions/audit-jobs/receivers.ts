// Checkpoints for receivers: whoever keeps one can tell later whether the log still is what it was. Each gets the newest
// of each log that it is for; one that was away gets what is newest then, and nothing older after it.
import { createHash } from "node:crypto";
import type { Archive } from "../_shared/archive/archive.ts";
import type { Database } from "../_shared/database.ts";
import { parseNote } from "../_shared/tlog/note.ts";
import { encodeText } from "../_shared/tlog/text.ts";
import { sendWebhook, type WebhookTarget } from "../_shared/webhook.ts";
import {
  claimDelivery,
  type Delivery,
  failDelivery,
  type Receiver,
  recordDelivery,
  registerReceivers,
} from "./deliveries.ts";
import type { Outside } from "./receiver_settings.ts";

export type CheckpointReceiver = Receiver & {
  /** Hands the checkpoint over. When it resolves, the receiver has it. */
  deliver(delivery: Delivery): Promise<void>;
};

export type ReceiverDeps = { database: Database; outside: Outside };

export type ReceiversResult = { configured: false } | { configured: true; delivered: number; failed: number };

/** After so many milliseconds no further delivery is begun. */
const MOST_TIME = 20_000;

/** Gets a message for each checkpoint, signed. */
export function webhookReceiver(name: string, allLogs: boolean, target: WebhookTarget): CheckpointReceiver {
  return {
    kind: "webhook",
    name,
    allLogs,
    deliver: ({ origin, size, note, published_at }) =>
      sendWebhook(target, {
        // Of what is said, so that a second checkpoint of one size would be no repetition of the first.
        id: `checkpoint_${createHash("sha256").update(parseNote(note).text).digest("hex").slice(0, 32)}`,
        body: { type: "checkpoint.published", timestamp: published_at, data: { origin, size, checkpoint: note } },
      }),
  };
}

/** Gets a file for each checkpoint, which are in the order of their sizes. */
export function archiveReceiver(
  kind: "bucket" | "s3",
  name: string,
  allLogs: boolean,
  archive: Archive,
): CheckpointReceiver {
  return {
    kind,
    name,
    allLogs,
    deliver: ({ folder, size, note }) =>
      archive.put(`checkpoints/${folder}/${String(size).padStart(16, "0")}`, encodeText(note), "checkpoint"),
  };
}

/** Delivers what is due, to all receivers side by side: one that hangs keeps no other waiting. */
export async function deliverCheckpoints({ database, outside }: ReceiverDeps): Promise<ReceiversResult> {
  const end = performance.now() + MOST_TIME;
  const receivers = outside.receivers();
  await registerReceivers(database, ["webhook", "bucket", "s3"], receivers);
  if (receivers.length === 0) return { configured: false };
  const results = await Promise.all(receivers.map((receiver) => deliverTo(database, receiver, end)));
  return {
    configured: true,
    delivered: results.reduce((sum, { delivered }) => sum + delivered, 0),
    failed: results.filter(({ failed }) => failed).length,
  };
}

/** One after the other, until nothing is due or the receiver fails, which is then left alone for a while. */
async function deliverTo(
  database: Database,
  receiver: CheckpointReceiver,
  end: number,
): Promise<{ delivered: number; failed: boolean }> {
  let delivered = 0;
  while (performance.now() < end) {
    const delivery = await claimDelivery(database, receiver);
    if (delivery === null) break;
    try {
      await receiver.deliver(delivery);
    } catch (error) {
      await failDelivery(database, receiver, delivery, error);
      return { delivered, failed: true };
    }
    await recordDelivery(database, delivery);
    delivered++;
  }
  return { delivered, failed: false };
}
