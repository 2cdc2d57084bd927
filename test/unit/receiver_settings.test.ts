// What receivers are configured with: read strictly, and never quoted.
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isSafeAddress } from "../../functions/_shared/outside.ts";
import { readOutside } from "../../functions/audit-jobs/receiver_settings.ts";
import { memoryArchive } from "../support/sealing.ts";

const secret = `whsec_${randomBytes(24).toString("base64")}`;
const good = { name: "a", kind: "webhook", url: "https://example.com/x", secret };
const read = (text: string) => readOutside({ setting: () => text, openBucket: memoryArchive }).receivers();
test.each([
  ["not JSON", secret],
  ["no list", JSON.stringify(good)],
  ["another field", JSON.stringify([{ ...good, [secret]: 1 }])],
  ["an unknown kind", JSON.stringify([{ ...good, kind: secret }])],
  ["no secret", JSON.stringify([{ ...good, secret: undefined }])],
  ["a secret that is too short", JSON.stringify([{ ...good, secret: "whsec_c2hvcnQ=" }])],
  ["a secret of another kind", JSON.stringify([{ ...good, secret: secret.slice(6) }])],
  ["an address without encryption", JSON.stringify([{ ...good, url: `http://example.com/${secret}` }])],
  ["an address with a password", JSON.stringify([{ ...good, url: `https://me:${secret}@example.com/` }])],
  ["a name twice", JSON.stringify([good, good])],
  ["a name that is none", JSON.stringify([{ ...good, name: "A b" }])],
  ["other logs", JSON.stringify([{ ...good, logs: "some" }])],
  ["the archive's own bucket", JSON.stringify([{ name: "a", kind: "bucket", bucket: "audit-archive" }])],
  ["half of an S3", JSON.stringify([{ name: "a", kind: "s3", bucket: "b", secret_access_key: secret }])],
  ["21 receivers", JSON.stringify(Array.from({ length: 21 }, (_, at) => ({ ...good, name: `a${at}` })))],
])("%s is refused, and not quoted", (_, text) => {
  const problem = expect.objectContaining({
    code: "not_configured",
    message: expect.stringMatching(/^AUDIT_RECEIVERS/),
  });
  expect(() => read(text)).toThrow(problem);
  try {
    read(text);
  } catch (error) {
    expect((error as Error).message).not.toContain(secret.slice(6, 20));
  }
});

test("whatever is wrong, no secret is quoted", () => {
  const value = fc.oneof(
    fc.constant(secret),
    fc.string(),
    fc.integer(),
    fc.constant(null),
    fc.array(fc.constant(secret)),
  );
  const field = fc.constantFrom("name", "kind", "url", "secret", "logs", "bucket", "endpoint", "x", secret);
  fc.assert(fc.property(fc.array(fc.tuple(field, value)), fc.boolean(), (changes, whole) => {
    const text = JSON.stringify([{ ...(whole ? good : {}), ...Object.fromEntries(changes) }]);
    try {
      read(text);
    } catch (error) {
      expect((error as { code: string }).code).toBe("not_configured");
      expect((error as Error).message).not.toContain(secret.slice(6, 20));
    }
  }));
});

test.each([
  ["https://example.com/a?b=c", true],
  ["https://10.0.0.1/", true],
  ["http://localhost:54321/x", true],
  ["http://127.0.0.1:8/", true],
  ["http://[::1]:8/", true],
  ["http://127.0.0.1.example.com/", false],
  ["http://localhost@example.com/", false],
  ["http://example.com/", false],
  ["https://user@example.com/", false],
  ["https://example.com/#x", false],
  ["ftp://localhost/", false],
  ["file:///etc/passwd", false],
  ["javascript:0", false],
  ["//example.com", false],
  ["", false],
])("is %s safe: %s", (address, safe) => expect(isSafeAddress(address)).toBe(safe));
