// Has every report of an organisation of the local stack made, and puts their files into a folder: see --help.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Command } from "commander";
import { unzipSync } from "fflate";
import type { StackInfo } from "../stack/info.ts";
import { signIn } from "../stack/sign_in.ts";

type Options = { out: string; organization?: string; dir: string };
type Status = {
  id: string;
  state: string;
  error: string | null;
  files: { name: string; bytes: number; url?: string }[];
};

const program = new Command("npm run reports --").description(
  "Has every report of the demo organisation made on the running local stack (npm start), and fetches their files.",
).requiredOption("--out <folder>", "where the files go; one folder a report").option(
  "--organization <name>",
  "another organisation than the one with the most members",
).option("--dir <folder>", "the stack's folder", ".local").action(run);

await program.parseAsync();

async function run({ out, organization: wanted, dir }: Options): Promise<void> {
  const stack = JSON.parse(await readFile(join(resolve(dir), "stack.json"), "utf8")) as StackInfo;
  const members = (id: string) => stack.users.filter(({ organization_id }) => organization_id === id).length;
  const organization = wanted === undefined
    ? [...stack.organizations].sort((a, b) => members(b.id) - members(a.id))[0]
    : stack.organizations.find(({ name }) => name === wanted);
  const admin = stack.users.find(({ organization_id, role }) => organization_id === organization?.id && isAdmin(role));
  const member = stack.users.find(({ organization_id, role }) =>
    organization_id === organization?.id && role === "member"
  );
  if (organization === undefined || admin === undefined) {
    throw new Error("There is no such organisation with an admin.");
  }
  const token = await signIn(stack, admin);

  const call = async <T>(path: string, body?: object): Promise<T> => {
    const response = await fetch(`${stack.api_url}/functions/v1/audit${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify({ organization_id: organization.id, ...body }) }),
    });
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    return await response.json() as T;
  };

  const { templates } = await call<{ templates: { template: string }[] }>("/report-templates");
  // The demo's entries are of these minutes: the periods that are over have none.
  const period = { from: new Date(Date.now() - 31 * 86_400_000).toISOString().slice(0, 10) };
  const own: Record<string, object> = {
    incident: { at: new Date().toISOString().slice(0, 19) + "Z", minutes: 120 },
    subject_access: { subject: (member ?? admin).id },
    policies: {},
  };
  const asked: [template: string, id: string][] = [];
  for (const { template } of templates) {
    const { id } = await call<Status>("/reports", { template, ...own[template] ?? period });
    asked.push([template, id]);
  }
  for (const [template, id] of asked) {
    const status = await finished(() => call<Status>(`/reports/${id}`));
    const folder = join(out, template);
    await mkdir(folder, { recursive: true });
    for (const { name, url } of status.files) {
      const bytes = new Uint8Array(await (await fetch(url!)).arrayBuffer());
      if (name.endsWith(".zip")) {
        for (const [file, content] of Object.entries(unzipSync(bytes))) await writeFile(join(folder, file), content);
      } else await writeFile(join(folder, name), bytes);
    }
    console.log(`${template.padEnd(16)} ${status.files.map(({ name, bytes }) => `${name} ${bytes}`).join(" · ")}`);
  }
  console.log(`\nTo verify one: npm run verify -- --export ${join(out, "soc2")} --key '${stack.log_vkey}'`);
}

/** The clock of the stack runs the job every ten seconds. */
async function finished(look: () => Promise<Status>): Promise<Status> {
  for (let attempt = 0; attempt < 300; attempt++) {
    const status = await look();
    if (status.state === "done") return status;
    if (status.state === "failed") throw new Error(`The report failed: ${status.error}`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  throw new Error("The report is not made: does the stack's clock run?");
}

function isAdmin(role: string | null): boolean {
  return role === "admin" || role === "owner";
}
