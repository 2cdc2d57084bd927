// Sends mails as the functions do and prints what came of each: mail.test.ts runs it in Deno, where they run.
import process from "node:process";
import { text } from "node:stream/consumers";
import { type Mail, type MailServer, sendMail } from "../../functions/_shared/mail.ts";
import { OutsideError } from "../../functions/_shared/outside.ts";

const { address, servers, mail } = JSON.parse(await text(process.stdin)) as {
  address: string;
  servers: MailServer[];
  mail: Mail;
};
const unused = () => Promise.reject(new Error("mail connects by itself"));
const network = { resolve: () => Promise.resolve([address]), connect: unused, secure: unused };
const results: string[] = [];
for (const server of servers) {
  results.push(
    await sendMail(network, server, mail, { local: true, timeout: 4_000 }).then(
      () => "sent",
      (error) => error instanceof OutsideError ? error.code : String(error),
    ),
  );
}
process.stdout.write(JSON.stringify(results));
process.exit(0);
