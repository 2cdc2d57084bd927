// Links of packed documents.
import { expect, test } from "vitest";
import { packedLinks } from "../../scripts/package/links.ts";

const PACKED = new Map([["SECURITY.md", "SECURITY.md"], ["docs/install.md", "README.md"]]);
const TEXT =
  "[a](capture.md#coverage) [b](../SECURITY.md) [c](install.md#doctor) [d](#doctor) [e](https://c2sp.org) [f](../README.md)";

test("what is not packed is at the repository's address", () => {
  const url = "https://example.com/audit";
  expect(packedLinks(TEXT, "docs/install.md", PACKED, url)).toBe(
    `[a](${url}/blob/HEAD/docs/capture.md#coverage) [b](SECURITY.md) [c](README.md#doctor) [d](#doctor) ` +
      `[e](https://c2sp.org) [f](${url}/blob/HEAD/README.md)`,
  );
});

test("where there is none, the text stays without a link", () => {
  expect(packedLinks(TEXT, "docs/install.md", PACKED)).toBe(
    "a [b](SECURITY.md) [c](README.md#doctor) [d](#doctor) [e](https://c2sp.org) f",
  );
});
