import { expect, test } from "vitest";
import { runModel, withSession } from "../../test/run-model.ts";
import { batches } from "../data/batch.ts";
import { datasetOf } from "../data/dataset.ts";
import { parse } from "../ir/text/index.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import { float32 } from "../tensor/tensor.ts";
import { Rng } from "../util/rng.ts";
import { joinModels, measureLayers } from "./layer-fidelity.ts";

const rng = new Rng(9, "layers");
const normal = (n: number) => Float32Array.from({ length: n }, () => rng.normal());
const [w1, w2, w3] = [normal(64), normal(64), normal(64)];

/** Three layers; `second` stands for the weights of the second, times a scale where it is quantized. */
const network = (second: string) => parse`(float[N,8] x) => (y)
  <float[8,8] w1 = ${float32([8, 8], w1)}, float[8,8] w2 = ${float32([8, 8], w2)}, float[8,8] w3 = ${float32([8, 8], w3)}, float s = {1.25}> {
    [one] a = MatMul(x, w1)
    r = Relu(a)
    ${second}
    [three] y = MatMul(b, w3)
  }`;
const original = network("[two] b = MatMul(r, w2)");
const changed = network("v = Mul(w2, s) noisy = Mul(r, s) [two] b = MatMul(noisy, w2)");

const samples = Array.from({ length: 5 }, (_, i) => ({
  id: String(i),
  inputs: { x: { dtype: "float32", dims: [2, 8], data: normal(16) } as const },
}));

test("a layer's own error is told from what it inherits", async () => {
  const joined = joinModels(original, changed);
  const layers = await withSession(joined.model, (session) =>
    measureLayers(joined, session, batches(datasetOf("made", samples), { size: 1 })),
  );
  expect(layers.map(({ name }) => name)).toEqual(["one", "two", "three"]);
  const [one, two, three] = layers;
  expect([one?.own, one?.accumulated]).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
  // A quarter more: 20 · log10(1 / 0.25) dB.
  expect(two?.own).toBeCloseTo(12.04, 2);
  expect([three?.own, three?.accumulated]).toEqual([Number.POSITIVE_INFINITY, expect.closeTo(12.04, 2)]);
});

test("the joined model still computes what the original does", async () => {
  const [sample] = samples;
  const [want, got] = [
    await runModel(original, sample?.inputs ?? {}),
    await runModel(joinModels(original, changed).model, sample?.inputs ?? {}),
  ];
  expect(got.y).toEqual(want.y);
});

test("models without a layer in common are refused", () => {
  const other = parse`(float[N,8] x) => (z) <float[8,8] w = ${float32([8, 8], w1)}> { z = MatMul(x, w) }`;
  expect(() => joinModels(original, other)).toThrow(/share no layer/);
});

test("padding does not count in layers that follow the mask", async () => {
  const text = (second: string) => `(float[b,s,8] x, int64[b,s] attention_mask) => (y, p, z)
    <float[8,8] w1 = {${w1.join()}}, float[8,8] w2 = {${w2.join()}}, float k = {3}, int64[1] axis = {1}, int64[2] flat = {-1, 8}> {
      [one] a = MatMul(x, w1)
      ${second}
      j = Reshape(y, flat)  [joined] z = MatMul(j, w1)
      [pool] m = ReduceMean <keepdims = 0> (y, axis)  [head] p = MatMul(m, w1)
    }`;
  // The change shows where x is large alone: at the position that is padding.
  const whole = parse(text("r = Clip(a)  [two] y = MatMul(r, w2)"));
  const cut = parse(text("n = Neg(k)  r = Clip(a, n, k)  [two] y = MatMul(r, w2)"));
  const data = Float32Array.from({ length: 24 }, (_, i) => (i < 16 ? 0.01 : 100) * Math.sin(i));
  const measure = async (mask: readonly number[]) => {
    const inputs = {
      x: { dtype: "float32", dims: [1, 3, 8], data } as const,
      attention_mask: hostTensor("int64", [1, 3], mask),
    };
    const joined = joinModels(whole, cut);
    return withSession(joined.model, (session) =>
      measureLayers(joined, session, batches(datasetOf("made", [{ id: "0", inputs }]), { size: 1 })),
    );
  };
  const of = async (mask: readonly number[]) =>
    Object.fromEntries((await measure(mask)).map(({ name, accumulated }) => [name, accumulated]));
  const [all, padded] = [await of([1, 1, 1]), await of([1, 1, 0])];
  expect(all.two).toBeLessThan(10);
  expect([padded.two, padded.joined]).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
  expect(all.joined).toBeLessThan(10);
  // What is pooled has no positions any more.
  expect(padded.head).toBe(all.head);
});
