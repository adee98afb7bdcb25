/** @file Tests of pruning attention heads, written out and fused, of their own and of a single head's channels. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { randomFeeds, relativeError, runModel, withSession } from "../../../test/run-model.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import * as nn from "../../nn/index.ts";
import { loadModel } from "../../node/load.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { pruneChannels } from "./prune-channels.ts";

const transformer = (heads: number) =>
  nn.build(
    [
      nn.embedding(10, 12),
      nn.positions(16),
      nn.transformerEncoderBlock({ heads, hidden: 24 }),
      nn.transformerEncoderBlock({ heads, hidden: 24 }),
      nn.poolSteps("mean"),
      nn.linear(3),
    ],
    { input: [6], dtype: "int64", seed: 1 },
  );

/** Attention as libraries for arrays write it. */
function einsum(): Model {
  return weighted(
    parse(`<ir_version: 10, opset_import: ["": 21]> g
    (float[1,5,6] x, float[6,4,3] w1, float[6,4,3] w2, float[6,4,3] w3, float[4,3,6] w4) => (y) {
      q = Einsum <equation = "bnd,dhk->bhnk"> (x, w1)  k = Einsum <equation = "bmd,dhk->bhmk"> (x, w2)
      v = Einsum <equation = "bmd,dhk->bhmk"> (x, w3)  s = Einsum <equation = "bhnk,bhmk->bhnm"> (q, k)
      p = Softmax <axis = -1> (s)  c = Einsum <equation = "bhnm,bhmk->bhnk"> (p, v)
      y = Einsum <equation = "bhnk,hkd->bnd"> (c, w4)
    }`),
  );
}

/** Multi-head attention as ONNX Runtime fuses it, with a network behind it. */
function fused(): Model {
  return weighted(
    parse(`<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]> g
    (float[1,4,6] x, float[6,12] w1, float[6,12] w2, float[6,12] w3, float[12,6] w4, float[6,8] w5, float[8,2] w6) => (y) {
      q = MatMul(x, w1)  k = MatMul(x, w2)  v = MatMul(x, w3)
      a = com.microsoft.MultiHeadAttention <num_heads = 4> (q, k, v)
      o = MatMul(a, w4)  s = Add(o, x)  h = MatMul(s, w5)  r = Relu(h)  y = MatMul(r, w6)
    }`),
  );
}

/** Inputs but the first become random weights. */
function weighted(model: Model): Model {
  for (const value of model.graph.inputs.slice(1)) {
    const rng = new Rng(1, value.name);
    const dims = value.type?.kind === "tensor" ? (value.type.shape as number[]) : [];
    model.graph.removeInput(value);
    const size = dims.reduce((product, dim) => product * dim, 1);
    value.tensor = float32(
      dims,
      Array.from({ length: size }, () => rng.normal()),
    );
  }
  return model;
}

const stories = join(import.meta.dirname, "../../../shared/data/stories260k/stories260K.onnx");

it.each([
  ["a transformer of our own", () => transformer(4), 2, 4, {}],
  ["fused attention", fused, 1, 4, {}],
  ["attention of Einsum alone", einsum, 1, 4, {}],
  ...(existsSync(stories)
    ? [["stories260K, two heads to a key", () => loadModel(stories), 5, 4, { input_ids: [1, 8] }] as const]
    : []),
] as const)("heads alone: %s", async (_, make, layers, heads, dims) => {
  const model = make();
  const result = await pruneChannels(model, { structure: "heads", ratio: 0.5 }, undefined);
  const cut = result.groups.filter(({ removed }) => removed > 0);
  expect(cut.map(({ channels, removed }) => [channels, removed])).toEqual(Array(layers).fill([heads, heads / 2]));
  expect(
    result.groups.filter(({ removed }) => removed === 0).every(({ reason }) => reason === "no attention heads"),
  ).toBe(true);
  const { feeds, expected } = await withSession(result.masked(), async (session) => {
    const random = randomFeeds(session.inputs, 2, dims);
    return { feeds: random, expected: await session.run(random) };
  });
  expect(relativeError(expected, await runModel(result.model, feeds))).toBeLessThan(1e-5);
});

it("of a single head, its channels: queries with keys, values by themselves", async () => {
  const result = await pruneChannels(transformer(1), { ratio: 0.5 }, undefined);
  const attention = result.groups.filter(({ channels, layers }) => channels === 12 && layers.length <= 2);
  expect(attention.map(({ layers, removed }) => [layers.length, removed])).toEqual([
    [2, 6],
    [1, 6],
    [2, 6],
    [1, 6],
  ]);
});
