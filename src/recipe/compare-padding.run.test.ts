/** @file Comparing two models of padded sequences: what differs at positions of padding alone makes no difference, and it is said. */
import { expect, it } from "vitest";
import { encode } from "../../test/wire.ts";
import { datasetOf, type Sample } from "../data/dataset.ts";
import { parse } from "../ir/text/index.ts";
import { inProcessRuntime } from "../runtime/in-process.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import { Rng } from "../util/rng.ts";
import { measureAgreement } from "./compare.ts";

/** Tokens of four values, four at most: the pooled output is as long as the sequence. */
const network = (noise: string) =>
  parse(`(float[b,s,4] x, int64[b,s] attention_mask) => (tokens, scores, pooled, rows)
  <float one = {1}, int64[1] last = {2}, int64[1] axis = {1}, int64[2] flat = {-1, 4}> {
    m = Cast <to = 1> (attention_mask)  off = Sub(one, m)  off3 = Unsqueeze(off, last)
    t = Tanh(x)  n = ${noise}  tokens = Add(t, n)
    rows = Reshape(tokens, flat)
    scores = ReduceSum <keepdims = 0> (tokens, last)
    m3 = Unsqueeze(m, last)  real = Mul(t, m3)  pooled = ReduceSum <keepdims = 0> (real, axis)
  }`);

const sample = (id: string, mask: readonly number[]): Sample => {
  const rng = new Rng(2, id);
  const x = Float32Array.from({ length: mask.length * 4 }, () => rng.normal());
  return {
    id,
    inputs: {
      x: hostTensor("float32", [1, mask.length, 4], x),
      attention_mask: hostTensor("int64", [1, mask.length], mask),
    },
  };
};

async function agreement(samples: readonly Sample[]) {
  const [original, changed] = [network("Sub(off3, off3)"), network("Mul(off3, off3)")];
  const runtime = inProcessRuntime("ort-node");
  const sessions = [
    await runtime.create(encode(original), { threads: 1 }),
    await runtime.create(encode(changed), { threads: 1 }),
  ] as const;
  const progress = () => ({ update: () => {}, end: () => {} });
  return measureAgreement(sessions, datasetOf("made", samples), {
    original,
    signal: new AbortController().signal,
    progress,
  });
}

it("padding on the right and on the left does not count, pooled outputs count whole", async () => {
  const { fidelity, notes } = await agreement([sample("a", [1, 1, 0, 0]), sample("b", [0, 1, 1]), sample("c", [1, 1])]);
  expect(Object.values(fidelity).map(({ sqnr }) => sqnr)).toEqual(Array(4).fill(Number.POSITIVE_INFINITY));
  expect(fidelity.tokens?.elements).toBe(24);
  expect(fidelity.rows?.elements).toBe(24);
  expect(fidelity.scores?.elements).toBe(6);
  expect(fidelity.pooled?.elements).toBe(12);
  expect(notes).toEqual([
    'padding does not count: "attention_mask" is 0 at 3 of 7 positions of output "tokens"',
    'padding does not count: "attention_mask" is 0 at 3 of 7 positions of output "scores"',
    'padding does not count: "attention_mask" is 0 at 3 of 7 positions of output "rows"',
  ]);
});

it("a mask of all ones changes nothing, and nothing is said", async () => {
  const { fidelity, notes } = await agreement([sample("a", [1, 1, 1, 1])]);
  expect([fidelity.tokens?.elements, notes]).toEqual([16, undefined]);
});

it("samples that the original answers NaN to are said, with what holds it", async () => {
  const broken = sample("nan", [1, 1]);
  (broken.inputs.x?.data as Float32Array)[3] = Number.NaN;
  const { notes } = await agreement([sample("a", [1, 1]), broken]);
  expect(notes).toEqual([
    'the original answers NaN to 1 sample, which metrics count as wrong and SQNR leaves out: "nan" (input "x" holds NaN)',
  ]);
});
