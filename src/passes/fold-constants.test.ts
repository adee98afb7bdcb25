/** @file Tests of constant folding: what is gathered for the evaluator, and what is left alone. */
import { describe, expect, it } from "vitest";
import type { Model } from "../ir/model.ts";
import { parse, print } from "../ir/text/index.ts";
import { float32, fromNumbers, type Tensor } from "../tensor/tensor.ts";
import { foldConstants } from "./fold-constants.ts";

/** Folds with an evaluator that answers zeros, and tells what it was asked: the sub-model's op types, once a call. */
async function fold(model: Model, maxBytes?: number) {
  const asked: string[] = [];
  const evaluate = async (sub: Model): Promise<Tensor[]> => {
    expect(sub.graph.inputs).toEqual([]);
    asked.push(sub.graph.nodes.map((node) => node.opType).join(" "));
    return sub.graph.outputs.map(({ type }) => {
      if (type?.kind !== "tensor") throw new Error("untyped output");
      const dims = type.shape as readonly number[];
      return fromNumbers(type.dtype, dims, new Float32Array(dims.reduce((a, b) => a * b, 1)));
    });
  };
  const result = await foldConstants(model, { evaluate, ...(maxBytes !== undefined && { maxBytes }) });
  return { ...result, asked, ops: result.model.graph.nodes.map((node) => node.opType).join(" ") };
}

describe("fold-constants", () => {
  it("gathers everything into one model, and leaves its input alone", async () => {
    const model = parse`(float[2] x) => (y, z) <float[2] a = {1, 2}, float[2] b = {3, 4}> {
      c = Add(a, b)  d = Neg(c)  e = Exp(a)  f = Mul(d, e)  y = Add(x, f)  z = Sub(x, e)
    }`;
    const before = print(model);
    const { asked, ops, model: folded } = await fold(model);
    expect(asked).toEqual(["Add Neg Exp Mul"]);
    expect(ops).toBe("Add Sub");
    expect(folded.graph.find("f")?.tensor?.dims).toEqual([2]);
    expect(print(model)).toBe(before);
    expect((await fold(folded)).modified).toBe(false);
  });

  it("needs no runtime for the arithmetic of shapes", async () => {
    const model = parse`(float[2,3,4] x) => (y) <int64 i = {2}, int64[1] axes = {0}, int64[1] rest = {-1}> {
      s = Shape(x)  g = Gather(s, i)  u = Unsqueeze(g, axes)  t = Concat <axis = 0> (u, rest)  y = Reshape(x, t)
    }`;
    const { model: folded, modified } = await foldConstants(model);
    expect(modified).toBe(true);
    expect(folded.graph.nodes.map((node) => node.opType)).toEqual(["Reshape"]);
    expect(Array.from(folded.graph.find("t")?.tensor?.toNumbers() ?? [])).toEqual([4, -1]);
  });

  it("folds what shares no more than axes with lookups that stay", async () => {
    const model = parse`(float[N,64] x, int64[1] k) => (y, z, q) <float[3,64,128] w = ${float32([3, 64, 128], new Float32Array(24576))}, int64[1] a = {0}, int64[1] axes = {0}, float[1,64] s = ${float32([1, 64], new Float32Array(64))}> {
      wa = Gather(w, a) sa = Squeeze(wa, axes) y = MatMul(x, sa) z = Gather(w, k) e = Exp(s) f = Squeeze(e, axes) q = Add(x, f) }`;
    expect((await fold(model)).ops).toBe("Gather Squeeze MatMul Gather Add");
  });

  describe("lookups at constant places", () => {
    const experts = (
      more: string,
    ) => parse`(float[N,64] x, int64[1] k) => (y, z) <float[3,64,64] w = ${float32([3, 64, 64], new Float32Array(3 * 64 * 64))},
      int64[1] a = {0}, int64[1] b = {1}, int64[1] c = {2}, int64[1] axes = {0}> {
      wa = Gather(w, a)  sa = Squeeze(wa, axes)  ya = MatMul(x, sa)
      wb = Gather(w, b)  sb = Squeeze(wb, axes)  yb = MatMul(ya, sb)
      wc = Gather(w, c)  sc = Squeeze(wc, axes)  y = MatMul(yb, sc)
      ${more} }`;
    it("stay where the table is needed at run time too, or another operator reads it", async () => {
      for (const more of ["z = Gather(w, k)", "z = Neg(w)"])
        expect((await fold(experts(more), 0)).ops).toContain("Gather Squeeze MatMul");
    });
    it("stay where they are more than the table", async () => {
      const many = experts("i = Constant <value_ints = [0, 1, 2, 0, 1, 2]> ()  z = Gather(w, i)");
      expect((await fold(many, 0)).ops).toContain("Gather Squeeze MatMul");
    });
  });

  it("gives no name twice where both branches use one", async () => {
    const names: string[] = [];
    const model = parse`(bool b, float[2] x) => (y) <float[2] a = {1, 2}> {
      ["twin"] k = Exp(a)
      y = If (b) <
        then_branch = one () => (p) { ["twin"] s = Neg(a)  p = Add(x, s) },
        else_branch = two () => (q) { ["twin"] s = Abs(k)  q = Add(x, s) }
      >
    }`;
    await foldConstants(model, {
      evaluate: async (sub) => {
        names.push(...sub.graph.nodes.map(({ name }) => name).filter((name) => name));
        return sub.graph.outputs.map(() => fromNumbers("float32", [2], [0, 0]));
      },
    });
    expect(new Set(names).size).toBe(names.length);
  });

  it("reaches into subgraphs, and keeps the names of outputs", async () => {
    const { asked, model } = await fold(parse`(bool b, float[2] x) => (y, z) <float[2] a = {1, 2}> {
      z = Neg(a)
      y = If (b) <
        then_branch = one () => (p) { k = Exp(z)  p = Add(x, k) },
        else_branch = two () => (q) { q = Abs(a) }
      >
    }`);
    expect(asked).toEqual(["Neg Exp Abs"]);
    expect(model.graphs().map((graph) => graph.nodes.map((node) => node.opType))).toEqual([["If"], ["Add"], []]);
    expect(model.graph.find("z")?.isConstant).toBe(true);
  });

  it("takes a transposed weight when the old one goes, not when both would stay", async () => {
    const weight = float32([100, 100], new Float32Array(10_000));
    const alone = await fold(parse`(float[1,100] x) => (y) <float[100,100] w = ${weight}> {
      t = Transpose <perm = [1, 0]> (w)  y = MatMul(x, t)
    }`);
    expect(alone.ops).toBe("MatMul");
    const both = await fold(parse`(float[1,100] x) => (y, z) <float[100,100] w = ${weight}> {
      t = Transpose <perm = [1, 0]> (w)  y = MatMul(x, t)  z = MatMul(x, w)
    }`);
    expect(both.modified).toBe(false);
  });

  it.each([
    ["random nodes", `<float[2] a = {1, 2}> { r = RandomNormalLike(a)  y = Add(x, r) }`],
    ["dequantization", `<int8[2] a = {1, 2}, float s = {0.5}> { r = DequantizeLinear(a, s)  y = Add(x, r) }`],
    ["half floats stored", `<float16[2] a = {1, 2}> { r = Cast <to = 1> (a)  y = Add(x, r) }`],
    ["what depends on them", `<float16[2] a = {1, 2}> { r = Cast <to = 1> (a)  s = Neg(r)  y = Add(x, s) }`],
    ["integers stored", `<int8[2] a = {1, 2}> { r = Cast <to = 1> (a)  y = Add(x, r) }`],
    ["large results", `<float[1] a = {1}, int64[2] s = {9000, 2}> { r = Expand(a, s)  y = Add(x, r) }`],
    ["contrib operators", `<float[2] a = {1, 2}> { r = com.microsoft.Gelu(a)  y = Add(x, r) }`],
    ["defaults that may be overridden", `{ r = Neg(c)  y = Add(x, r) }`],
  ])("leaves %s alone", async (_, body) => {
    const { modified, asked } = await fold(parse(`(float[2] x, float[2] c = {1, 2}) => (y) ${body}`));
    expect([modified, asked]).toEqual([false, []]);
  });

  it("folds a widening Cast of masks, and narrowing ones", async () => {
    const { ops } = await fold(parse`(float[2] x) => (y, z) <bool[2] m = {1, 0}, float[2] a = {1, 2}> {
      r = Cast <to = 1> (m)  y = Add(x, r)  h = Cast <to = 10> (a)  z = Neg(h)
    }`);
    expect(ops).toBe("Add");
  });

  it("obeys the limit", async () => {
    const text = `(float[100] x) => (y) <float[1] a = {1}, int64[1] s = {100}> { r = Expand(a, s)  y = Add(x, r) }`;
    expect((await fold(parse(text), 100)).modified).toBe(false);
    expect((await fold(parse(text), 400)).ops).toBe("Add");
  });

  it("puts cut-up weights together again where that costs nothing, as exporters reorder the gates of an LSTM", async () => {
    const gates = float32(
      [4096, 4],
      Float32Array.from({ length: 16384 }, (_, i) => i),
    );
    const model = parse`(float[4] x) => (y) <float[4096,4] w = ${gates}, int64[1] from = {0}, int64[1] cut = {1024}, int64[1] to = {4096}> {
      first = Slice(w, from, cut)  rest = Slice(w, cut, to)  both = Concat <axis = 0> (rest, first)  y = MatMul(both, x)
    }`;
    expect((await fold(model)).ops).toBe("MatMul");
    const kept = parse`(float[4] x) => (y, z) <float[4096,4] w = ${gates}, int64[1] from = {0}, int64[1] cut = {1024}, int64[1] to = {4096}> {
      first = Slice(w, from, cut)  rest = Slice(w, cut, to)  both = Concat <axis = 0> (rest, first)  y = MatMul(both, x)
      z = MatMul(w, x)
    }`;
    expect((await fold(kept)).modified).toBe(false);
  });

  it("takes a stack of experts apart where its slices replace it, and leaves it where they do not", async () => {
    const stack = (
      also: string,
    ) => parse`(float[1,64] x, int64 i) => (y, z) <float[2,64,80] w = ${float32([2, 64, 80], new Float32Array(10240))}, int64[1] one = {0}, int64 two = {1}, int64[1] ax = {0}> {
      g = Gather(w, one) a = Squeeze(g, ax) b = Gather(w, two) p = MatMul(x, a) q = MatMul(x, b) y = Add(p, q) ${also} }`;
    expect((await fold(stack("z = Neg(x)"))).ops).toBe("MatMul MatMul Add Neg");
    const used = await fold(stack("z = Gather(w, i)"), 1 << 10);
    expect(used.ops).toContain("Gather");
  });
});
