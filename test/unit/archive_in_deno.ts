// Uses an archive in S3 as the functions do and prints what came of it: archive.test.ts runs it in Deno, where they run.
import { Buffer } from "node:buffer";
import { text } from "node:stream/consumers";
import process from "node:process";
import { ArchiveError } from "../../functions/_shared/archive/archive.ts";
import { parseArchiveKeys } from "../../functions/_shared/archive/bundle_encryption.ts";
import { decoded } from "../../functions/_shared/archive/decoded.ts";
import { encryptedBundles } from "../../functions/_shared/archive/encrypted_bundles.ts";
import { parseS3, s3Archive } from "../../functions/_shared/archive/s3_archive.ts";

const { s3, keys, path, bundle, bomb, limit } = JSON.parse(await text(process.stdin)) as Record<string, string>;
const bytes = (base64: string | undefined) => new Uint8Array(Buffer.from(base64!, "base64"));
const s3archive = s3Archive(parseS3(s3!), { attempt: 300, total: 10_000, pause: 10 });
const archive = encryptedBundles(s3archive, parseArchiveKeys(keys!));
const failure = (work: Promise<unknown>) =>
  work.then(() => "none", (error) => error instanceof ArchiveError ? error.code : String(error));

await archive.put(path!, bytes(bundle), "bundle");
const stored = (await s3archive.get(path!))!;
const read = (await archive.get(path!))!;
const listed = await archive.list(path!.split("/").slice(0, 2).join("/"));
const changed = stored.slice();
changed[changed.length - 1]! ^= 1;
await s3archive.put(path!, changed, "bundle");
const tampered = await failure(archive.get(path!));
const bombed = await failure(decoded(bytes(bomb), Number(limit)));
await archive.remove([path!]);
process.stdout.write(
  JSON.stringify({
    stored: Buffer.from(stored).toString("base64"),
    read: Buffer.from(read).toString("base64"),
    listed,
    tampered,
    bombed,
    memory: process.memoryUsage().rss,
    gone: await archive.get(path!),
  }),
);
