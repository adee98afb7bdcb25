/** @file Functions that stand for more nodes than any file could hold are refused as the file is read, by whatever reads it. */
import { describe, expect, it } from "vitest";
import { decode, encode } from "../../test/wire.ts";
import { parse } from "./text/index.ts";

/** Each function calls the one below it twice. */
const doubling = (levels: number) =>
  encode(
    parse(`(float[2] x) => (y) { y = my.F${levels}(x) }
      <domain: "my", opset_import: ["": 21]> F0 (a) => (b) { b = Neg(a) }
      ${Array.from({ length: levels }, (_, i) => `<domain: "my", opset_import: ["": 21, "my": 1]> F${i + 1} (a) => (b) { t = my.F${i}(a)  b = my.F${i}(t) }`).join("\n")}`),
  );

describe("functions of a file", () => {
  it("may become many nodes", () => {
    expect(decode(doubling(10)).functions).toHaveLength(11);
  });

  it("may not become more than anything could go through", () => {
    expect(() => decode(doubling(36))).toThrow(
      "model: functions: their calls would become too many nodes: expected at most 200000, got 68719476736",
    );
  });

  it("may not call themselves", () => {
    const recursive = parse`(float[2] x) => (y) { y = my.F(x) }
      <domain: "my", opset_import: ["": 21, "my": 1]> F (a) => (b) { b = my.F(a) }`;
    expect(() => decode(encode(recursive))).toThrow('function "my.F" calls itself');
  });
});
