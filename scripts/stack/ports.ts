// TCP ports on the loopback interface: find a free one, or say clearly that a wanted one is taken.
import { createServer } from "node:net";

/** Listens for a moment on `port` (0: any) and answers the port it got. */
function probe(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      const got = typeof address === "object" && address !== null ? address.port : port;
      server.close(() => resolve(got));
    });
  });
}

export function freePort(): Promise<number> {
  return probe(0);
}

/** Throws when `port` cannot be listened on; `option` is the command line's way out. */
export async function assertPortFree(port: number, purpose: string, option: string): Promise<void> {
  try {
    await probe(port);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const cause = code === "EADDRINUSE"
      ? `port ${port} (${purpose}) is taken by another program`
      : `port ${port} (${purpose}) cannot be used: ${(error as Error).message}`;
    throw new Error(`${cause}. Choose another with ${option}, or stop what uses it.`);
  }
}
