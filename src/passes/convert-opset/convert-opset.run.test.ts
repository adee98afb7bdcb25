/** @file Old models and what the converter makes of them give the same in ONNX Runtime, operator by operator. */
import { expect, it } from "vitest";
import { randomFeeds, relativeError, runModel, withSession } from "../../../test/run-model.ts";
import { parse } from "../../ir/text/index.ts";
import { convertOpset } from "./convert-opset.ts";

interface CaseOptions {
  /** Shapes of inputs whose rank is left open. */
  readonly dims?: Readonly<Record<string, readonly number[]>>;
  /** The newest version that ONNX Runtime has a kernel for. */
  readonly newest?: number;
}

type Case = readonly [name: string, opset: number, body: string, options?: CaseOptions];

const image = "(float[1,2,5,7] x) => (float[N,C,H,W] y)";
const matrix = "(float[2,3,4] x) => (float[A,B,C] y)";

const cases: readonly Case[] = [
  ["Upsample nearest", 7, `${image} { y = Upsample <mode = "nearest", scales = [1.0, 1.0, 2.0, 1.5]> (x) }`],
  ["Upsample linear", 9, `${image} <float[4] s = {1, 1, 2, 3}> { y = Upsample <mode = "linear"> (x, s) }`],
  ["Resize nearest, larger", 10, `${image} <float[4] s = {1, 1, 1.7, 2.3}> { y = Resize(x, s) }`],
  ["Resize nearest, smaller", 10, `${image} <float[4] s = {1, 1, 0.6, 0.4}> { y = Resize(x, s) }`],
  ["Resize linear", 10, `${image} <float[4] s = {1, 1, 1.7, 0.5}> { y = Resize <mode = "linear"> (x, s) }`],
  ...["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"].flatMap((coordinates): Case[] =>
    ["nearest", "linear", "cubic"].map((mode) => [
      `Resize ${mode} ${coordinates}`,
      11,
      `${image} <float[0] none = {}, float[4] s = {1, 1, 1.7, 0.6}> {
        y = Resize <mode = "${mode}", coordinate_transformation_mode = "${coordinates}"> (x, none, s)
      }`,
    ]),
  ),
  [
    "Resize tf_half_pixel_for_nn",
    11,
    `${image} <float[0] none = {}, int64[4] s = {1, 2, 8, 3}> {
      y = Resize <coordinate_transformation_mode = "tf_half_pixel_for_nn", nearest_mode = "floor"> (x, none, none, s)
    }`,
  ],
  ["Slice", 9, `${matrix} { y = Slice <axes = [1, 2], starts = [-2, 0], ends = [9223372036854775807, -1]> (x) }`],
  ["TopK", 9, `${matrix} { y, i = TopK <k = 2, axis = 1> (x) }`],
  ["Clip", 7, `${matrix} { y = Clip <min = -0.3, max = 0.4> (x) }`],
  ["Clip, no bounds", 7, `${matrix} { y = Clip(x) }`],
  ["Pad", 7, `${image} { y = Pad <pads = [0, 0, 1, 2, 0, 0, 0, 1], value = 0.5> (x) }`],
  ["Pad reflect", 7, `${image} { y = Pad <mode = "reflect", pads = [0, 0, 1, 2, 0, 0, 0, 1]> (x) }`],
  ["Pad away", 10, `${image} { y = Pad <pads = [0, 0, -1, 2, 0, 0, 0, -1]> (x) }`],
  ["Scatter", 10, `(float[5] x, float[2] u) => (float[5] y) <int64[2] i = {3, 1}> { y = Scatter(x, i, u) }`],
  ["Dropout", 7, `${matrix} { y = Dropout <ratio = 0.5> (x) }`],
  [
    "BatchNormalization",
    7,
    `${image} <float[2] s = {1, 2}, float[2] v = {0.5, 2}> { y = BatchNormalization <spatial = 1> (x, s, s, s, v) }`,
  ],
  ...["Softmax", "LogSoftmax", "Hardmax"].flatMap((op): Case[] =>
    [0, 1, 2].map((axis) => [`${op} on ${axis}`, 8, `${matrix} { y = ${op} <axis = ${axis}> (x) }`]),
  ),
  ["Softmax, default axis", 12, `${matrix} { y = Softmax(x) }`],
  ["Softmax, negative axis", 12, `${matrix} { y = Softmax <axis = -2> (x) }`],
  ["Softmax, unknown shape", 9, `(float[] x) => (float[] y) { y = Softmax(x) }`, { dims: { x: [2, 3, 4] } }],
  ["Split", 12, `(float[5] x) => (float[N] y, float[M] z) { y, z = Split <split = [2, 3]> (x) }`],
  ["Split equally", 7, `(float[6] x) => (float[3] y, float[3] z) { y, z = Split(x) }`],
  ["Squeeze", 7, `(float[1,3,1] x) => (float[N,M] y) { y = Squeeze <axes = [2]> (x) }`],
  ["Squeeze all", 7, `(float[1,3,1] x) => (float[N] y) { y = Squeeze(x) }`],
  ["Unsqueeze", 7, `(float[3] x) => (float[A,B,C] y) { y = Unsqueeze <axes = [0, 2]> (x) }`],
  ...["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"].flatMap((name): Case[] => [
    [
      `Reduce${name}`,
      8,
      `(float[2,3,4] x) => (float[A] y) { a = Abs(x)  y = Reduce${name} <axes = [0, 2], keepdims = 0> (a) }`,
    ],
    [`Reduce${name}, all axes`, 12, `${matrix} { a = Abs(x)  y = Reduce${name}(a) }`],
  ]),
  [
    "RoiAlign",
    10,
    `${image} <float[1,4] r = {0.5, 0.5, 4, 3}, int64[1] b = {0}> { y = RoiAlign <output_height = 2, output_width = 2, sampling_ratio = 2> (x, r, b) }`,
    { newest: 21 },
  ],
  ["DFT", 17, `(float[2,4,1] x) => (float[A,B,C] y) { y = DFT(x) }`],
  ["DFT on another axis", 17, `(float[2,4,3,1] x) => (float[A,B,C,D] y) { y = DFT <axis = 2, onesided = 1> (x) }`],
  ...["bilinear", "nearest", "bicubic"].map(
    (mode): Case => [
      `GridSample ${mode}`,
      16,
      `(float[1,2,5,7] x, float[1,3,4,2] g) => (float[N,C,H,W] y) { y = GridSample <mode = "${mode}"> (x, g) }`,
    ],
  ),
  [
    "GroupNormalization",
    18,
    `(float[2,4,3] x, float[2] s) => (float[A,B,C] y) { y = GroupNormalization <num_groups = 2> (x, s, s) }`,
  ],
  [
    "GroupNormalization, unknown shape",
    18,
    `(float[] x, float[2] s) => (float[] y) { y = GroupNormalization <num_groups = 2> (x, s, s) }`,
    { dims: { x: [2, 4, 3] } },
  ],
  // Versions that the table calls compatible although their text changed.
  ...["ceil_mode = 1", "ceil_mode = 1, count_include_pad = 1", "count_include_pad = 1"].map(
    (attributes): Case => [
      `AveragePool ${attributes}`,
      10,
      `${image} { y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ${attributes}> (x) }`,
    ],
  ),
  [
    "AveragePool SAME_LOWER",
    7,
    `${image} { y = AveragePool <kernel_shape = [2, 2], strides = [2, 2], auto_pad = "SAME_LOWER"> (x) }`,
  ],
  [
    "MaxPool ceil_mode",
    10,
    `${image} { y = MaxPool <kernel_shape = [2, 2], strides = [3, 3], pads = [1, 1, 1, 1], ceil_mode = 1> (x) }`,
  ],
  ["LpPool", 7, `${image} { y = LpPool <kernel_shape = [2, 2], strides = [2, 2], auto_pad = "SAME_UPPER"> (x) }`],
  [
    "ConvTranspose output_shape",
    7,
    `${image} <float[2,1,3,3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}> { y = ConvTranspose <strides = [2, 2], output_shape = [10, 14]> (x, w) }`,
  ],
  [
    "ConvTranspose SAME_UPPER",
    7,
    `${image} <float[2,1,3,3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}> { y = ConvTranspose <strides = [2, 2], auto_pad = "SAME_UPPER"> (x, w) }`,
  ],
  ["OneHot", 9, `(float[2] x) => (float[2,4] y) <int64[2] i = {1, 3}, int64 d = {4}> { y = OneHot(i, d, x) }`],
  ["Mod", 10, `(float[4] x, float[4] z) => (float[4] y) { y = Mod <fmod = 1> (x, z) }`],
  ["Pow", 7, `(float[4] x) => (float[4] y) <float k = {2}> { y = Pow(x, k) }`],
  ["LRN", 7, `${image} { y = LRN <size = 3> (x) }`],
  [
    "QuantizeLinear",
    10,
    `(float[4] x) => (float[4] y) <float s = {0.1}, int8 z = {3}> { q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }`,
  ],
  [
    "QuantizeLinear, axis",
    13,
    `(float[2,3] x) => (float[2,3] y) <float[3] s = {0.1, 0.2, 0.3}, uint8[3] z = {3, 128, 0}> { q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }`,
  ],
  [
    "Loop",
    9,
    `(float[2] x) => (float[2] y) <int64 n = {3}, bool t = {1}> {
    y = Loop (n, t, x) <body = b (int64 i, bool c, float[2] a) => (bool d, float[2] e) { d = Identity(c)  f = Unsqueeze <axes = [0]> (a)  g = Squeeze <axes = [0]> (f)  e = Add(g, a) }>
  }`,
  ],
];

it.for(cases)("%s, opset %i", async ([, opset, body, { dims = {}, newest = 25 } = {}]) => {
  const model = parse(`<ir_version: 8, opset_import: ["": ${opset}]> g ${body}`);
  const feeds = await withSession(model, async ({ inputs }) => randomFeeds(inputs, 5, dims));
  const expected = await runModel(model, feeds);
  for (const target of [13, 18, 21, 23, 25].filter((version) => version > opset && version <= newest)) {
    const { model: raised } = convertOpset(model, target);
    expect(raised.opset).toBe(target);
    expect(relativeError(expected, await runModel(raised, feeds))).toBeLessThan(1e-6);
  }
});
