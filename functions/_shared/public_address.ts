// Where what tenants configure may lead: to the internet, and never to what only we can reach.
import ipaddr from "ipaddr.js";
import type { Connection } from "./env.ts";
import { OutsideError } from "./outside.ts";

/** What of the runtime reaches out. */
export type Network = {
  /** The addresses of a name. */
  resolve(name: string): Promise<string[]>;
  connect(address: string, port: number): Promise<Connection>;
  /** TLS, with a certificate for the name. */
  secure(connection: Connection, name: string): Promise<Connection>;
};

/** Public by its number, and yet the host of every machine at Azure. */
const NOT_PUBLIC = ["168.63.129.16"];

/** As it may be called where it is permitted; a name that somebody else owns leads here nowhere. */
const HERE = ["localhost", "127.0.0.1", "::1"];

/** Whether an IP address is of the public internet; `local` permits this machine too. */
export function isPermitted(address: string, local: boolean): boolean {
  if (!ipaddr.IPv4.isValidFourPartDecimal(address) && !ipaddr.IPv6.isValid(address)) return false;
  // IPv6 forms of IPv4 addresses are taken for what they are.
  const ip = ipaddr.process(address);
  if (ip.range() === "loopback") return local;
  if (ip.range() !== "unicast" || NOT_PUBLIC.includes(ip.toString())) return false;
  // Of IPv6 only 2000::/3 is given out.
  return ip.kind() === "ipv4" || ip.match(ipaddr.parse("2000::"), 3);
}

/**
 * The addresses of a host, each permitted. Whoever connects must connect to one of these and ask no name again: the next
 * answer may be another. One that is not permitted among others says enough of who answers.
 */
export async function permittedAddresses(network: Network, host: string, local: boolean): Promise<string[]> {
  const name = host.replace(/^\[(.*)\]$/, "$1");
  const addresses = ipaddr.isValid(name) ? [name] : await network.resolve(name);
  if (addresses.length === 0) throw new OutsideError("unresolved");
  if (!addresses.every((address) => isPermitted(address, local && HERE.includes(name)))) {
    throw new OutsideError("forbidden_address");
  }
  return addresses;
}
