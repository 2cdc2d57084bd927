// Policies: the specification's example, every way to write one wrongly, and quorums against counting by hand.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatVerifierKey, generateKey, type KeyType, renameKey } from "../../functions/_shared/tlog/key.ts";
import { isWitnessed, parsePolicy, type Policy, type Quorum } from "../../functions/_shared/tlog/policy.ts";

const malformed = expect.objectContaining({ name: "TlogError", code: "malformed_policy" });

const keys = Array.from({ length: 8 }, (_, at) => generateKey(`example.com/w${at}`, "cosignature"));
const vkey = (type: KeyType, name = "example.com/x") => formatVerifierKey(generateKey(name, type));
const witness = (at: number, url = "") => `witness w${at} ${formatVerifierKey(keys[at]!)} ${url}\n`;
const by = (...which: number[]) =>
  which.map((at) => ({ name: keys[at]!.name, keyId: keys[at]!.keyId, time: 1_700_000_000 }));

// The example of the specification, with keys.
const EXAMPLE = `
# by two organisations
log ${vkey("note", "example.com/log")} https://log.example.com/

witness X1 ${formatVerifierKey(keys[0]!)}
witness X2 ${formatVerifierKey(keys[1]!)} https://x2.example.com/submit
\twitness X3\t ${formatVerifierKey(keys[2]!)}\t
group X-witnesses 2 X1 X2 X3

witness Y1 ${formatVerifierKey(keys[3]!)}
witness Y2 ${formatVerifierKey(keys[4]!)}
witness Y3 ${formatVerifierKey(keys[5]!)}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`;

describe("a policy", () => {
  test("is read as the specification's example means it", () => {
    const policy = parsePolicy(EXAMPLE);
    expect(policy.logs).toEqual([{
      key: expect.objectContaining({ name: "example.com/log", type: "note" }),
      url: "https://log.example.com/",
    }]);
    expect(policy.witnesses.map(({ name, url }) => [name, url])).toEqual([
      ["X1", undefined],
      ["X2", "https://x2.example.com/submit"],
      ["X3", undefined],
      ["Y1", undefined],
      ["Y2", undefined],
      ["Y3", undefined],
    ]);
    for (
      const [cosigners, enough] of [
        [[], false],
        [[0, 1], false],
        [[0, 3], false],
        [[3, 4, 5], false],
        [[0, 1, 3], true],
        [[1, 2, 5], true],
        [[0, 1, 2, 3, 4, 5], true],
        [[0, 1, 6], false],
      ] as [number[], boolean][]
    ) {
      expect([cosigners, isWitnessed(policy, by(...cosigners))]).toEqual([cosigners, enough]);
    }
  });

  test("counts a witness once, by its key, and not without a time", () => {
    const policy = parsePolicy(`${witness(0)}${witness(1)}group both 2 w0 w1\nquorum both`);
    const [first] = by(0);
    expect(isWitnessed(policy, [first!, first!, { ...first!, time: first!.time + 1 }])).toBe(false);
    expect(isWitnessed(policy, [...by(0), { ...by(1)[0]!, time: 0 }])).toBe(false);
    expect(isWitnessed(policy, [...by(0), { ...by(1)[0]!, keyId: "00000000" }])).toBe(false);
    expect(isWitnessed(policy, [...by(0), { ...by(1)[0]!, name: "w1" }])).toBe(false);
    expect(isWitnessed(policy, by(0, 1))).toBe(true);
  });

  test("may do without witnesses, and with names in any script", () => {
    expect(isWitnessed(parsePolicy("quorum none"), [])).toBe(true);
    expect(isWitnessed(parsePolicy(`${witness(0)}quorum w0\n`), by(0))).toBe(true);
    const kelvin = `witness K ${vkey("cosignature")}\nwitness \u212A ${vkey("cosignature")}\nquorum K`;
    expect(parsePolicy(kelvin).witnesses).toHaveLength(2);
  });

  const log = `log ${vkey("note")}`;
  const two = `${witness(0)}${witness(1)}`;
  test.each([
    ["no quorum", two],
    ["nothing", ""],
    ["two quorums", "quorum none\nquorum none"],
    ["a quorum of nobody", `${two}quorum w2`],
    ["a quorum of two", `${two}quorum w0 w1`],
    ["a quorum that comes before", `quorum w0\n${two}`],
    ["a quorum that is a log", `${log}\nquorum example.com/x`],
    ["an unknown keyword", "quorum none\nwitnesses"],
    ["a keyword in capitals", "QUORUM none"],
    ["a comment at the end", "quorum none # of them"],
    ["a group of none", `${two}group g any\nquorum g`],
    ["a group of the none", `${two}group g any none\nquorum g`],
    ["a group of itself", `${two}group g any g\nquorum g`],
    ["a group of a later one", `${two}group g any h\ngroup h any w0\nquorum g`],
    ["a group without a number", `${two}group g w0 w1\nquorum g`],
    ["0 of two", `${two}group g 0 w0 w1\nquorum g`],
    ["3 of two", `${two}group g 3 w0 w1\nquorum g`],
    ["-1 of two", `${two}group g -1 w0 w1\nquorum g`],
    ["01 of two", `${two}group g 01 w0 w1\nquorum g`],
    ["1e0 of two", `${two}group g 1e0 w0 w1\nquorum g`],
    ["ALL of two", `${two}group g ALL w0 w1\nquorum g`],
    ["a member twice", `${two}group g any w0 w0\nquorum g`],
    ["a member of two groups", `${two}group g any w0\ngroup h any w0 w1\nquorum h`],
    ["a group in two groups", `${two}group g any w0\ngroup h any g\ngroup i any g w1\nquorum i`],
    ["a name twice", `${witness(0)}witness w0 ${vkey("cosignature")}\nquorum none`],
    ["a group named as a witness", `${two}group w0 any w1\nquorum none`],
    ["a witness named none", `witness none ${vkey("cosignature")}\nquorum none`],
    ["a group named none", `${two}group none any w0\nquorum none`],
    ["a key twice", `${witness(0)}witness other ${formatVerifierKey(keys[0]!)}\nquorum none`],
    ["a log twice", `${log}\n${log}\nquorum none`],
    ["a log without a key", "log\nquorum none"],
    ["a log with two addresses", `${log} https://a https://b\nquorum none`],
    ["a witness without a key", "witness w\nquorum none"],
    ["a witness with a log's key", `witness w ${vkey("note")}\nquorum none`],
    ["a log with a witness's key", `log ${vkey("cosignature")}\nquorum none`],
    ["a key that is cut", `log ${vkey("note").slice(0, -4)}\nquorum none`],
    ["a carriage return", "quorum none\r\n"],
    ["another space", "quorum\u00a0none"],
    ["a vertical tab", "quorum\u000bnone"],
    ["a delete", "# \u007f\nquorum none"],
    ["a NUL", "# \0\nquorum none"],
    ["half a character", "# \ud800\nquorum none"],
    ["more than anyone reads", `quorum none\n${"#\n".repeat(40_000)}`],
  ])("with %s is refused", (_, text) => expect(() => parsePolicy(text)).toThrow(malformed));

  test("of bytes that are no UTF-8 is refused", () => {
    expect(() => parsePolicy(Uint8Array.of(0x23, 0xff, 0x0a))).toThrow(malformed);
  });

  test("the same key under another name is the same", () => {
    const renamed = formatVerifierKey(renameKey(keys[0]!, "another.example/name"));
    expect(() => parsePolicy(`witness other ${renamed}\nquorum none`)).not.toThrow();
    expect(() => parsePolicy(`${witness(0)}witness other ${renamed}\nquorum none`)).toThrow(malformed);
  });

  test("of 32 logs, witnesses and groups is read; of thousands it is not", () => {
    const lines = (
      count: number,
    ) => [
      ...Array.from({ length: count }, (_, at) => `log ${vkey("note", `log${at}`)}`),
      ...Array.from({ length: count }, (_, at) => `witness w${at} ${vkey("cosignature")}`),
      ...Array.from({ length: count }, (_, at) => `group g${at} any ${at === 0 ? "w0" : `g${at - 1} w${at}`}`),
      `quorum g${count - 1}`,
    ];
    expect(parsePolicy(lines(32).join("\n")).witnesses).toHaveLength(32);
    expect(() => parsePolicy(lines(257).join("\n"))).toThrow(malformed);
  });
});

// A random tree over the witnesses, its text, and what it means.
type Tree = number | { threshold: number; members: Tree[] };
const tree = fc.tuple(
  fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 1 }),
  fc.array(fc.nat(), { maxLength: 40 }),
).map(([leaves, choices]): Tree => {
  let nodes: Tree[] = leaves;
  let at = 0;
  const next = (below: number) => (choices[at++] ?? 0) % below;
  while (nodes.length > 1 || next(3) === 1) {
    const members = nodes.slice(0, 1 + next(nodes.length));
    nodes = [...nodes.slice(members.length), { threshold: 1 + next(members.length), members }];
    if (at > choices.length) nodes = [{ threshold: 1, members: nodes }];
  }
  return nodes[0]!;
});

function written(tree: Tree): { text: string; name: string } {
  let groups = 0;
  let text = keys.map((_, at) => witness(at)).join("");
  const write = (node: Tree): string => {
    if (typeof node === "number") return `w${node}`;
    const names = node.members.map(write);
    const name = `g${groups++}`;
    const { threshold } = node;
    const many = threshold === 1 ? "any" : threshold === names.length ? "all" : threshold;
    text += `group ${name} ${many} ${names.join(" ")}\n`;
    return name;
  };
  return { name: write(tree), text };
}

function meant(tree: Tree, cosigners: number[]): boolean {
  if (typeof tree === "number") return cosigners.includes(tree);
  let count = 0;
  for (const member of tree.members) if (meant(member, cosigners)) count++;
  return count >= tree.threshold;
}

function treeOf(quorum: Quorum): Tree {
  return "key" in quorum
    ? Number(quorum.name.slice(1))
    : { threshold: quorum.threshold, members: quorum.members.map(treeOf) };
}

describe("any policy", () => {
  test("is read as it was written, and met as counting says", () => {
    fc.assert(fc.property(tree, fc.subarray([0, 1, 2, 3, 4, 5, 6, 7]), (tree, cosigners) => {
      const { text, name } = written(tree);
      const policy = parsePolicy(`${text}quorum ${name}\n`);
      expect(treeOf(policy.quorum)).toEqual(tree);
      expect(isWitnessed(policy, by(...cosigners))).toBe(meant(tree, cosigners));
    }));
  });

  test("that was changed somewhere is refused, or means what it says; nothing else is thrown", () => {
    const change = fc.record({
      at: fc.nat(EXAMPLE.length),
      cut: fc.nat(20),
      add: fc.oneof(
        fc.string({ maxLength: 5 }),
        fc.constantFrom("\n", " ", "\t", "#", "any", "X1", "none", "quorum none\n"),
      ),
    });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        let text = EXAMPLE;
        for (const { at, cut, add } of changes) text = text.slice(0, at) + add + text.slice(at + cut);
        let policy: Policy;
        try {
          policy = parsePolicy(text);
        } catch (error) {
          expect(error).toEqual(malformed);
          return;
        }
        // Nobody is enough only where the policy says so.
        expect(isWitnessed(policy, [])).toBe(/^[ \t]*quorum[ \t]+none[ \t]*$/m.test(text));
      }),
      { numRuns: 2_000 },
    );
  });

  test("of whatever bytes: read or refused", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        parsePolicy(bytes);
      } catch (error) {
        expect(error).toEqual(malformed);
      }
    }));
  });
});
