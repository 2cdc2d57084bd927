// Where messages of tenants may lead, and how long anybody can hold them up: servers that hang, drip, lie and redirect,
// names that are resolved to what only we can reach, and once to this and once to that.
import { createServer as createHttps, type Server as HttpsServer } from "node:https";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { guardedSend } from "../../functions/_shared/guarded_post.ts";
import { OutsideError } from "../../functions/_shared/outside.ts";
import { isPermitted } from "../../functions/_shared/public_address.ts";
import { type Certificates, makeAuthority } from "../support/certificates.ts";
import { type TestNetwork, testNetwork } from "../support/network.ts";

const PUBLIC = "93.184.216.34";
const NAME = "hooks.example.com";

let authority: Certificates;
let network: TestNetwork;
const servers: Server[] = [];

beforeAll(() => void (authority = makeAuthority()));
afterAll(() => authority.remove());
beforeEach(() => void (network = testNetwork(authority.ca)));
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

/** A server that does to a connection what a test likes, behind a public address. */
async function serve(behave: (socket: Socket, request: string) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", (bytes) => behave(socket, bytes.toString()));
  });
  server.on("close", () => {});
  const close = server.close.bind(server);
  server.close = (done) => {
    for (const socket of sockets) socket.destroy();
    return close(done);
  };
  return await listening(server);
}

async function listening(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  network.names.set(NAME, [PUBLIC]);
  for (const at of [443, 8443]) network.routes.set(`${PUBLIC}:${at}`, `127.0.0.1:${port}`);
  return port;
}

async function serveTls(names: string[], answer = 200): Promise<{ requests: string[] }> {
  const requests: string[] = [];
  const server: HttpsServer = createHttps(authority.issue(...names), async (incoming, outgoing) => {
    let text = "";
    for await (const chunk of incoming) text += chunk;
    requests.push(`${incoming.method} ${incoming.headers.host} ${incoming.url} ${text}`);
    outgoing.writeHead(answer).end("ok");
  });
  await listening(server);
  return { requests };
}

const http = (port: number, timeout = 2_000) => (body = "{}") =>
  guardedSend(network, { local: true, timeout })(`http://127.0.0.1:${port}/hook`, { headers: {}, body });
const https = (address = `https://${NAME}/hook?a=b`, options = {}) =>
  guardedSend(network, { timeout: 2_000, ...options })(address, { headers: { "x-more": "1" }, body: "hé" });

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    expect(error).toBeInstanceOf(OutsideError);
    return (error as OutsideError).code;
  }
  return "sent";
}

describe("an address", () => {
  const BAD = `0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.255 169.254.0.1 169.254.169.254
    172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1
    168.63.129.16 224.0.0.1 240.0.0.1 255.255.255.255 :: ::1 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:169.254.169.254
    ::127.0.0.1 ::10.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1
    2002:7f00:1:: 2002:a00:1:: 3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1`.split(/\s+/);
  test.each(BAD)("%s is not public", (address) => {
    expect(isPermitted(address, false)).toBe(false);
  });
  test.each(["8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"])(
    "%s is",
    (address) => expect(isPermitted(address, false)).toBe(true),
  );
  test.each(["", "x", "1.2.3", "1.2.3.4.5", "example.com", "[::1]", " 8.8.8.8"])(
    "%o is none, or in no spelling that counts",
    (address) => {
      expect(isPermitted(address, false)).toBe(false);
    },
  );
  test("of this machine is permitted to local stacks, and nothing else is", () => {
    expect(["127.0.0.1", "::1", "::ffff:127.0.0.1"].map((address) => isPermitted(address, true))).toEqual([
      true,
      true,
      true,
    ]);
    expect(BAD.filter((address) => isPermitted(address, true)).every((address) => /127\.|::1$|7f00:1/.test(address)))
      .toBe(true);
  });
});

describe("a name", () => {
  test.each([
    ["private", ["10.1.2.3"]],
    ["metadata", ["169.254.169.254"]],
    ["IPv6 that is IPv4", ["::ffff:10.1.2.3"]],
    ["a private one among public ones", [PUBLIC, "192.168.0.1"]],
    ["a private one before public ones", ["::1", PUBLIC]],
    ["no address at all", ["evil.example.com"]],
  ])("that is resolved to %s is not connected to", async (_, addresses) => {
    network.names.set(NAME, addresses);
    expect(await codeOf(https())).toBe("forbidden_address");
    expect(network.connections).toEqual([]);
  });

  test("that is resolved to nothing", async () => {
    expect(await codeOf(https())).toBe("unresolved");
  });

  test("that is public when it is checked and private a moment later leads to where it was checked", async () => {
    const { requests } = await serveTls([NAME]);
    let asked = 0;
    network.names.set(NAME, () => asked++ % 2 === 0 ? [PUBLIC] : ["127.0.0.1"]);
    expect(await codeOf(https())).toBe("sent");
    expect(asked).toBe(1);
    expect(network.connections).toEqual([`${PUBLIC}:443`]);
    expect(requests).toEqual([`POST ${NAME} /hook?a=b hé`]);
    // And the next attempt is checked again.
    expect(await codeOf(https())).toBe("forbidden_address");
    expect(network.connections).toHaveLength(1);
  });

  test.each([
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://017700000001/",
    "https://[::1]/",
    "https://[::ffff:7f00:1]/",
    "https://127.1/",
    "https://１２７.0.0.1/",
  ])(
    "%s is no way around",
    async (address) => {
      expect(await codeOf(https(address))).toBe("forbidden_address");
      expect(network.connections).toEqual([]);
    },
  );

  test("with several addresses is tried at one after the other", async () => {
    const { requests } = await serveTls([NAME]);
    network.names.set(NAME, ["93.184.216.35", PUBLIC]);
    network.routes.set("93.184.216.35:443", "127.0.0.1:1");
    expect(await codeOf(https())).toBe("sent");
    expect(network.connections).toEqual(["93.184.216.35:443", `${PUBLIC}:443`]);
    expect(requests).toHaveLength(1);
  });
});

describe("TLS", () => {
  test("is with the name, not the address", async () => {
    const { requests } = await serveTls([NAME]);
    expect((await https()).status).toBe(200);
    expect((await https(`https://${NAME}:8443/`)).status).toBe(200);
    expect(requests).toEqual([`POST ${NAME} /hook?a=b hé`, `POST ${NAME}:8443 / hé`]);
  });

  test("with a certificate for another name is none", async () => {
    const { requests } = await serveTls(["other.example.com"]);
    expect(await codeOf(https())).toBe("unreachable");
    expect(requests).toEqual([]);
  });

  test("with a certificate of an authority that nobody knows is none", async () => {
    const { requests } = await serveTls([NAME]);
    const { names, routes } = network;
    network = testNetwork();
    names.forEach((value, key) => network.names.set(key, value));
    routes.forEach((value, key) => network.routes.set(key, value));
    expect(await codeOf(https())).toBe("unreachable");
    expect(requests).toEqual([]);
  });

  test("that the server does not speak", async () => {
    await serve((socket) => socket.end("HTTP/1.1 200 OK\r\n\r\n"));
    expect(await codeOf(https())).toBe("unreachable");
  });

  test("is needed", async () => {
    network.names.set(NAME, [PUBLIC]);
    expect(await codeOf(https(`http://${NAME}/`))).toBe("forbidden_address");
    expect(await codeOf(https("http://127.0.0.1/"))).toBe("forbidden_address");
    expect(network.connections).toEqual([]);
  });
});

describe("a server", () => {
  const answer = (text: string) => async () => http(await serve((socket) => socket.end(text)))();

  test("whose answer has any status is heard", async () => {
    expect(await answer("HTTP/1.1 204 No Content\r\n\r\n")()).toMatchObject({ status: 204 });
    expect(await answer("HTTP/1.0 503\r\nRETRY-AFTER:  7 \r\n\r\n")()).toMatchObject({ status: 503, retryAfter: 7 });
    expect(
      await answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\na: b\r\n\r\nHTTP/1.1 410 Gone\r\n\r\n")(),
    )
      .toMatchObject({ status: 410 });
    expect(await answer("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\n\r\n")()).toMatchObject({
      status: 302,
    });
    expect(network.connections.every((to) => to.startsWith("127.0.0.1:"))).toBe(true);
  });

  test.each([
    ["nothing", "", "unreachable"],
    ["half a head", "HTTP/1.1 200 OK\r\nx: y", "not_http"],
    ["no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "not_http"],
    ["HTTP/2", "HTTP/2 200\r\n\r\n", "not_http"],
    ["a status that is none", "HTTP/1.1 999 x\r\n\r\n", "not_http"],
    ["a head without end", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(100_000)}`, "too_large"],
  ])("that answers %s", async (_, text, code) => {
    expect(await codeOf(answer(text)())).toBe(code);
  });

  test("that resets the connection", async () => {
    const port = await serve((socket) => socket.resetAndDestroy());
    expect(await codeOf(http(port)())).toBe("unreachable");
  });

  test("that is not there", async () => {
    expect(await codeOf(http(1)())).toBe("unreachable");
  });

  test("that hangs is left when the time is over", async () => {
    let closed = false;
    const port = await serve((socket) => socket.on("close", () => void (closed = true)));
    expect(await codeOf(http(port, 300)())).toBe("timeout");
    await expect.poll(() => closed).toBe(true);
  });

  test("that drips is left when the time is over", async () => {
    const port = await serve((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n");
      const timer = setInterval(() => socket.write("x"), 20);
      socket.on("close", () => clearInterval(timer));
    });
    expect(await codeOf(http(port, 300)())).toBe("timeout");
  });

  test("that sends interim answers without end is left", async () => {
    const port = await serve((socket) => {
      const timer = setInterval(() => socket.write("HTTP/1.1 100 Continue\r\n\r\n"), 1);
      socket.on("close", () => clearInterval(timer));
    });
    expect(await codeOf(http(port, 300)())).toBe("timeout");
  });

  test("that sends 10 MB and more is not listened to", async () => {
    let sent = 0;
    let closed = false;
    const port = await serve((socket) => {
      socket.on("close", () => void (closed = true));
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      const chunk = "x".repeat(65_536);
      const send = () => {
        while (!socket.destroyed && sent < 1e8) {
          sent += chunk.length;
          if (!socket.write(chunk)) return void socket.once("drain", send);
        }
      };
      send();
    });
    expect((await http(port)()).status).toBe(200);
    await expect.poll(() => closed).toBe(true);
    // What the system takes in by itself.
    expect(sent).toBeLessThan(10_000_000);
  });

  test("that does not take in what it is sent, and answers, is heard; and one that does not answer is left", async () => {
    const body = "x".repeat(5_000_000);
    const refusing = await serve((socket) => void socket.pause().write("HTTP/1.1 413 Too Large\r\n\r\n"));
    expect((await http(refusing)(body)).status).toBe(413);
    const silent = await serve((socket) => void socket.pause());
    expect(await codeOf(http(silent, 300)(body))).toBe("timeout");
  });

  test("cannot be sent other lines by what somebody names", async () => {
    let seen = "";
    const port = await serve((socket, request) => {
      seen = request;
      socket.end("HTTP/1.1 200 OK\r\n\r\n");
    });
    await guardedSend(network, { local: true })(`http://127.0.0.1:${port}/a\r\nx-evil: 1/?b=\r\n c`, {
      headers: {},
      body: "",
    });
    expect(seen).not.toMatch(/^x-evil/m);
    expect(seen.split("\r\n")[0]).toBe("POST /ax-evil:%201/?b=%20c HTTP/1.1");
  });
});
