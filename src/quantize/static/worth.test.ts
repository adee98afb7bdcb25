/** @file Which layers are left float because integers would cost more than they save. */
import { describe, expect, it } from "vitest";
import { parse } from "../../ir/text/index.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { planStatic } from "./plan.ts";

const rng = new Rng(4, "worth");
const random = (dims: readonly number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );

/** Pointwise, depthwise, pointwise, … layers of `c` channels on `size` × `size`, with Relu behind each. */
function separable(c: number, size: number | string, layers = 6) {
  const dims = (i: number) => (i % 2 === 1 ? [c, 1, 3, 3] : [c, c, 1, 1]);
  const names = Array.from({ length: layers }, (_, i) => i);
  const tensors = new Map(names.map((i) => [`w${i}`, random(dims(i))]));
  const body = names.map((i) => {
    const p = i % 2;
    return `[${p ? "dw" : "pw"}${i}] a${i} = Conv<pads = [${p}, ${p}, ${p}, ${p}], group = ${p ? c : 1}>(${i === 0 ? "x" : `y${i - 1}`}, w${i})
      y${i} = Relu(a${i})`;
  });
  const shape = `float[N,${c},${size},${size}]`;
  return parse(
    `<ir_version: 8, opset_import: ["": 17]> g (${shape} x) => (${shape} y${layers - 1})
    <${names.map((i) => `float[${dims(i)}] w${i} = {…w${i}}`).join(", ")}> { ${body.join("\n")} }`,
    { tensors: (key) => tensors.get(key) },
  );
}

const integers = (...args: Parameters<typeof planStatic>) =>
  planStatic(...args).weights.flatMap(({ layer, choice }) => (choice ? [layer.name] : []));

describe("counted costs", () => {
  it("leave small layers float, and say why and what all of it comes to", () => {
    const plan = planStatic(separable(16, 32), { target: "node-x64-vnni" });
    expect(plan.weights.every(({ choice }) => !choice)).toBe(true);
    expect(plan.weights[0]?.reason).toContain("float32 is faster on node-x64-vnni");
    expect(plan.notes.join()).toContain("0 of 6 layers are worth their integers");
  });

  it("quantize wide layers, and those between them that are slower in integers, but not the last, behind which floats follow", () => {
    const names = integers(separable(256, 16), { target: "node-x64-vnni" });
    expect(names).toEqual(["pw0", "dw1", "pw2", "dw3", "pw4"]);
  });

  it("differ by target", () => {
    expect(integers(separable(128, 16), { target: "node-x64-vnni" })).toContain("dw1");
    expect(integers(separable(128, 16), { target: "web-wasm" })).not.toContain("dw1");
  });

  it("do not stand against layers that are asked for by name", () => {
    expect(integers(separable(16, 32), { target: "node-x64-vnni", layers: "pw*" })).toEqual(["pw0", "pw2", "pw4"]);
    expect(integers(separable(16, 32), { target: "node-x64-vnni", layers: "*" })).toHaveLength(6);
  });

  it("count what the samples' sizes are where the model leaves them open, and decide nothing without", () => {
    const open = separable(16, "S");
    expect(integers(open, { target: "node-x64-vnni" })).toHaveLength(6);
    expect(integers(open, { target: "node-x64-vnni" }, [], { x: [1, 16, 32, 32] })).toHaveLength(0);
  });

  it("decide nothing in models that take no longer than the call of the runtime", () => {
    expect(integers(separable(16, 2), { target: "node-x64-vnni" })).toHaveLength(6);
  });

  it("let a float layer have integer weights while the model stays no slower", () => {
    const wide = random([512, 512]);
    const small = random([16, 16, 3, 3]);
    const model = parse`<ir_version: 8, opset_import: ["": 17]>
      g (float[1,16,64,64] x, float[1,512] v) => (float[1,16,64,64] y, float[1,512] z)
      <float[16,16,3,3] w = ${small}, float[512,512] u = ${wide}> {
        [conv] y = Conv<pads = [1, 1, 1, 1]>(x, w)
        [product] t = MatMul(v, u)
        z = Softmax(t)
      }`;
    const plan = planStatic(model, { target: "web-wasm" });
    const product = plan.weights.find(({ layer }) => layer.name === "product");
    expect(product?.choice ?? product?.floatSpec).toBeDefined();
  });
});
