/** @file What is mutated: small models of every kind, built in code, with samples for each. */
import { readFileSync } from "node:fs";
import type { Model } from "../../../src/ir/model.ts";
import { parse } from "../../../src/ir/text/index.ts";
import * as nn from "../../../src/nn/index.ts";
import { toFloat16 } from "../../../src/quantize/float16/float16.ts";
import { quantize } from "../../../src/quantize/weights/quantize-weights.ts";
import { float32 } from "../../../src/tensor/tensor.ts";
import { Rng } from "../../../src/util/rng.ts";
import { encode } from "../../wire.ts";

/** A model and the lines of JSON that are its samples. */
export interface Subject {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly samples: string;
}

const SAMPLES = 8;
const CLASSES = 4;
const rng = new Rng(23, "mutants");
const floats = (count: number) => Array.from({ length: count }, () => Math.round(rng.normal() * 1000) / 1000);
const ids = (count: number) => Array.from({ length: count }, () => rng.int(12));
const normals = (...dims: number[]) => float32(dims, Float32Array.from(floats(dims.reduce((a, b) => a * b, 1))));

const lines = (inputs: () => Readonly<Record<string, readonly number[]>>) =>
  Array.from({ length: SAMPLES }, (_, i) => JSON.stringify({ inputs: inputs(), label: i % CLASSES })).join("\n");

const images = lines(() => ({ x: floats(3 * 8 * 8) }));
const tokens = lines(() => ({ x: ids(6) }));
const rows = lines(() => ({ x: floats(8) }));

const convolutions = nn.build(
  [
    nn.conv2d(8, 3, { padding: "same", bias: false }),
    nn.batchNorm(),
    nn.relu(),
    nn.residual([nn.depthwiseConv2d(3, { padding: 1 }), nn.hardSwish(), nn.conv2d(8, 1)]),
    nn.conv2d(16, 3, { stride: 2, padding: 1 }),
    nn.relu(),
    nn.globalAvgPool(),
    nn.flatten(),
    nn.linear(CLASSES),
  ],
  { input: [3, 8, 8], seed: 1 },
);

const transformer = nn.build(
  [
    nn.embedding(12, 16),
    nn.positions(16),
    nn.transformerEncoderBlock({ heads: 2, hidden: 32 }),
    nn.layerNorm(),
    nn.poolSteps("mean"),
    nn.linear(CLASSES),
  ],
  { input: [6], dtype: "int64", seed: 2 },
);

const recurrent = nn.build(
  [nn.embedding(12, 8), nn.gru(8, { bidirectional: true }), nn.lstm(16, { give: "last" }), nn.linear(CLASSES)],
  { input: [6], dtype: "int64", seed: 3 },
);

/** Branches, a loop, a function, constants of all kinds, a weight that is read twice. */
const control = parse`<ir_version: 10, opset_import: ["": 21, "local": 1]> g (float[N,8] x) => (float[N,4] y, float[N,16] z)
  <float[8,16] w = ${normals(8, 16)}, float[16,16] v = ${normals(16, 16)}, float[16,4] u = ${normals(16, 4)}, int64 n = {2}, bool c = {1}> {
  [first] a = MatMul(x, w)
  b = local.Gate<by = 2.0>(a)
  mean = ReduceMean<keepdims = 0>(b)
  zero = Constant<value_float: float = 0.0>()
  high = Greater(mean, zero)
  d = If(high) <then_branch = t () => (float[N,16] p) { p = MatMul(b, v) }, else_branch = e () => (float[N,16] q) { q = Neg(b) }>
  l = Loop(n, c, d) <body = body (int64 i, bool go, float[N,16] s) => (bool on, float[N,16] r) { on = Identity(go)  m = MatMul(s, v)  r = Tanh(m) }>
  z = Identity(l)
  [last] y = MatMul(z, u) }
  <domain: "local", opset_import: ["": 21]> Gate <by: float = 3> (f) => (g) { k = Constant<value_float: float = @by>() h = Sigmoid(f) j = Mul(f, h) g = Mul(j, k) }`;

/** Integers as quantizers write them: scales, zero points, packed weights. */
const layered = nn.build([nn.linear(32), nn.relu(), nn.linear(32), nn.relu(), nn.linear(CLASSES)], {
  input: [8],
  seed: 4,
});
const integers = quantize(layered, { dtype: "int4", granularity: "group:16", minElements: 16 }).model;
const bytes8 = quantize(convolutions, { dtype: "uint8", format: "dequantize", minElements: 16 }).model;

/** An einsum, a grouped convolution, one weight read from both sides, an operator of two outputs; an older opset. */
const mixed = parse`<ir_version: 8, opset_import: ["": 17]> g (float[N,8] x) => (float[N,4] y)
  <float[32,8] e = ${normals(32, 8)}, float[8,4,8] h = ${normals(8, 4, 8)}, float[4] s = ${normals(4)}, float[8,1,3] k = ${normals(8, 1, 3)}, int64[2] shape = {0, 32}, int64[3] image = {0, 8, 4}, int64[2] flat = {0, 32}, int64[3] square = {0, 4, 4}> {
  [qk] a = Einsum<equation = "nd,dhk->nhk">(x, h)
  b = Reshape(a, shape)
  i = Reshape(b, image)
  [conv] j = Conv<group = 8, pads = [1, 1]>(i, k)
  f = Reshape(j, flat)
  t = Transpose<perm = [1, 0]>(e)
  [tied] p = MatMul(f, e)
  q = MatMul(p, t)
  r = Softmax<axis = -1>(q)
  o1, o2 = Split<axis = 1>(r)
  m = Add(o1, o2)
  l = Reshape(m, square)
  c = ReduceMean<axes = [2], keepdims = 0>(l)
  y = Mul(c, s) }`;

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../fixtures/models/${name}`, import.meta.url)));

const subject = (name: string, model: Model, samples: string): Subject => ({ name, bytes: encode(model), samples });

export const subjects: readonly Subject[] = [
  subject("convolutions", convolutions, images),
  subject("transformer", transformer, tokens),
  subject("recurrent", recurrent, tokens),
  subject("control flow", control, rows),
  subject("int4", integers, rows),
  subject("uint8", bytes8, images),
  subject("float16", toFloat16(convolutions).model, images),
  subject("mixed", mixed, rows),
  { name: "keyword spotting", bytes: fixture("mlperf_kws_dscnn.onnx"), samples: lines(() => ({ mfcc: floats(490) })) },
];
