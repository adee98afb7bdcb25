/** @file Tests of simplifying no further than outputs allow. */
import { describe, expect, it } from "vitest";
import type { Model } from "../ir/model.ts";
import { parse } from "../ir/text/index.ts";
import { simplifyWithin } from "./simplify.ts";

const scaledAndShifted = `<ir_version: 8, opset_import: ["": 21]> g (float[1,1,3,3] x) => (y, z)
  <float[2,1,1,1] v = {1, 10}, float[2,1,1,1] w = {1, 10}, float[2,1,1] k = {2, 3}, float[2,1,1] b = {4, 5}> {
    c = Conv(x, v)  y = Mul(c, k)
    d = Conv(x, w)  z = Add(d, b)
  }`;

const ops = (model: Model) => model.graph.nodes.map((node) => node.opType).join(" ");

/** Simplifies with a judge that refuses the first candidates; also says what it was shown. */
async function within(text: string, refused: number) {
  const shown: string[] = [];
  const result = await simplifyWithin(parse(text), {}, async (candidate) => shown.push(ops(candidate)) > refused);
  return { fold: result.fold, ops: ops(result.model), shown };
}

describe("simplifyWithin", () => {
  it("folds everything that agrees", async () => {
    expect(await within(scaledAndShifted, 0)).toEqual({ fold: "all", ops: "Conv Conv", shown: ["Conv Conv"] });
  });

  it("leaves the weights as they are where scaling them shows", async () => {
    expect(await within(scaledAndShifted, 1)).toMatchObject({ fold: "shifts", ops: "Conv Mul Conv" });
  });

  it("folds nothing where even that shows", async () => {
    expect(await within(scaledAndShifted, 2)).toMatchObject({ fold: "none", ops: "Conv Mul Conv Add" });
  });

  it("does not ask where there is nothing to fold", async () => {
    const text = `<ir_version: 8, opset_import: ["": 21]> g (float[3] x) => (y) { a = Identity(x)  y = Relu(a) }`;
    expect(await within(text, 0)).toEqual({ fold: "all", ops: "Relu", shown: [] });
  });
});
