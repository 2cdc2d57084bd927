// The runtime: the one place beside each index.ts that knows Deno. What is read here is what a project configures.

type Runtime = {
  env: { get(name: string): string | undefined };
  connect(options: { hostname: string; port: number }): Promise<Connection>;
  startTls(connection: Connection, options: { hostname: string; caCerts?: string[] }): Promise<Connection>;
  resolveDns(name: string, type: "A" | "AAAA"): Promise<string[]>;
};

/** A TCP connection of the runtime. */
export type Connection = {
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
  setNoDelay?(noDelay?: boolean): void;
  setKeepAlive?(keepAlive?: boolean): void;
};

declare const Deno: Runtime;

/** The value of an environment variable; undefined also where it is empty. */
export function setting(name: string): string | undefined {
  return Deno.env.get(name) || undefined;
}

/** As setting(), for what a function cannot do without. */
export function required(name: string): string {
  const value = setting(name);
  if (value === undefined) {
    throw new Error(`Environment variable ${name} is missing: set it as a secret of the project.`);
  }
  return value;
}

/** Opens a TCP connection. */
export function openConnection(hostname: string, port: number): Promise<Connection> {
  return Deno.connect({ hostname, port });
}

/** Turns a connection into one with TLS, whose certificate is for `hostname`; `ca` adds authorities, in PEM. */
export function secureConnection(connection: Connection, hostname: string, ca?: string): Promise<Connection> {
  return Deno.startTls(connection, { hostname, ...(ca === undefined ? {} : { caCerts: [ca] }) });
}

/** The addresses of a name, IPv4 before IPv6, which not every runtime can reach. */
export async function resolveName(name: string): Promise<string[]> {
  const answers = await Promise.all(["A", "AAAA"].map((type) => Deno.resolveDns(name, type as "A").catch(() => [])));
  return answers.flat();
}

/** Tells a hosted runtime that work goes on after the response. */
export function workOn(work: Promise<unknown>): void {
  const { EdgeRuntime } = globalThis as {
    EdgeRuntime?: { waitUntil(work: Promise<unknown>): void };
  };
  EdgeRuntime?.waitUntil(work);
}
