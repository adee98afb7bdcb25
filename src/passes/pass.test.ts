/** @file Tests of running passes, of the standard list without a runtime, and of the IR version. */
import { describe, expect, it } from "vitest";
import { parse, print } from "../ir/text/index.ts";
import { modernizeIr } from "./modernize-ir.ts";
import { type BoundPass, edit, runPasses } from "./pass.ts";
import { simplify } from "./simplify.ts";

describe("runPasses", () => {
  const raiseTo =
    (limit: number): BoundPass =>
    (model) =>
      edit(model, (copy) => {
        if (copy.modelVersion >= limit) return false;
        copy.modelVersion += 1n;
        return true;
      });

  it("repeats until a round changes nothing", async () => {
    const model = parse`(float[1] x) => (y) { y = Neg(x) }`;
    const { model: result, modified } = await runPasses(model, [raiseTo(3)]);
    expect([result.modelVersion, modified, model.modelVersion]).toEqual([3n, true, 0n]);
    expect(await runPasses(result, [raiseTo(3)])).toEqual({ model: result, modified: false });
  });

  it("gives up on passes that never settle", async () => {
    const model = parse`(float[1] x) => (y) { y = Neg(x) }`;
    await expect(runPasses(model, [raiseTo(1e6)])).rejects.toThrow(/still change the model/);
  });
});

describe("modernize-ir", () => {
  it("takes constants off the inputs of IR version 3 only", () => {
    const model = (ir: number) =>
      parse(`<ir_version: ${ir}, opset_import: ["": 8]> g (float[1] x, float[1] w = {1}) => (y) { y = Add(x, w) }`);
    const { model: result, modified } = modernizeIr(model(3));
    expect([modified, result.irVersion, result.graph.inputs.length, result.graph.initializers.length]).toEqual([
      true,
      4,
      1,
      1,
    ]);
    expect(modernizeIr(model(4)).modified).toBe(false);
    expect(modernizeIr(model(4), { fixDefaults: true }).model.graph.inputs.map((input) => input.name)).toEqual(["x"]);
  });
});

describe("simplify", () => {
  it("lets one pass make room for the next", async () => {
    const { model } = await simplify(parse`
      <ir_version: 3, opset_import: ["": 8, "unused": 1]>
      g (float[1,1,3,3] x, float[2,1,1,1] w = {1, 10}) => (y) {
        one = Constant <value = float[2,1,1] {2, 3}> ()
        same = Constant <value = float[2,1,1] {2, 3}> ()
        a = Conv(x, w)
        b = Identity(a)
        c = Mul(b, one)
        d = Dropout(c)
        e = Add(d, same)
        dead = Exp(e)
        y = Relu(e)
      }`);
    expect(print(model)).toMatchInlineSnapshot(`
      "<ir_version: 4, opset_import: ["": 8]>
      g (float[1,1,3,3] x) => (y)
      <float[2,1,1,1] w = {2, 30}, float[2] w_bias = {2, 3}>
      {
        e = Conv(x, w, w_bias)
        y = Relu(e)
      }"
    `);
  });
});
