// An authority and certificates of its own for servers in tests. Made by the openssl that every machine with Git has.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type Certificates = {
  /** The authority, in PEM. */
  ca: string;
  /** A file with it. */
  caFile: string;
  /** Key and certificate for names. */
  issue(...names: string[]): { key: string; cert: string };
  remove(): void;
};

export function makeAuthority(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), "audit-ca-"));
  const file = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=Test authority");
  let issued = 0;
  return {
    ca: readFileSync(file("ca.pem"), "utf8"),
    caFile: file("ca.pem"),
    issue(...names) {
      const name = `server${++issued}`;
      writeFileSync(file(`${name}.ext`), `subjectAltName=${names.map((each) => `DNS:${each}`).join(",")}`);
      openssl("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", "/CN=server");
      const signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30"];
      openssl("x509", "-req", "-in", `${name}.csr`, ...signing, "-out", `${name}.pem`, "-extfile", `${name}.ext`);
      return { key: readFileSync(file(`${name}.key`), "utf8"), cert: readFileSync(file(`${name}.pem`), "utf8") };
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
