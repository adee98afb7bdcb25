/** @file Tests of exposeWeights and joinEqualNodes: a constant that many read is there once, whatever stands in between. */
import { describe, expect, it } from "vitest";
import type { Model } from "../ir/model.ts";
import { parse, print } from "../ir/text/index.ts";
import { fromNumbers, type Tensor } from "../tensor/tensor.ts";
import { exposeWeights } from "./expose-weights.ts";
import { joinEqualNodes } from "./join-equal-nodes.ts";
import { simplify } from "./simplify.ts";

const opsOf = (model: Model) => model.graphs().map(({ nodes }) => nodes.map(({ opType }) => opType).join(" "));

/** Adds up the bytes that are asked for. */
function counting() {
  let bytes = 0;
  const evaluate = async (constants: Model): Promise<Tensor[]> =>
    constants.graph.outputs.map(({ type }) => {
      if (type?.kind !== "tensor") throw new Error("untyped output");
      const dims = type.shape as readonly number[];
      const size = dims.reduce((a, b) => a * b, 1);
      bytes += size * 4;
      return fromNumbers(type.dtype, dims, new Float32Array(size).fill(1));
    });
  return { evaluate, bytes: () => bytes };
}

describe("exposeWeights", () => {
  it("reads past Identities of a constant, in chains and in subgraphs", () => {
    const { model, modified } = exposeWeights(parse`(bool c, float[1,2] x) => (y, z) <float[2,2] w = {1, 2, 3, 4}> {
      a = Identity(w)  b = Identity(a)
      t = MatMul(x, b)  y = MatMul(t, a)
      z = If(c) <
        then_branch = one () => (p) { k = Identity(b)  p = MatMul(x, k) },
        else_branch = two () => (q) { q = MatMul(x, a) }
      >
    }`);
    expect([modified, opsOf(model)]).toEqual([true, ["MatMul MatMul If", "MatMul", "MatMul"]]);
    const users = model.graph.find("w")?.uses.size;
    expect(users).toBe(4);
    expect(exposeWeights(model).modified).toBe(false);
  });

  it("keeps the Identity that is an output, for that alone, and those of what may be overridden", () => {
    const { model } = exposeWeights(parse`(float[1,2] x) => (y, v) <float[2,2] w = {1, 2, 3, 4}> {
      v = Identity(w)  y = MatMul(x, v)
    }`);
    expect(opsOf(model)).toEqual(["Identity MatMul"]);
    expect(model.graph.nodes[1]?.input(1).name).toBe("w");
    const defaults = parse`(float[1,2] x, float[2,2] w = {1, 2, 3, 4}) => (y) { v = Identity(w)  y = MatMul(x, v) }`;
    expect(exposeWeights(defaults).modified).toBe(false);
  });

  it("does not read past a graph that has another value of that name", () => {
    const model = parse`(bool c, float[2] x) => (y) <float[2] w = {1, 2}> {
      v = Identity(w)
      y = If(c) <
        then_branch = one () => (p) <float[2] w = {3, 4}> { t = Add(x, w)  p = Add(t, v) },
        else_branch = two () => (q) { q = Add(x, v) }
      >
    }`;
    const { model: exposed } = exposeWeights(model);
    expect(opsOf(exposed)).toEqual(["Identity If", "Add Add", "Add"]);
    expect(print(parse(print(exposed.graph)).graph)).toBe(print(exposed.graph));
    const [then, otherwise] = exposed.graphs().slice(1);
    expect([then?.nodes[1]?.input(1).name, otherwise?.nodes[0]?.input(1).name]).toEqual(["v", "w"]);
  });

  it("makes Constant nodes and functions visible", () => {
    const { model } = exposeWeights(parse`(float[1,2] x) => (y) { a = my.F(x)  y = my.F(a) }
      <domain: "my", opset_import: ["": 21]> F (x) => (y) { w = Constant<value = float[2,2] {1, 2, 3, 4}>()  v = Identity(w)  y = MatMul(x, v) }`);
    expect(opsOf(model)).toEqual(["MatMul MatMul"]);
    expect(model.graph.initializers).toHaveLength(1);
  });
});

describe("joinEqualNodes", () => {
  it("joins nodes that do the same to the same constants", () => {
    const { model } = joinEqualNodes(parse`(float[1,2] x) => (y, z) <float[2,2] w = {1, 2, 3, 4}> {
      a = Transpose<perm = [1, 0]>(w)  b = Transpose<perm = [1, 0]>(w)  c = Neg(a)  d = Neg(b)
      t = MatMul(x, c)  y = MatMul(t, d)  z = Neg(x)
    }`);
    expect(opsOf(model)).toEqual(["Transpose Neg MatMul MatMul Neg"]);
    expect(joinEqualNodes(model).modified).toBe(false);
  });

  it.each([
    ["other attributes", "a = Transpose<perm = [1, 0]>(w)  b = Transpose<perm = [0, 1]>(w)"],
    ["another order of inputs", "a = Sub(w, v)  b = Sub(v, w)"],
    ["random numbers", "a = RandomUniformLike(w)  b = RandomUniformLike(w)"],
    ["what depends on inputs", "a = Mul(w, x)  b = Mul(w, x)"],
    [
      "attributes that are tensors",
      "a = ConstantOfShape<value = float[1] {1}>(s)  b = ConstantOfShape<value = float[1] {2}>(s)",
    ],
  ])("but not with %s", (_, text) => {
    const model =
      parse(`(float[2,2] x) => (y) <float[2,2] w = {1, 2, 3, 4}, float[2,2] v = {1, 2, 3, 5}, int64[2] s = {2, 2}> {
      ${text}  y = Add(a, b)
    }`);
    expect(joinEqualNodes(model).modified).toBe(false);
  });

  it("leaves outputs with names of their own", () => {
    const model = parse`() => (y, z) <float[2] w = {1, 2}> { y = Neg(w)  z = Neg(w) }`;
    expect(joinEqualNodes(model).modified).toBe(false);
  });
});

describe("a weight that many layers read", () => {
  const many = (op: string) => {
    const layers = Array.from({ length: 12 }, (_, i) => `w${i} = ${op}(w)  y${i + 1} = MatMul(y${i}, w${i})`).join(
      "\n",
    );
    const values = Array.from({ length: 4096 }, (_, i) => i % 7).join(", ");
    return parse(`(float[1,64] y0) => (y) <float[64,64] w = {${values}}> { ${layers}  y = Neg(y12) }`);
  };

  it("through Identities is neither computed nor copied", async () => {
    const { evaluate, bytes } = counting();
    const { model } = await simplify(many("Identity"), { evaluate });
    expect([bytes(), model.graph.initializers.length]).toEqual([0, 1]);
  });

  it("through Transposes is transposed once", async () => {
    const { evaluate, bytes } = counting();
    const { model } = await simplify(many("Transpose"), { evaluate });
    expect([bytes(), model.graph.initializers.length]).toEqual([16384, 1]);
  });
});
