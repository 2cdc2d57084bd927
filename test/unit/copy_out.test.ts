import fc from "fast-check";
import type pg from "pg";
import { describe, expect, test } from "vitest";
import { type CopyOptions, copyOut } from "../../functions/_shared/copy_out.ts";
import type { Tap } from "../../functions/_shared/socket.ts";

type Query = {
  submit(connection: unknown): void;
  handleReadyForQuery(): void;
  handleError(error: Error): void;
};

function message(type: string, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + content.length);
  bytes[0] = type.charCodeAt(0);
  new DataView(bytes.buffer).setInt32(1, content.length + 4);
  bytes.set(content, 5);
  return bytes;
}

function joined(parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** What a COPY of these rows gives where the server's bytes come in such pieces, and what is left for pg. */
async function copied(rows: Uint8Array[], pieces: number[], options?: CopyOptions) {
  let query: Query | undefined;
  let tap: Tap | undefined;
  const client = { query: (given: Query) => query = given } as unknown as pg.PoolClient;
  const copy = copyOut(client, "copy t to stdout", options);
  query!.submit({ stream: { divert: (given: Tap) => tap = given }, query() {} });

  const end = joined([
    message("c", new Uint8Array()),
    message("C", new Uint8Array([67, 0])),
    message("Z", Uint8Array.of(73)),
  ]);
  const notice = message("N", new Uint8Array([1, 2, 3]));
  const sent = joined([message("H", new Uint8Array(3)), ...rows.flatMap((row) => [message("d", row), notice]), end]);
  const feed = async () => {
    for (let at = 0, n = 0; at < sent.length; n++) {
      await tap!.wanted();
      const piece = sent.subarray(at, at + (pieces[n % pieces.length] ?? 1));
      tap!.space().set(piece);
      at += piece.length;
      const rest = tap!.accept(piece.length);
      if (rest === undefined) continue;
      query!.handleReadyForQuery();
      return joined([rest, sent.subarray(at)]);
    }
    throw new Error("the end was not seen");
  };
  const fed = feed();
  const chunks: Uint8Array[] = [];
  for (let chunk = await copy.next(); chunk !== undefined; chunk = await copy.next()) chunks.push(chunk);
  return { content: joined(chunks), rest: await fed, end };
}

describe("copyOut()", () => {
  test("gives the rows and nothing else, however the bytes are cut", async () => {
    const row = fc.uint8Array({ maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 5 }),
        async (rows, pieces) => {
          const { content, rest, end } = await copied(rows, pieces);
          expect(content).toEqual(joined(rows));
          // The end is pg's, whole.
          expect(rest).toEqual(end);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("puts before and after what it is told, and leaves out the beginning", async () => {
    const rows = [",{}", ",{}"].map((text) => new TextEncoder().encode(text));
    const { content } = await copied(rows, [7], { before: "[", skip: 1, after: "]" });
    expect(new TextDecoder().decode(content)).toBe("[{},{}]");
  });

  test("a failure of the statement is thrown", async () => {
    let query: Query | undefined;
    const copy = copyOut({ query: (given: Query) => query = given } as unknown as pg.PoolClient, "copy");
    query!.submit({ stream: { divert() {} }, query() {} });
    query!.handleError(new Error("no space left"));
    await expect(copy.next()).rejects.toThrow("no space left");
  });
});
