// Mail by SMTP, in Node and in the functions' runtime, to servers that are what they should be, and to others: nothing is
// said, and no password told, to who is not who was named.
import { spawn } from "node:child_process";
import { createServer, type Server } from "node:net";
import { text } from "node:stream/consumers";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { sendMail } from "../../functions/_shared/mail.ts";
import { OutsideError } from "../../functions/_shared/outside.ts";
import { type Certificates, makeAuthority } from "../support/certificates.ts";

const MAIL = {
  id: "0a000000-0000-4000-8000-000000000001",
  from: "Logs <logs@example.com>",
  to: ["ada@example.com", "Bob <bob@example.com>"],
  subject: "[high] Anmeldungen schlugen fehl: übermäßig",
  text: "Line\n.\n.dots\n",
};
const LOGIN = { username: "logs", password: "SECRET-PASSWORD" };
/** Of this machine, and nobody else's in this moment: the ports are fixed. */
const ADDRESS = `127.${[1, 2, 3].map(() => 1 + Math.floor(Math.random() * 250)).join(".")}`;

let authority: Certificates;
const servers: { close(done: () => void): void }[] = [];
let mails: { to: string[]; text: string; user: unknown; secure: boolean }[];
let logins: string[];

beforeAll(() => void (authority = makeAuthority()));
afterAll(() => authority.remove());
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise<void>((resolve) => server.close(resolve))));
});

async function serve(port: number, more: SMTPServerOptions = {}, name = "localhost"): Promise<void> {
  mails = [];
  logins = [];
  const server = new SMTPServer({
    secure: port === 2465,
    ...authority.issue(name),
    closeTimeout: 100,
    onAuth({ username, password }, _, answer) {
      logins.push(`${username} ${password}`);
      answer(password === LOGIN.password ? null : new Error("wrong, and I was told SECRET"), { user: username });
    },
    onData(stream, session, answer) {
      text(stream).then((sent) => {
        mails.push({
          to: session.envelope.rcptTo.map(({ address }) => address),
          text: sent,
          user: session.user,
          secure: session.secure,
        });
        answer();
      });
    },
    ...more,
  });
  server.on("error", () => {});
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(port, ADDRESS, resolve));
}

const IN_NODE = "Node";
const IN_DENO = "the functions' runtime";

/** What comes of a mail to a server, in a word. */
async function sendIn(runtime: string, server: { port: number; host?: string; username?: string; password?: string }) {
  const target = { host: "localhost", ...LOGIN, ...server };
  if (runtime === IN_NODE) {
    const unused = () => Promise.reject(new Error("mail connects by itself"));
    const network = { resolve: () => Promise.resolve([ADDRESS]), connect: unused, secure: unused };
    return await sendMail(network, target, MAIL, { local: true, timeout: 4_000 }).then(
      () => "sent",
      (error) => error instanceof OutsideError ? error.code : String(error),
    );
  }
  const deno = join(dirname(createRequire(import.meta.url).resolve("deno/package.json")), "deno");
  const script = fileURLToPath(new URL("mail_in_deno.ts", import.meta.url));
  const child = spawn(deno, ["run", "--cached-only", "--node-modules-dir=manual", "--no-lock", "--allow-all", script], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, DENO_CERT: authority.caFile, NO_COLOR: "1" },
  });
  child.stdin.end(JSON.stringify({ address: ADDRESS, servers: [target], mail: MAIL }));
  const [result] = JSON.parse(await text(child.stdout)) as string[];
  return result;
}

describe.each([[2465, "TLS"], [2587, "STARTTLS"]])("port %i, %s", (port) => {
  test("takes a mail", async () => {
    await serve(port);
    expect(await sendIn(IN_DENO, { port })).toBe("sent");
    expect(mails).toEqual([{
      to: ["ada@example.com", "bob@example.com"],
      user: "logs",
      secure: true,
      text: expect.stringContaining(`Message-ID: <${MAIL.id}@example.com>`),
    }]);
    expect(mails[0]!.text).toContain("\r\n\r\nLine\r\n.\r\n.dots\r\n");
    expect(logins).toEqual(["logs SECRET-PASSWORD"]);
  });

  test("with a certificate for another name is told nothing", async () => {
    await serve(port, {}, "mail.example.com");
    expect(await sendIn(IN_DENO, { port })).toBe("unreachable");
    expect([mails, logins]).toEqual([[], []]);
  });

  test("with a certificate of an authority that nobody knows is told nothing", async () => {
    await serve(port);
    // Node knows nothing of the test's authority.
    expect(await sendIn(IN_NODE, { port })).toBe("unreachable");
    expect([mails, logins]).toEqual([[], []]);
  });
});

test("a server without STARTTLS where it is needed is told nothing", async () => {
  await serve(2587, { hideSTARTTLS: true, allowInsecureAuth: true, disabledCommands: ["STARTTLS"] });
  for (const runtime of [IN_NODE, IN_DENO]) expect(await sendIn(runtime, { port: 2587 })).not.toBe("sent");
  expect([mails, logins]).toEqual([[], []]);
});

test("a server that refuses the login, or a recipient, is quoted with no word of its own", async () => {
  await serve(2465);
  expect(await sendIn(IN_DENO, { port: 2465, password: "wrong" })).toBe("login_refused");
  await new Promise<void>((resolve) => servers.pop()!.close(resolve));
  await serve(2465, {
    onRcptTo: (_, __, answer) => answer(Object.assign(new Error("no SECRET here"), { responseCode: 550 })),
  });
  expect(await sendIn(IN_DENO, { port: 2465 })).toBe("smtp_550");
});

test("a server that hangs is left", { timeout: 20_000 }, async () => {
  const silent: Server = createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(2466, ADDRESS, resolve));
  for (const runtime of [IN_NODE, IN_DENO]) expect(await sendIn(runtime, { port: 2466 })).toBe("timeout");
  silent.close();
});

test("nobody is connected to whose name leads to where only we can reach", async () => {
  const unused = () => Promise.reject(new Error("mail connects by itself"));
  for (const address of ["10.0.0.1", "127.0.0.1", "169.254.169.254"]) {
    const network = { resolve: () => Promise.resolve(["93.184.216.34", address]), connect: unused, secure: unused };
    const target = { host: "mail.example.com", port: 465, ...LOGIN };
    await expect(sendMail(network, target, MAIL, { local: true })).rejects.toMatchObject({ code: "forbidden_address" });
    await expect(sendMail(network, { ...target, host: "localhost" }, MAIL)).rejects.toMatchObject({
      code: "forbidden_address",
    });
  }
});
