// What reaches out, in Node: the same three steps that the functions' runtime has, with names that a test decides about.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Connection } from "../../functions/_shared/env.ts";
import type { Network } from "../../functions/_shared/public_address.ts";

export type TestNetwork = Network & {
  /** What a name is resolved to, the next time and from then on. */
  names: Map<string, string[] | (() => string[])>;
  /** "address:port" of each connection. */
  connections: string[];
  /** Where connections to an address really lead: tests have no other machine than this. */
  routes: Map<string, string>;
};

export function testNetwork(ca?: string): TestNetwork {
  const network: TestNetwork = {
    names: new Map(),
    connections: [],
    routes: new Map(),
    resolve(name) {
      const answer = network.names.get(name) ?? (name === "localhost" ? ["127.0.0.1"] : []);
      return Promise.resolve(typeof answer === "function" ? answer() : answer);
    },
    async connect(address, port) {
      network.connections.push(`${address}:${port}`);
      const [host, to] = (network.routes.get(`${address}:${port}`) ?? `${address}:${port}`).split(/:(?=\d+$)/);
      return await opened(connect(Number(to), host!), "connect");
    },
    secure: (connection, name) =>
      opened(
        connectTls({
          socket: (connection as NodeConnection).socket,
          servername: name,
          ...(ca === undefined ? {} : { ca }),
        }),
        "secureConnect",
      ),
  };
  return network;
}

type NodeConnection = Connection & { socket: Socket };

async function opened(socket: Socket, event: string): Promise<NodeConnection> {
  await once(socket, event);
  socket.on("error", () => {});
  return {
    socket,
    async read(buffer) {
      for (;;) {
        const chunk = socket.read(Math.min(socket.readableLength, buffer.length) || undefined) as Uint8Array | null;
        if (chunk !== null && chunk.length > buffer.length) {
          socket.unshift(chunk.subarray(buffer.length));
          buffer.set(chunk.subarray(0, buffer.length));
          return buffer.length;
        }
        if (chunk !== null) {
          buffer.set(chunk);
          return chunk.length;
        }
        if (socket.readableEnded) return null;
        if (socket.destroyed) throw new Error("the connection is closed");
        await new Promise<void>((resolve) => {
          for (const what of ["readable", "end", "close"]) socket.once(what, resolve);
        });
      }
    },
    write: (bytes) =>
      new Promise((resolve, reject) => socket.write(bytes, (e) => e ? reject(e) : resolve(bytes.length))),
    close: () => socket.destroy(),
  };
}
