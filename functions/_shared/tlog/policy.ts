/**
 * Whom one believes, written down: logs, witnesses, and how many of them are enough. C2SP tlog-policy
 * (https://c2sp.org/tlog-policy), read as UTF-8, with Ed25519 keys.
 */
import type { Cosignature } from "./cosignature.ts";
import { TlogError } from "./error.ts";
import { parseVerifierKey, type VerifierKey } from "./key.ts";
import { decodeText, equalBytes } from "./text.ts";

/** The address is for who interacts with the log; it says no more than what is written. */
export type PolicyLog = { key: VerifierKey; url?: string };

/** The name is the policy's own; signatures have the key's. The address is the witness's submission prefix. */
export type PolicyWitness = { name: string; key: VerifierKey; url?: string };

/** A witness, or so many of some. `quorum none` is none of none. */
export type Quorum = PolicyWitness | { threshold: number; members: Quorum[] };

export type Policy = { logs: PolicyLog[]; witnesses: PolicyWitness[]; quorum: Quorum };

const MAX_POLICY_BYTES = 65_536;
/** The specification wants 32 of each at least. */
const MAX_OF_A_KIND = 256;

export function parsePolicy(input: string | Uint8Array): Policy {
  const text = decodeText(input, MAX_POLICY_BYTES);
  if (text === undefined) throw malformed("is not UTF-8, or too long");
  const logs: PolicyLog[] = [];
  const witnesses: PolicyWitness[] = [];
  const defined = new Map<string, Quorum>();
  const grouped = new Set<string>();
  let quorum: Quorum | undefined;

  const define = (name: string, quorum: Quorum, line: number) => {
    if (name === "none" || defined.has(name)) {
      throw malformed(`defines ${quote(name)} again`, line);
    }
    if (defined.size === 2 * MAX_OF_A_KIND) {
      throw malformed("has too many witnesses and groups", line);
    }
    defined.set(name, quorum);
  };
  const lookUp = (name: string, line: number): Quorum => {
    const found = defined.get(name);
    if (found === undefined) {
      throw malformed(`names ${quote(name)}, which no line before defines`, line);
    }
    return found;
  };
  const member = (name: string, line: number): Quorum => {
    const found = lookUp(name, line);
    if (grouped.has(name)) {
      throw malformed(`has ${quote(name)} in a group twice`, line);
    }
    grouped.add(name);
    return found;
  };

  // The last line may do without its line feed, which the shell takes away and nobody sees.
  for (const [at, content] of text.split("\n").entries()) {
    const line = at + 1;
    if (/[^\P{Cc}\t\u0080-\u009f]/u.test(content)) {
      throw malformed("holds control characters", line);
    }
    const [keyword, ...items] = content.split(/[ \t]+/).filter((item) => item !== "");
    if (keyword === undefined || keyword.startsWith("#")) continue;
    if (keyword === "log" && isCount(items, 1, 2)) {
      const [vkey = "", url] = items;
      logs.push({ key: newKey(vkey, "note", logs, line), ...(url === undefined ? {} : { url }) });
    } else if (keyword === "witness" && isCount(items, 2, 3)) {
      const [name = "", vkey = "", url] = items;
      const witness = {
        name,
        key: newKey(vkey, "cosignature", witnesses, line),
        ...(url === undefined ? {} : { url }),
      };
      define(name, witness, line);
      witnesses.push(witness);
    } else if (keyword === "group" && isCount(items, 3, Infinity)) {
      const [name = "", many = "", ...names] = items;
      const members = names.map((each) => member(each, line));
      define(name, { threshold: thresholdOf(many, members.length, line), members }, line);
    } else if (keyword === "quorum" && isCount(items, 1, 1)) {
      if (quorum !== undefined) throw malformed("has a second quorum", line);
      const [name = ""] = items;
      quorum = name === "none" ? { threshold: 0, members: [] } : lookUp(name, line);
    } else {
      throw malformed("is no log, witness, group or quorum", line);
    }
  }
  if (quorum === undefined) throw malformed("has no quorum");
  return { logs, witnesses, quorum };
}

/** Whether these cosignatures, which were verified, are enough. One that is of no time says nothing. */
export function isWitnessed({ quorum }: Policy, cosignatures: Cosignature[]): boolean {
  return isMet(quorum, cosignatures.filter(({ time }) => time > 0));
}

function isMet(quorum: Quorum, cosignatures: Cosignature[]): boolean {
  if ("key" in quorum) {
    return cosignatures.some(({ name, keyId }) => name === quorum.key.name && keyId === quorum.key.keyId);
  }
  return quorum.members.filter((member) => isMet(member, cosignatures)).length >= quorum.threshold;
}

/** The same key under two names would count twice. */
function newKey(vkey: string, type: "note" | "cosignature", known: { key: VerifierKey }[], line: number): VerifierKey {
  let key: VerifierKey;
  try {
    key = parseVerifierKey(vkey, type);
  } catch (error) {
    throw error instanceof TlogError ? malformed(`has a key that cannot be used: ${error.message}`, line) : error;
  }
  if (known.some((other) => equalBytes(other.key.publicKey, key.publicKey))) {
    throw malformed("has a key again", line);
  }
  if (known.length === MAX_OF_A_KIND) {
    throw malformed("has too many keys", line);
  }
  return key;
}

function thresholdOf(many: string, members: number, line: number): number {
  const threshold = many === "any" ? 1 : many === "all" ? members : /^[1-9]\d{0,3}$/.test(many) ? Number(many) : 0;
  if (threshold < 1 || threshold > members) {
    throw malformed(`asks for ${quote(many)} of a group of ${members}`, line);
  }
  return threshold;
}

function isCount(items: string[], least: number, most: number): boolean {
  return items.length >= least && items.length <= most;
}

function quote(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}

function malformed(how: string, line?: number): TlogError {
  return new TlogError("malformed_policy", `the policy ${line === undefined ? "" : `in line ${line} `}${how}`);
}
