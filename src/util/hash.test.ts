/** @file Test of the hash against published values. */
import { expect, it } from "vitest";
import { fnv1a64 } from "./hash.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

it("is FNV-1a 64 (values: Landon Curt Noll's test vectors), whatever the chunks", () => {
  expect(fnv1a64([])).toBe("cbf29ce484222325");
  expect(fnv1a64([bytes("a")])).toBe("af63dc4c8601ec8c");
  expect(fnv1a64([bytes("foobar")])).toBe("85944171f73967e8");
  expect(fnv1a64([bytes("foo"), bytes(""), bytes("bar")])).toBe("85944171f73967e8");
});
