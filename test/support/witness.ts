// Stand-in for a witness, as C2SP tlog-witness says: for each log it remembers the largest tree that it signed, signs only
// what continues it, and remembers before it answers.
import { Buffer } from "node:buffer";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseCheckpoint } from "../../functions/_shared/tlog/checkpoint.ts";
import { cosignatureVerifier, cosigner } from "../../functions/_shared/tlog/cosignature.ts";
import { emptyRoot, type Tree } from "../../functions/_shared/tlog/hash.ts";
import { formatVerifierKey, generateKey } from "../../functions/_shared/tlog/key.ts";
import { formatSignatures, signNote, type Verifier, verifyNote } from "../../functions/_shared/tlog/note.ts";
import { verifyConsistency } from "../../functions/_shared/tlog/proof.ts";
import { parseAddCheckpoint, SIZE_CONTENT_TYPE } from "../../functions/_shared/tlog/witness.ts";

export type WitnessAnswer = { status: number; headers?: Record<string, string>; body?: string | Uint8Array };

export type Witness = {
  name: string;
  url: string;
  /** Its line of a policy. */
  policy: string;
  verifier: Verifier;
  /** The logs that it knows, and the keys that it believes for each. */
  logs: Map<string, Verifier[]>;
  /** Signature lines for whatever text. */
  sign(text: string): Promise<string>;
  /** The largest tree that it signed, by origin. */
  trees: Map<string, Tree>;
  /** The bodies of all requests. */
  requests: string[];
  /** Its clock, in seconds. */
  now: () => number;
  /** What it does in place of its answer, or with it, once that is made and remembered; undefined: nothing else. */
  instead:
    | ((answer: WitnessAnswer, body: string) => WitnessAnswer | "hang" | "endless" | Promise<WitnessAnswer>)
    | undefined;
  stop(): Promise<void>;
};

export async function startWitness(name: string): Promise<Witness> {
  const key = generateKey(`${name}.example/witness`, "cosignature");

  const sign = async (text: string) =>
    formatSignatures((await signNote(text, [cosigner(key, witness.now())])).signatures);

  async function answer(body: string): Promise<WitnessAnswer> {
    let request;
    let checkpoint;
    try {
      request = parseAddCheckpoint(body);
      checkpoint = parseCheckpoint(request.checkpoint.text);
    } catch {
      return { status: 400 };
    }
    const { old, path } = request;
    const { origin, size, root } = checkpoint;
    const known = witness.logs.get(origin);
    if (known === undefined) return { status: 404 };
    try {
      verifyNote(request.checkpoint, known);
    } catch {
      return { status: 403 };
    }
    if (old > size) return { status: 400 };
    const last = witness.trees.get(origin) ?? { size: 0, root: emptyRoot() };
    if (old !== last.size) {
      return { status: 409, headers: { "content-type": SIZE_CONTENT_TYPE }, body: `${last.size}\n` };
    }
    if (!verifyConsistency(last, { size, root }, path)) return { status: 422 };
    witness.trees.set(origin, { size, root });
    return { status: 200, body: await sign(request.checkpoint.text) };
  }

  const server = createServer(async (incoming, outgoing) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const isKnown = incoming.method === "POST" && incoming.url === "/witness/add-checkpoint";
    if (!isKnown) return void outgoing.writeHead(405).end();
    witness.requests.push(body);
    const usual = await answer(body);
    const given = await witness.instead?.(usual, body) ?? usual;
    if (given === "hang") return;
    if (given === "endless") return sendWithoutEnd(outgoing);
    outgoing.writeHead(given.status, given.headers).end(given.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/witness`;
  const witness: Witness = {
    name,
    url,
    policy: `witness ${name} ${formatVerifierKey(key)} ${url}`,
    verifier: cosignatureVerifier(key),
    logs: new Map(),
    sign,
    trees: new Map(),
    requests: [],
    now: () => Math.floor(Date.now() / 1_000),
    instead: undefined,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return witness;
}

function sendWithoutEnd(outgoing: ServerResponse): void {
  const send = () => {
    while (!outgoing.destroyed) if (!outgoing.write("a".repeat(1_000))) return void outgoing.once("drain", send);
  };
  outgoing.on("error", () => {}).writeHead(200);
  send();
}
