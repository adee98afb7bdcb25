/** @file Tests of the opset converter: a snapshot for each rewrite, and that every changed operator version is accounted for. */
import { describe, expect, it } from "vitest";
import type { Model } from "../../ir/model.ts";
import { parse, print } from "../../ir/text/index.ts";
import { maxOpset } from "../../ops/opset.ts";
import { knownOps, schemaVersions } from "../../ops/schema.ts";
import { compatible } from "./compatible.ts";
import { convertOpset, minOpset } from "./convert-opset.ts";
import { rewrites } from "./rewrites.ts";

const read = (opset: number, body: string, ir = 8): Model =>
  parse(`<ir_version: ${ir}, opset_import: ["": ${opset}]> g ${body}`);

/** What a body becomes, without the header. */
function convert(from: number, to: number, body: string): string {
  const model = read(from, body);
  const before = print(model);
  const { model: result } = convertOpset(model, to);
  expect(print(model)).toBe(before);
  expect(result.opset).toBe(to);
  const text = print(result);
  return text.slice(text.indexOf("g ("));
}

describe("completeness", () => {
  it("has exactly one row for every operator and version since opset 7 that changed it", () => {
    const changed = knownOps("").flatMap((op) =>
      schemaVersions("", op)
        .slice(1)
        .filter(({ sinceVersion }) => sinceVersion > minOpset && sinceVersion <= maxOpset)
        .map(({ sinceVersion }) => `${op}@${sinceVersion}`),
    );
    const rows = [
      ...Object.entries(compatible).flatMap(([version, ops]) => ops.split(" ").map((op) => `${op}@${version}`)),
      ...Object.entries(rewrites).flatMap(([version, ops]) => Object.keys(ops).map((op) => `${op}@${version}`)),
    ];
    expect(rows.toSorted()).toEqual(changed.toSorted());
  });
});

describe("attributes that became inputs", () => {
  it("of opset 10 and before", () => {
    expect(
      convert(7, 9, `(float[1,2] x) => (y) { y = Upsample <mode = "linear", scales = [1.0, 2.0]> (x) }`),
    ).toMatchInlineSnapshot(`
      "g (float[1,2] x) => (y)
      <float[2] y_scales = {1, 2}>
      {
        y = Upsample<mode: string = "linear">(x, y_scales)
      }"
    `);
    expect(
      convert(9, 10, `(float[3,2] x) => (y) { y = Slice <axes = [1], starts = [0], ends = [1]> (x) }`),
    ).toMatchInlineSnapshot(`
      "g (float[3,2] x) => (y)
      <int64[1] y_starts = {0}, int64[1] y_ends = {1}, int64[1] y_axes = {1}>
      {
        y = Slice(x, y_starts, y_ends, y_axes)
      }"
    `);
    expect(convert(9, 10, `(float[3,2] x) => (y, i) { y, i = TopK <k = 2, axis = 0> (x) }`)).toMatchInlineSnapshot(`
      "g (float[3,2] x) => (y, i)
      <int64[1] y_k = {2}>
      {
        y, i = TopK<axis: int = 0>(x, y_k)
      }"
    `);
  });

  it("of opset 11 and 12", () => {
    expect(convert(7, 11, `(float16[2] x) => (y) { y = Clip <max = 6.0> (x) }`)).toMatchInlineSnapshot(`
      "g (float16[2] x) => (y)
      <float16 y_max = {17920}>
      {
        y = Clip(x, "", y_max)
      }"
    `);
    expect(convert(7, 11, `(double[2] x) => (y) { y = Pad <pads = [1, 0], value = 0.5> (x) }`)).toMatchInlineSnapshot(`
      "g (double[2] x) => (y)
      <int64[2] y_pads = {1, 0}, double y_value = {0.5}>
      {
        y = Pad(x, y_pads, y_value)
      }"
    `);
    expect(
      convert(7, 11, `(x) => (y) { y = Pad <pads = [1, 0], value = 0.0, mode = "edge"> (x) }`),
    ).toMatchInlineSnapshot(`
      "g (x) => (y)
      <int64[2] y_pads = {1, 0}>
      {
        y = Pad<mode: string = "edge">(x, y_pads)
      }"
    `);
    expect(convert(11, 12, `(float[2] x) => (y) { y = Dropout <ratio = 0.25> (x) }`)).toMatchInlineSnapshot(`
      "g (float[2] x) => (y)
      <float y_ratio = {0.25}>
      {
        y = Dropout(x, y_ratio)
      }"
    `);
  });

  it("of opset 13", () => {
    expect(
      convert(
        12,
        13,
        `(float[1,2] x) => (y, z) { a = Squeeze <axes = [0]> (x)  y = Unsqueeze <axes = [0]> (a)  z = Squeeze(x) }`,
      ),
    ).toMatchInlineSnapshot(`
      "g (float[1,2] x) => (y, z)
      <int64[1] a_axes = {0}, int64[1] y_axes = {0}>
      {
        a = Squeeze(x, a_axes)
        y = Unsqueeze(a, y_axes)
        z = Squeeze(x)
      }"
    `);
    expect(
      convert(12, 13, `(float[4] x) => (a, b, c, d) { a, b = Split <split = [1, 3]> (x)  c, d = Split(x) }`),
    ).toMatchInlineSnapshot(`
      "g (float[4] x) => (a, b, c, d)
      <int64[2] a_split = {1, 3}>
      {
        a, b = Split(x, a_split)
        c, d = Split(x)
      }"
    `);
    expect(
      convert(12, 13, `(float[4] x) => (y) { y = ReduceSum <axes = [0], keepdims = 0> (x) }`),
    ).toMatchInlineSnapshot(`
      "g (float[4] x) => (y)
      <int64[1] y_axes = {0}>
      {
        y = ReduceSum<keepdims: int = 0>(x, y_axes)
      }"
    `);
  });

  it("of opset 18 and 20", () => {
    expect(
      convert(17, 18, `(float[4] x) => (y, a, b) { y = ReduceMean <axes = [0], keepdims = 0> (x)  a, b = Split(x) }`),
    ).toMatchInlineSnapshot(`
      "g (float[4] x) => (y, a, b)
      <int64[1] y_axes = {0}>
      {
        y = ReduceMean<keepdims: int = 0>(x, y_axes)
        a, b = Split<num_outputs: int = 2>(x)
      }"
    `);
    expect(convert(17, 20, `(float[1,4,1] x) => (y) { y = DFT(x) }`)).toMatchInlineSnapshot(`
      "g (float[1,4,1] x) => (y)
      <int64 y_axis = {1}>
      {
        y = DFT(x, "", y_axis)
      }"
    `);
    expect(
      convert(16, 20, `(float[1,1,4,4] x, float[1,2,2,2] g) => (y) { y = GridSample <mode = "bicubic"> (x, g) }`),
    ).toMatchInlineSnapshot(`
      "g (float[1,1,4,4] x, float[1,2,2,2] g) => (y) {
        y = GridSample<mode: string = "cubic">(x, g)
      }"
    `);
  });
});

describe("Softmax before opset 13", () => {
  it("becomes one axis where that is the same", () => {
    expect(
      convert(
        9,
        13,
        `(float[2,3,1,1] x, float[2,3] z) => (a, b, c) { a = Softmax(x)  b = LogSoftmax(z)  c = Hardmax <axis = -1> (x) }`,
      ),
    ).toMatchInlineSnapshot(`
      "g (float[2,3,1,1] x, float[2,3] z) => (a, b, c) {
        a = Softmax<axis: int = 1>(x)
        b = LogSoftmax<axis: int = -1>(z)
        c = Hardmax<axis: int = -1>(x)
      }"
    `);
  });

  it("is flattened where it is not, or may not be", () => {
    expect(convert(9, 13, `(float[2,3,4] x) => (y) { [head] y = Softmax(x) }`)).toMatchInlineSnapshot(`
      "g (float[2,3,4] x) => (y) {
        y_shape = Shape(x)
        y_flat = Flatten<axis: int = 1>(x)
        [head] y_2d = Softmax<axis: int = -1>(y_flat)
        y = Reshape(y_2d, y_shape)
      }"
    `);
    expect(convert(9, 13, `(x) => (y) { y = Softmax(x) }`)).toMatchInlineSnapshot(`
      "g (x) => (y) {
        y_shape = Shape(x)
        y_flat = Flatten<axis: int = 1>(x)
        y_2d = Softmax<axis: int = -1>(y_flat)
        y = Reshape(y_2d, y_shape)
      }"
    `);
  });
});

describe("Upsample and Resize", () => {
  it("keep the coordinates and the rounding that opset 10 had", () => {
    expect(
      convert(9, 13, `(float[1,1,2,2] x, float[4] s) => (y) { y = Upsample <mode = "nearest"> (x, s) }`),
    ).toMatchInlineSnapshot(`
      "g (float[1,1,2,2] x, float[4] s) => (y) {
        y = Resize<
          mode: string = "nearest",
          coordinate_transformation_mode: string = "asymmetric",
          nearest_mode: string = "floor"
        >(x, "", s)
      }"
    `);
    expect(convert(10, 11, `(float[4] x) => (y) <float[1] s = {0.5}> { y = Resize(x, s) }`)).toMatchInlineSnapshot(`
      "g (float[4] x) => (y)
      <float[1] s = {0.5}, float[0] s_roi = {}>
      {
        y = Resize<coordinate_transformation_mode: string = "asymmetric", nearest_mode: string = "ceil">(x, s_roi, s)
      }"
    `);
  });

  it("lose empty inputs and tf_half_pixel_for_nn at 13", () => {
    expect(
      convert(
        11,
        13,
        `(float[4] x) => (y) <float[0] none = {}, int64[1] size = {8}> {
        y = Resize <coordinate_transformation_mode = "tf_half_pixel_for_nn", nearest_mode = "floor"> (x, none, none, size)
      }`,
      ),
    ).toMatchInlineSnapshot(`
      "g (float[4] x) => (y)
      <int64[1] size = {8}>
      {
        y = Resize<coordinate_transformation_mode: string = "half_pixel", nearest_mode: string = "round_prefer_ceil">(x, "", "", size)
      }"
    `);
  });
});

describe("other operators", () => {
  it("get the names and defaults of newer versions", () => {
    expect(
      convert(9, 11, `(float[2] x, int64[1] i, float[1] u) => (y) { [s] y = Scatter <axis = 0> (x, i, u) }`),
    ).toMatchInlineSnapshot(`
      "g (float[2] x, int64[1] i, float[1] u) => (y) {
        [s] y = ScatterElements<axis: int = 0>(x, i, u)
      }"
    `);
    expect(
      convert(10, 16, `(float[1,1,4,4] x, float[1,4] r, int64[1] b) => (y) { y = RoiAlign(x, r, b) }`),
    ).toMatchInlineSnapshot(`
      "g (float[1,1,4,4] x, float[1,4] r, int64[1] b) => (y) {
        y = RoiAlign<coordinate_transformation_mode: string = "output_half_pixel">(x, r, b)
      }"
    `);
    expect(
      convert(
        7,
        14,
        `(float[1,2] x, float[2] s) => (y) { y, m, v = BatchNormalization <spatial = 1> (x, s, s, s, s) }`,
      ),
    ).toMatchInlineSnapshot(`
      "g (float[1,2] x, float[2] s) => (y) {
        y = BatchNormalization(x, s, s, s, s)
      }"
    `);
  });

  it("repeats GroupNormalization's scale and bias for the channels of a group", () => {
    expect(
      convert(
        18,
        21,
        `(float[1,4,2] x, float[2] s, float[2] b) => (y) { y = GroupNormalization <num_groups = 2> (x, s, b) }`,
      ),
    ).toMatchInlineSnapshot(`
      "g (float[1,4,2] x, float[2] s, float[2] b) => (y)
      <
        int64[2] y_channels = {2, 2},
        int64[1] y_axis = {1},
        int64[1] y_flat = {-1},
        int64[1] y_axis_1 = {1},
        int64[1] y_flat_1 = {-1}
      >
      {
        s_Unsqueeze = Unsqueeze(s, y_axis)
        s_Expand = Expand(s_Unsqueeze, y_channels)
        s_Reshape = Reshape(s_Expand, y_flat)
        b_Unsqueeze = Unsqueeze(b, y_axis_1)
        b_Expand = Expand(b_Unsqueeze, y_channels)
        b_Reshape = Reshape(b_Expand, y_flat_1)
        y = GroupNormalization<num_groups: int = 2>(x, s_Reshape, b_Reshape)
      }"
    `);
    expect(
      convert(18, 21, `(x, float[2] s, float[2] b) => (y) { y = GroupNormalization <num_groups = 2> (x, s, b) }`),
    ).toMatchInlineSnapshot(`
      "g (x, float[2] s, float[2] b) => (y)
      <
        int64[1] y_groups = {2},
        int64[1] y_axis = {1},
        int64[1] y_flat = {-1},
        int64[1] y_axis_1 = {1},
        int64[1] y_flat_1 = {-1}
      >
      {
        x_Shape = Shape<start: int = 1, end: int = 2>(x)
        x_Div = Div(x_Shape, y_groups)
        x_Concat = Concat<axis: int = 0>(y_groups, x_Div)
        s_Unsqueeze = Unsqueeze(s, y_axis)
        s_Expand = Expand(s_Unsqueeze, x_Concat)
        s_Reshape = Reshape(s_Expand, y_flat)
        b_Unsqueeze = Unsqueeze(b, y_axis_1)
        b_Expand = Expand(b_Unsqueeze, x_Concat)
        b_Reshape = Reshape(b_Expand, y_flat_1)
        y = GroupNormalization<num_groups: int = 2>(x, s_Reshape, b_Reshape)
      }"
    `);
  });
});

describe("scope", () => {
  it("raises subgraphs, and functions with constants as nodes", () => {
    const model = parse`
      <ir_version: 8, opset_import: ["": 12, "local": 1]>
      g (bool b, float[1,2] x) => (y) {
        f = local.squeeze(x)
        y = If (b) <
          then_branch = one () => (p) { p = Squeeze <axes = [0]> (x) },
          else_branch = two () => (q) { q = Identity(f) }
        >
      }
      <opset_import: ["": 12], domain: "local"> squeeze (a) => (b) { b = Squeeze <axes = [0]> (a) }
    `;
    expect(print(convertOpset(model, 13).model)).toMatchInlineSnapshot(`
      "<ir_version: 8, opset_import: ["": 13, "local": 1]>
      g (bool b, float[1,2] x) => (y) {
        f = local.squeeze(x)
        y = If(b) <
          then_branch: graph = one () => (p)
          <int64[1] p_axes = {0}>
          {
            p = Squeeze(x, p_axes)
          },
          else_branch: graph = two () => (q) {
            q = Identity(f)
          }
        >
      }

      <domain: "local", opset_import: ["": 13]>
      squeeze (a) => (b) {
        b_axes = Constant<value: tensor = int64[1] {0}>()
        b = Squeeze(a, b_axes)
      }"
    `);
  });

  it("raises the IR version, and takes constants of IR version 3 off the inputs", () => {
    const { model } = convertOpset(read(8, `(float[2] x, float[2] w = {1, 2}) => (y) { y = Add(x, w) }`, 3), 21);
    expect([model.irVersion, model.graph.inputs.map((input) => input.name)]).toEqual([10, ["x"]]);
  });

  it("gives back a model that is new enough, and is idempotent", () => {
    const model = read(12, `(float[2,3,4] x) => (y) { y = Softmax(x) }`);
    expect(convertOpset(model, 12)).toEqual({ model, modified: false });
    const once = convertOpset(model, 21).model;
    expect(convertOpset(once, 21)).toEqual({ model: once, modified: false });
    expect(convertOpset(once, 13)).toEqual({ model: once, modified: false });
  });

  it("leaves other domains alone", () => {
    const body = `(float[1,2] x) => (y) { y = com.microsoft.Squeeze <axes = [0]> (x) }`;
    expect(convert(12, 13, body)).toContain("com.microsoft.Squeeze<axes: ints = [0]>(x)");
  });
});

describe("refusals", () => {
  it.each([
    [6, 13, `(x) => (y) { y = Relu(x) }`, /opset 6: too old/],
    [13, 99, `(x) => (y) { y = Relu(x) }`, /opset 99: not known/],
    [
      12,
      13,
      `(x) => (y) { y = Erff(x) }`,
      /Erff \(output "y"\): can't be raised to opset 13: ai.onnx 12 has no such operator/,
    ],
    [
      8,
      9,
      `(x, s) => (y) { [bn] y = BatchNormalization <spatial = 0> (x, s, s, s, s) }`,
      /BatchNormalization "bn": .* spatial = 0/,
    ],
    [13, 14, `(x, s) => (y, m) { y, m = BatchNormalization(x, s, s, s, s) }`, /training outputs are used/],
    [9, 10, `(x) => (y, m) { y, m = Dropout(x) }`, /mask is used/],
    [9, 11, `(x) => (y) { y = Clip <min = 0.0> (x) }`, /element type of "x" is not known/],
    [10, 11, `(x, s) => (y) { y = Resize(x, s) }`, /scales that are not constant/],
    [10, 11, `(x) => (y) <float[2] s = {2, 0.5}> { y = Resize(x, s) }`, /enlarges one axis and shrinks another/],
    [
      11,
      13,
      `(x, e, s) => (y) { y = Resize <coordinate_transformation_mode = "tf_half_pixel_for_nn"> (x, e, s) }`,
      /tf_half_pixel_for_nn/,
    ],
    [7, 11, `(x) => (y) { y = ImageScaler <bias = [0.5]> (x) }`, /experiment/],
  ])("from %i to %i: %s", (from, to, body, message) => {
    expect(() => convertOpset(read(from, body), to)).toThrow(message);
  });
});
