/** @file Channel rules, operator by operator: what may be cut, and that the cut model computes what the masked one does. */
import { expect, it } from "vitest";
import { cutAndMasked, randomCut } from "../../../test/random-cut.ts";
import { randomFeeds, relativeError, withSession } from "../../../test/run-model.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { staticShape } from "../../ir/types.ts";
import { elementCount, float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { channelRules } from "./channel-rules.ts";
import { findGroups } from "./groups.ts";
import { prepared } from "./prepare.ts";

/** Inputs whose names begin with w become random weights. */
function withWeights(text: string, opset: number): Model {
  const domains = text.includes("com.microsoft") ? `, "com.microsoft": 1` : "";
  const model = parse(`<ir_version: 10, opset_import: ["": ${opset}${domains}]> g ${text}`);
  for (const value of [...model.graph.inputs]) {
    const dims = staticShape(value.type);
    if (!value.name.startsWith("w") || !dims) continue;
    const rng = new Rng(1, value.name);
    model.graph.removeInput(value);
    value.tensor = float32(
      dims,
      Float32Array.from({ length: elementCount(dims) }, () => rng.uniform() - 0.4),
    );
  }
  return model;
}

interface Row {
  readonly title: string;
  readonly text: string;
  readonly opset?: number;
  /** Channels that may go, all groups together. */
  readonly atoms: number;
}

const rows: readonly Row[] = [
  {
    title: "Einsum that sums over heads and what is in them",
    atoms: 3 + 8,
    text: `(float[1,5,12] x, float[12,3,8] w1, float[3,8,12] w2) => (y) {
      a = Einsum <equation = "bnd,dhk->bhnk"> (x, w1)  b = Relu(a)  y = Einsum <equation = "bhnk,hkd->bnd"> (b, w2)
    }`,
  },
  {
    title: "attention of Einsum alone",
    atoms: 3 + 4 + 4,
    text: `(float[1,5,6] x, float[6,3,4] w1, float[6,3,4] w2, float[6,3,4] w3, float[3,4,6] w4) => (y) {
      q = Einsum <equation = "bnd,dhk->bhnk"> (x, w1)  k = Einsum <equation = "bmd,dhk->bhmk"> (x, w2)
      v = Einsum <equation = "bmd,dhk->bhmk"> (x, w3)  s = Einsum <equation = "bhnk,bhmk->bhnm"> (q, k)
      p = Softmax <axis = -1> (s)  c = Einsum <equation = "bhnm,bhmk->bhnk"> (p, v)
      y = Einsum <equation = "bhnk,hkd->bnd"> (c, w4)
    }`,
  },
  {
    title: "GRU with states, a reset before, and a bias",
    atoms: 4,
    text: `(float[3,2,5] x, float[1,12,5] w1, float[1,12,4] w2, float[1,24] w3, float[1,2,4] w4, float[4,2] w5) => (y) {
      s, h = GRU <hidden_size = 4> (x, w1, w2, w3, , w4)
      a = Squeeze(h)  y = MatMul(a, w5)
    }`,
  },
  {
    title: "RNN of both directions, states last",
    atoms: 4,
    text: `(float[3,2,5] x, float[2,4,5] w1, float[2,4,4] w2, float[4,2] w5) => (y) {
      s, h = RNN <hidden_size = 4, direction = "bidirectional"> (x, w1, w2)
      y = MatMul(h, w5)
    }`,
  },
  {
    title: "LSTM with peepholes and a computed state",
    atoms: 4,
    text: `(float[3,2,5] x, float[1,16,5] w1, float[1,16,4] w2, float[1,32] w3, float[1,12] w4, float[4,2] w5) => (y) <int64[3] d = {1, 2, 4}> {
      z = ConstantOfShape(d)
      s, h, c = LSTM <hidden_size = 4> (x, w1, w2, w3, , z, z, w4)
      t = Add(h, c)  y = MatMul(t, w5)
    }`,
  },
  {
    title: "two layers of LSTM",
    atoms: 8,
    text: `(float[3,2,5] x, float[1,16,5] w1, float[1,16,4] w2, float[1,16,4] w3, float[1,16,4] w4, float[4,2] w5) => (y) <int64[1] one = {1}> {
      a = LSTM <hidden_size = 4> (x, w1, w2)  b = Squeeze(a, one)
      c = LSTM <hidden_size = 4> (b, w3, w4)  y = MatMul(c, w5)
    }`,
  },
  {
    title: "com.microsoft.MultiHeadAttention",
    atoms: 3,
    text: `(float[1,4,5] x, float[5,6] w1, float[5,6] w2, float[5,9] w3, float[9,2] w4) => (y) {
      q = MatMul(x, w1)  k = MatMul(x, w2)  v = MatMul(x, w3)
      a = com.microsoft.MultiHeadAttention <num_heads = 3> (q, k, v)  y = MatMul(a, w4)
    }`,
  },
  {
    title: "Attention with shared keys",
    opset: 23,
    atoms: 2,
    text: `(float[1,4,5] x, float[5,12] w1, float[5,6] w2, float[5,6] w3, float[12,2] w4) => (y) {
      q = MatMul(x, w1)  k = MatMul(x, w2)  v = MatMul(x, w3)
      a = Attention <q_num_heads = 4, kv_num_heads = 2> (q, k, v)  y = MatMul(a, w4)
    }`,
  },
  {
    title: "com.microsoft.MultiHeadAttention with a joined bias, a bias of the scores and caches",
    atoms: 3,
    text: `(float[1,4,5] x, float[5,6] w1, float[5,6] w2, float[5,6] w3, float[18] w4, float[1,3,4,6] w5, float[1,3,2,2] w6, float[6,2] w7) => (y) {
      q = MatMul(x, w1)  k = MatMul(x, w2)  v = MatMul(x, w3)  pk = Abs(w6)  pv = Neg(w6)
      a, nk, nv = com.microsoft.MultiHeadAttention <num_heads = 3> (q, k, v, w4, , w5, pk, pv)  y = MatMul(a, w7)
    }`,
  },
  {
    title: "com.microsoft.Attention, projections in one, and a mask",
    atoms: 3,
    text: `(float[1,4,5] x, float[5,21] w1, float[21] w2, float[9,2] w3) => (y) <int32[1] m = {3}> {
      a = com.microsoft.Attention <num_heads = 3, qkv_hidden_sizes = [6, 6, 9]> (x, w1, w2, m)  y = MatMul(a, w3)
    }`,
  },
  {
    title: "com.microsoft.GroupQueryAttention, rotated, with caches",
    atoms: 2,
    text: `(float[1,4,5] x, float[5,64] w1, float[5,32] w2, float[5,32] w3, float[64,2] w4, float[8,8] w5, float[8,8] w6, float[1,2,0,16] w7) => (y)
      <int32[1] s = {3}, int32 t = {4}, int64[1,4] p = {0, 1, 2, 3}> {
      q = MatMul(x, w1)  k = MatMul(x, w2)  v = MatMul(x, w3)
      qr = com.microsoft.RotaryEmbedding(q, p, w5, w6)  kr = com.microsoft.RotaryEmbedding(k, p, w5, w6)
      a, pk, pv = com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2> (qr, kr, v, w7, w7, s, t)  y = MatMul(a, w4)
    }`,
  },
  {
    title: "com.microsoft.GroupQueryAttention of joined projections",
    atoms: 2,
    text: `(float[1,4,5] x, float[5,128] w1, float[64,2] w2, float[1,2,0,16] w3) => (y) <int32[1] s = {3}, int32 t = {4}> {
      q = MatMul(x, w1)
      a, pk, pv = com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2> (q, , , w3, w3, s, t)  y = MatMul(a, w2)
    }`,
  },
  {
    title: "Attention of four axes, rotated, with a mask for each head",
    opset: 23,
    atoms: 2,
    text: `(float[1,4,5] x, float[5,16] w1, float[5,8] w2, float[5,8] w3, float[16,2] w4, float[1,4,2] w5, float[1,4,2] w6, float[1,4,4,4] w7) => (y)
      <int64[4] sq = {0, 4, 4, 4}, int64[4] sk = {0, 4, 2, 4}, int64[3] sy = {0, 4, 16}> {
      q = MatMul(x, w1)  k = MatMul(x, w2)  v = MatMul(x, w3)
      q4 = Reshape(q, sq)  k4 = Reshape(k, sk)  v4 = Reshape(v, sk)
      qh = Transpose <perm = [0, 2, 1, 3]> (q4)  kh = Transpose <perm = [0, 2, 1, 3]> (k4)  vh = Transpose <perm = [0, 2, 1, 3]> (v4)
      qr = RotaryEmbedding(qh, w5, w6)  kr = RotaryEmbedding(kh, w5, w6)
      a = Attention(qr, kr, vh, w7)  b = Transpose <perm = [0, 2, 1, 3]> (a)  c = Reshape(b, sy)  y = MatMul(c, w4)
    }`,
  },
  {
    title: "elements that are picked and put by index",
    atoms: 8,
    text: `(float[1,4,3] x, float[3,8] w1, float[8,2] w2) => (y)
      <int64[1] zero = {0}, int64[3] size = {1, 2, 8}, int64[1,2,1] at = {1, 3}, int64[2,1] rows = {0, 2}> {
      a = MatMul(x, w1)  i = Expand(at, size)
      picked = GatherElements <axis = 1> (a, i)  put = ScatterElements <axis = 1> (a, i, picked)
      t = Squeeze(put, zero)  u = GatherND(t, rows)  z = ScatterND(t, rows, u)  v = Unsqueeze(z, zero)  y = MatMul(v, w2)
    }`,
  },
  {
    title: "GridSample, RoiAlign, MeanVarianceNormalization over other axes",
    atoms: 4,
    text: `(float[1,3,4,4] x, float[4,3,1,1] w1, float[1,2,2,2] w2, float[2,4,1,1] w3) => (y) <float[1,4] box = {0, 0, 3, 3}, int64[1] which = {0}> {
      a = Conv(x, w1)  b = MeanVarianceNormalization <axes = [2, 3]> (a)  c = GridSample(b, w2)
      d = RoiAlign <output_height = 2, output_width = 2> (c, box, which)  y = Conv(d, w3)
    }`,
  },
  {
    title: "Trilu and ReverseSequence",
    atoms: 4,
    text: `(float[4,3,3] x, float[4,3] w1, float[4,2] w2) => (y) <int64[1] last = {3}, int64[3] lengths = {1, 2, 3}> {
      a = MatMul(w1, x)  b = Transpose <perm = [0, 2, 1]> (a)
      c = Unsqueeze(b, last)  d = Transpose <perm = [2, 3, 0, 1]> (c)  e = Trilu(d)  f = Transpose <perm = [2, 3, 0, 1]> (e)
      g = Squeeze(f, last)  h = ReverseSequence <time_axis = 0, batch_axis = 1> (g, lengths)  y = MatMul(h, w2)
    }`,
  },
  {
    title: "Scan, which carries channels and stacks them",
    atoms: 4,
    text: `(float[3,2,5] x, float[5,4] w1, float[5,4] w2, float[4,2] w3, float[4,2] w4) => (y, z) <int64[1] zero = {0}, int64[1] one = {1}> {
      i = MatMul(x, w1)  f = Slice(x, zero, one)  g = Squeeze(f, zero)  h = MatMul(g, w2)
      last, all = Scan <num_scan_inputs = 1, body = b (float[2,4] s, float[2,4] n) => (on, each) { on = Add(s, n)  each = Tanh(n) }> (h, i)
      y = MatMul(last, w3)  z = MatMul(all, w4)
    }`,
  },
  {
    title: "heads repeated by Expand",
    atoms: 2,
    text: `(float[1,4,5] x, float[5,6] w1, float[12,2] w2) => (y)
      <int64[5] s1 = {0, 0, 2, 1, 3}, int64[5] s2 = {1, 4, 2, 2, 3}, int64[3] s3 = {1, 4, 12}> {
      a = MatMul(x, w1)  b = Reshape(a, s1)  c = Expand(b, s2)  d = Reshape(c, s3)  y = MatMul(d, w2)
    }`,
  },
  {
    title: "Tile",
    atoms: 3,
    text: `(float[2,5] x, float[5,3] w1, float[6,2] w2) => (y) <int64[2] r = {1, 2}> {
      a = MatMul(x, w1)  b = Tile(a, r)  y = MatMul(b, w2)
    }`,
  },
  {
    title: "shapes that are computed",
    atoms: 8,
    text: `(float[N,3,4,4] x, float[8,3,1,1] w1, float[128,2] w2) => (y) <int64[1] zero = {0}, int64[1] c = {128}> {
      a = Conv(x, w1)  s = Shape(a)  n = Gather(s, zero)  t = Concat <axis = 0> (n, c)  b = Reshape(a, t)  y = MatMul(b, w2)
    }`,
  },
  {
    title: "numbers from a shape stay what they were",
    atoms: 8,
    text: `(float[N,3] x, float[3,8] w1, float[8,2] w2) => (y) {
      a = MatMul(x, w1)  s = Shape <start = 1> (a)  f = Cast <to = 1> (s)  r = Sqrt(f)  b = Div(a, r)  y = MatMul(b, w2)
    }`,
  },
  {
    title: "attributes of old operator sets",
    opset: 9,
    atoms: 5,
    text: `(float[1,3] x, float[3,8] w1, float[8,2] w2) => (y) {
      a = MatMul(x, w1)  b, c = Split <axis = 1, split = [3, 5]> (a)
      d = Pad <pads = [0, 0, 0, 2]> (b)  e = Add(c, d)  f = Slice <axes = [1], starts = [0], ends = [3]> (e)
      g = Concat <axis = 1> (f, c)  y = MatMul(g, w2)
    }`,
  },
  {
    title: "reductions that zeros do not count in",
    atoms: 8,
    text: `(float[2,3] x, float[3,8] w1) => (y, z) <int64[1] axis = {1}> {
      a = MatMul(x, w1)  y = ReduceL2(a, axis)  b = Abs(a)  z = ReduceSum <keepdims = 0> (b, axis)
    }`,
  },
  {
    title: "means, which go on to count what is gone",
    atoms: 8,
    text: `(float[2,3] x, float[3,8] w1) => (y, z) <int64[1] axis = {-1}> {
      a = MatMul(x, w1)  y = ReduceMean(a, axis)  b = Mul(a, a)  m = ReduceMean <keepdims = 0> (b)  z = Sqrt(m)
    }`,
  },
  {
    title: "a layer norm that is written out, of an old operator set",
    opset: 17,
    atoms: 8,
    text: `(float[2,3] x, float[3,8] w1, float[8] w2, float[8,2] w3) => (y) <float eps = {0.01}> {
      a = MatMul(x, w1)  m = ReduceMean <axes = [-1]> (a)  d = Sub(a, m)  s = Mul(d, d)  v = ReduceMean <axes = [-1]> (s)
      e = Add(v, eps)  r = Sqrt(e)  n = Div(d, r)  g = Mul(n, w2)  y = MatMul(g, w3)
    }`,
  },
  {
    title: "RMSNormalization of a residual stream, whose scale another norm shares",
    opset: 23,
    atoms: 8,
    text: `(int64[2,4] x, float[2,8] w1, float[8] w2, float[8,8] w3, float[8,2] w4) => (y) {
      a = Gather(w1, x)  n = RMSNormalization <epsilon = 0.1> (a, w2)  f = MatMul(n, w3)  b = Add(a, f)
      m = RMSNormalization <epsilon = 0.2> (b, w2)  y = MatMul(m, w4)
    }`,
  },
  {
    title: "com.microsoft.SkipSimplifiedLayerNormalization",
    atoms: 8,
    text: `(float[1,4,3] x, float[3,8] w1, float[3,8] w2, float[8] w3, float[8,2] w4) => (y, z) {
      a = MatMul(x, w1)  b = MatMul(x, w2)
      n, , , s = com.microsoft.SkipSimplifiedLayerNormalization <epsilon = 0.1> (a, b, w3)  y = MatMul(n, w4)  z = MatMul(s, w4)
    }`,
  },
  {
    title: "reductions that do count keep their axis",
    atoms: 0,
    text: `(float[2,3] x, float[3,8] w1) => (y) <int64[1] axis = {1}> { a = MatMul(x, w1)  y = ReduceMax(a, axis) }`,
  },
  {
    title: "LpNormalization and Softmax over other axes",
    atoms: 8,
    text: `(float[2,4,3] x, float[3,8] w1, float[8,2] w2) => (y) <int64 axis = {1}> {
      a = MatMul(x, w1)  b = LpNormalization(a)  c = Softmax <axis = 1> (b)  d = CumSum(c, axis)  y = MatMul(d, w2)
    }`,
  },
  {
    title: "Resize with sizes, InstanceNormalization, SpaceToDepth",
    atoms: 4,
    text: `(float[1,3,2,2] x, float[4,3,1,1] w1, float[4] w2, float[4] w3, float[2,16,1,1] w4) => (y) <int64[4] s = {1, 4, 4, 4}> {
      a = Conv(x, w1)  b = InstanceNormalization(a, w2, w3)  c = Resize(b, , , s)  d = SpaceToDepth <blocksize = 2> (c)  y = Conv(d, w4)
    }`,
  },
  {
    title: "ArgMax and TopK over space",
    atoms: 4,
    text: `(float[1,5,3] x, float[3,4] w1, float[4,2] w2) => (y) <int64[1] k = {2}> {
      a = MatMul(x, w1)  v, i = TopK <axis = 1> (a, k)  m = ArgMax <axis = 1> (a)  f = Cast <to = 1> (m)  g = Add(v, f)  y = MatMul(g, w2)
    }`,
  },
  {
    title: "If, whose branches read from outside",
    atoms: 4,
    text: `(float[2,3] x, float[3,4] w1, float[4,2] w2) => (y) <bool c = {1}> {
      a = MatMul(x, w1)
      b = If (c) <then_branch = t () => (u) { u = Relu(a) }, else_branch = e () => (v) { v = Neg(a) }>
      y = MatMul(b, w2)
    }`,
  },
  {
    title: "Loop, which carries channels",
    atoms: 4,
    text: `(float[2,3] x, float[3,4] w1, float[4,2] w2) => (y) <int64 n = {3}, bool c = {1}> {
      a = MatMul(x, w1)
      b = Loop (n, c, a) <body = l (int64 i, bool go, float[2,4] s) => (on, t) { on = Identity(go)  t = Tanh(s) }>
      y = MatMul(b, w2)
    }`,
  },
  {
    title: "grouped ConvTranspose",
    atoms: 5,
    text: `(float[1,3,4,4] x, float[4,3,1,1] w1, float[4,3,2,2] w2, float[2,6,1,1] w3) => (y) {
      a = Conv(x, w1)  b = ConvTranspose <group = 2> (a, w2)  y = Conv(b, w3)
    }`,
  },
  {
    title: "embedding",
    atoms: 6,
    text: `(int64[2,4] x, float[9,6] w1, float[6,2] w2) => (y) { a = Gather(w1, x)  b = Relu(a)  y = MatMul(b, w2) }`,
  },
  {
    title: "quantized activations per channel",
    atoms: 4,
    text: `(float[1,3,2,2] x, float[4,3,1,1] w1, float[2,4,1,1] w2) => (y) <float[4] s = {0.1, 0.2, 0.3, 0.4}, int8[4] z = {0, 0, 0, 0}> {
      a = Conv(x, w1)  q = QuantizeLinear <axis = 1> (a, s, z)  d = DequantizeLinear <axis = 1> (q, s, z)  y = Conv(d, w2)
    }`,
  },
  {
    title: "a weight that is used transposed elsewhere",
    atoms: 4,
    text: `(float[2,4] x, float[4,4] w1) => (y) { a = MatMul(x, w1)  t = Transpose <perm = [1, 0]> (w1)  y = MatMul(a, t) }`,
  },
  {
    title: "an operator that no rule knows",
    atoms: 0,
    text: `(float[2,3] x, float[3,4] w1, float[4,2] w2) => (y) { a = MatMul(x, w1)  b = com.microsoft.Trilu(a)  y = MatMul(b, w2) }`,
  },
];

it.each(rows)("$title", async ({ text, opset = 21, atoms }) => {
  const model = withWeights(text, opset);
  const channeled = findGroups(prepared(model));
  expect(channeled.grouping.groups.reduce((sum, group) => sum + group.atoms.length, 0)).toBe(atoms);
  const cut = randomCut(channeled, 0.6, 2);
  const { small, masked } = cutAndMasked(model, cut);
  expect(cut.size > 0).toBe(atoms > 0);
  const { feeds, expected } = await withSession(masked, async (session) => {
    const random = randomFeeds(session.inputs, 1);
    return { feeds: random, expected: await session.run(random) };
  });
  expect(relativeError(expected, await withSession(small, (session) => session.run(feeds)))).toBeLessThan(1e-5);
});

it("has rules for operators that exist only", async () => {
  const { schemaVersions } = await import("../../ops/schema.ts");
  const { shapeRule } = await import("../../ops/shapes/index.ts");
  const isKnown = (name: string) => {
    const [domain, opType] = name.startsWith("com.microsoft.") ? ["com.microsoft", name.slice(14)] : ["", name];
    return schemaVersions(domain, opType as string).length > 0 || shapeRule(domain as string, opType as string);
  };
  expect(Object.keys(channelRules).filter((name) => !isKnown(name))).toEqual([]);
});
