// Mail by SMTP, to servers that tenants name: the connection goes to the address that was checked, TLS to the name.
import { createTransport } from "nodemailer";
import { OutsideError } from "./outside.ts";
import { type Network, permittedAddresses } from "./public_address.ts";

export type MailServer = {
  host: string;
  port: number;
  username?: string | undefined;
  password?: string | undefined;
};

export type Mail = { id: string; from: string; to: string[]; subject: string; text: string };

/** TLS from the first byte, or from STARTTLS on. Other ports are those of local stacks. */
const TLS_PORTS = [465, 2465];
const STARTTLS_PORT = 2587;
const TIMEOUT = 20_000;

/** Sends it once. What is no success throws an OutsideError. */
export async function sendMail(
  network: Network,
  { host, port, username, password }: MailServer,
  { id, ...mail }: Mail,
  { local = false, timeout = TIMEOUT } = {},
): Promise<void> {
  const [address] = await permittedAddresses(network, host, local);
  const transport = createTransport({
    host: address!,
    port,
    secure: TLS_PORTS.includes(port),
    requireTLS: !local || port === STARTTLS_PORT,
    tls: { servername: host },
    ...(username === undefined ? {} : { auth: { user: username, pass: password ?? "" } }),
    connectionTimeout: timeout / 2,
    greetingTimeout: timeout / 2,
    socketTimeout: timeout / 2,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new OutsideError("timeout")), timeout);
  });
  try {
    const domain = /@([^>]+)>?$/.exec(mail.from)?.[1] ?? "localhost";
    await Promise.race([transport.sendMail({ ...mail, messageId: `<${id}@${domain}>` }), over]);
  } catch (error) {
    throw error instanceof OutsideError ? error : asOutside(error);
  } finally {
    clearTimeout(timer);
    transport.close();
  }
}

/** In a word, for the server's own may quote what it was sent. */
function asOutside(error: unknown): OutsideError {
  const { code, responseCode } = error as { code?: string; responseCode?: number };
  if (code === "EAUTH") return new OutsideError("login_refused");
  if (code === "ETIMEDOUT") return new OutsideError("timeout");
  return new OutsideError(responseCode === undefined ? "unreachable" : `smtp_${responseCode}`, { cause: error });
}
