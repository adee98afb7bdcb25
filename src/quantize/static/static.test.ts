/** @file Where static quantization puts QuantizeLinear and DequantizeLinear: a snapshot for every rule of placement. */
import { describe, expect, test } from "vitest";
import type { Range } from "../../calibrate/collector.ts";
import type { Model } from "../../ir/model.ts";
import { parse, print } from "../../ir/text/index.ts";
import { targetNamed } from "../../targets/targets.ts";
import type { StaticOptions } from "./options.ts";
import { planStatic } from "./plan.ts";
import { applyStatic } from "./static.ts";

const target = targetNamed("node-x64-vnni");
const ramp = (count: number) => `{${Array.from({ length: count }, (_, i) => ((i * 7) % 11) - 5)}}`;
/** A filter [4, 4, 1, 1], a matrix [4, 4] and a bias [4], as text. */
const [w, b] = [ramp(16), ramp(4)];

function quantized(model: Model, options: StaticOptions = {}, range: Range = { min: -1, max: 3 }) {
  const plan = planStatic(model, { target, ...options });
  const ranges = new Map([...plan.rangeCollectors().keys()].map((name) => [name, range]));
  return applyStatic(plan, { ranges });
}

/** The nodes, with Q and DQ in short: `y = Conv(DQ x, DQ w)`; constants by name only. */
function nodes(model: Model, options: StaticOptions = {}): string[] {
  const { graph } = quantized(model, options).model;
  return graph.nodes.map(({ opType, inputs, outputs }) => {
    const short = opType.replace("QuantizeLinear", "Q").replace("DequantizeLinear", "DQ");
    const names = inputs
      .slice(0, short.endsWith("Q") ? 1 : 3)
      .map((value) => value?.name.replaceAll("dequantized", "dq").replaceAll("quantized", "q"));
    return `${outputs.map((value) => value?.name.replaceAll("dequantized", "dq").replaceAll("quantized", "q"))} = ${short}(${names.join(", ")})`;
  });
}

/** A Conv from x to c, and `rest`. */
const conv = (rest: string, constants = "") =>
  parse(
    `(float[N,4,2,2] x) => (y) <float[4,4,1,1] w = ${w}, float[4] b = ${b}${constants}> { c = Conv(x, w, b) ${rest} }`,
  );

describe("placement", () => {
  test("Conv: codes in, codes out, int32 bias; the model's ends stay float", () => {
    expect(print(quantized(conv("y = Relu(c)")).model)).toMatchInlineSnapshot(`
      "<ir_version: 10, opset_import: ["": 21]>
      graph (float[N,4,2,2] x) => (y)
      <
        float x_scale = {0.015686275},
        uint8 x_zero_point = {64},
        float[N,4,2,2] x_dequantized,
        float y_scale = {0.011764706},
        uint8 y_zero_point = {0},
        float[4] w_scale = {0.03937008, 0.031496063, 0.03937008, 0.03937008},
        int8[4] w_zero_point = {0, 0, 0, 0},
        int8[4,4,1,1] w_quantized = {-127, 51, -51, 127, 32, -95, 127, 0, -102, 76, -25, -127, 51, -51, 127, 25},
        float[4,4,1,1] w_dequantized,
        int32[4] b_quantized = {-8096, 4048, -3238, 8096},
        float[4] b_scale = {0.0006175699, 0.0004940559, 0.0006175699, 0.0006175699},
        int32[4] b_zero_point = {0, 0, 0, 0}
      >
      {
        [w_dequantized_DequantizeLinear] w_dequantized = DequantizeLinear<axis: int = 0>(w_quantized, w_scale, w_zero_point)
        [x_quantized_QuantizeLinear] x_quantized = QuantizeLinear(x, x_scale, x_zero_point)
        [x_dequantized_DequantizeLinear] x_dequantized = DequantizeLinear(x_quantized, x_scale, x_zero_point)
        [b_dequantized_DequantizeLinear] b_dequantized = DequantizeLinear<axis: int = 0>(b_quantized, b_scale, b_zero_point)
        c = Conv(x_dequantized, w_dequantized, b_dequantized)
        y_float = Relu(c)
        [y_quantized_QuantizeLinear] y_quantized = QuantizeLinear(y_float, y_scale, y_zero_point)
        [y_dequantized_DequantizeLinear] y = DequantizeLinear(y_quantized, y_scale, y_zero_point)
      }"
    `);
  });

  test("SiLU: codes behind Conv, Sigmoid and Mul, where a layer follows", () => {
    expect(nodes(conv("s = Sigmoid(c) m = Mul(c, s) y = Conv(m, w)"))).toMatchInlineSnapshot(`
      [
        "w_dq = DQ(w_q)",
        "x_q = Q(x)",
        "x_dq = DQ(x_q)",
        "b_dq = DQ(b_q)",
        "c = Conv(x_dq, w_dq, b_dq)",
        "c_q = Q(c)",
        "c_dq = DQ(c_q)",
        "s = Sigmoid(c_dq)",
        "s_q = Q(s)",
        "s_dq = DQ(s_q)",
        "m = Mul(c_dq, s_dq)",
        "m_q = Q(m)",
        "m_dq = DQ(m_q)",
        "y_float = Conv(m_dq, w_dq)",
        "y_q = Q(y_float)",
        "y = DQ(y_q)",
      ]
    `);
  });

  test("what no integer operator reads stays float", () => {
    const text = conv("y = Sigmoid(c)");
    expect(nodes(text)).toMatchInlineSnapshot(`
      [
        "w_dq = DQ(w_q)",
        "x_q = Q(x)",
        "x_dq = DQ(x_q)",
        "b_dq = DQ(b_q)",
        "c = Conv(x_dq, w_dq, b_dq)",
        "c_q = Q(c)",
        "c_dq = DQ(c_q)",
        "y = Sigmoid(c_dq)",
      ]
    `);
    expect(quantized(text).skipped).toEqual([
      {
        name: "y",
        opType: "Sigmoid",
        reason: "no integer operator reads its result: quantizing it would gain nothing",
      },
    ]);
  });

  test("moved elements share the scale of what they were", () => {
    expect(
      nodes(conv("p = MaxPool <kernel_shape = [1,1]> (c) t = Transpose <perm = [0,1,3,2]> (p) y = Conv(t, w)")),
    ).toMatchInlineSnapshot(`
      [
        "w_dq = DQ(w_q)",
        "x_q = Q(x)",
        "x_dq = DQ(x_q)",
        "b_dq = DQ(b_q)",
        "c = Conv(x_dq, w_dq, b_dq)",
        "c_q = Q(c)",
        "c_dq = DQ(c_q)",
        "p = MaxPool(c_dq)",
        "p_q = Q(p)",
        "p_dq = DQ(p_q)",
        "t = Transpose(p_dq)",
        "t_q = Q(t)",
        "t_dq = DQ(t_q)",
        "y_float = Conv(t_dq, w_dq)",
        "y_q = Q(y_float)",
        "y = DQ(y_q)",
      ]
    `);
  });

  test("a product with a constant is another scale, and no node", () => {
    const { graph } = quantized(
      conv("d = Div(c, six) h = Mul(half, d) y = Conv(h, w)", ", float six = {6}, float half = {0.5}"),
    ).model;
    expect(graph.nodes.map(({ opType }) => opType)).not.toContain("Div");
    const [first = 0, second = 0] = ["c_scale", "h_scale"].map((name) => graph.find(name)?.tensor?.toNumbers()[0]);
    expect(second / first).toBeCloseTo(1 / 12, 6);
  });

  test("inputs of a Concat take over its scale", () => {
    expect(
      nodes(
        conv(
          "d = Conv(x, w) e = Concat <axis = 1> (c, d) s = Slice(e, zero, four, one) y = Conv(s, w)",
          ", int64[1] zero = {0}, int64[1] four = {4}, int64[1] one = {1}",
        ),
      ),
    ).toMatchInlineSnapshot(`
      [
        "w_dq = DQ(w_q)",
        "x_q = Q(x)",
        "x_dq = DQ(x_q)",
        "b_dq = DQ(b_q)",
        "c = Conv(x_dq, w_dq, b_dq)",
        "c_q = Q(c)",
        "c_dq = DQ(c_q)",
        "d = Conv(x_dq, w_dq)",
        "d_q = Q(d)",
        "d_dq = DQ(d_q)",
        "e = Concat(c_dq, d_dq)",
        "e_q = Q(e)",
        "e_dq = DQ(e_q)",
        "s = Slice(e_dq, zero, four)",
        "s_q = Q(s)",
        "s_dq = DQ(s_q)",
        "y_float = Conv(s_dq, w_dq)",
        "y_q = Q(y_float)",
        "y = DQ(y_q)",
      ]
    `);
  });

  test("a MatMul that is read as float has no QuantizeLinear behind it; a bias behind it belongs to it", () => {
    expect(
      nodes(
        parse(
          `(float[N,4] x) => (y) <float[4,4] m = ${w}, float[4] b = ${b}> { a = MatMul(x, m) c = Add(a, b) r = Relu(c) d = MatMul(r, m) y = Softmax(d) }`,
        ),
      ),
    ).toMatchInlineSnapshot(`
      [
        "m_dq = DQ(m_q)",
        "x_q = Q(x)",
        "x_dq = DQ(x_q)",
        "a = MatMul(x_dq, m_dq)",
        "c = Add(a, b)",
        "r = Relu(c)",
        "r_q = Q(r)",
        "r_dq = DQ(r_q)",
        "d = MatMul(r_dq, m_dq)",
        "y = Softmax(d)",
      ]
    `);
  });

  test("a float layer between integer ones is shielded from the runtime", () => {
    const filters = `, float[4,4,1,1] v = ${w}, float[4,4,1,1] u = ${w}`;
    const shielded = (activation: string) =>
      nodes(conv(`d = Conv(c, v) s = ${activation} y = Conv(s, u)`, filters), { layers: "*,d@keep" }).filter((line) =>
        /^[ds]/.test(line),
      );
    expect(shielded("Relu(d)")).toMatchInlineSnapshot(`
      [
        "d = Conv(c_dq, v)",
        "s = LeakyRelu(d)",
        "s_q = Q(s)",
        "s_dq = DQ(s_q)",
      ]
    `);
    expect(shielded("Clip(d)")).toMatchInlineSnapshot(`
      [
        "d = Conv(c_dq, v)",
        "d_float = LeakyRelu(d)",
        "s = Clip(d_float)",
        "s_q = Q(s)",
        "s_dq = DQ(s_q)",
      ]
    `);
  });
});

describe("choices", () => {
  test("weights suit the target", () => {
    const weight = (options: StaticOptions) =>
      quantized(conv("y = Relu(c)"), options).model.graph.find("w_quantized")?.tensor;
    const largest = (options: StaticOptions) => Math.max(...(weight(options)?.toNumbers() ?? []).map(Math.abs));
    const codes = weight({ target: "node-x64" })?.toNumbers() ?? [];
    for (let i = 0; i < 16; i += 4)
      for (const sign of [1, -1]) {
        const [first = 0, second = 0] = [...codes.slice(i, i + 4)].map((code) => code * sign).sort((a, b) => b - a);
        expect(Math.max(0, first) + Math.max(0, second)).toBeLessThanOrEqual(128);
      }
    expect(largest({ target: "web-wasm" })).toBe(127);
    expect(weight({ target: "node-x64", dtype: "uint8" })?.dtype).toBe("uint8");
    expect(quantized(conv("y = Relu(c)"), { target: "web-webgpu" }).layers()[0]?.reason).toMatch(
      /runs in float on web-webgpu/,
    );
  });

  test.each([
    ["int4", 21],
    ["int2", 25],
  ] as const)("%s is stored packed and widened; first and last layers keep 8 bits", (weights, opset) => {
    const middle = `, float[4,4,1,1] v = ${w}, float[4,4,1,1] u = ${w}`;
    const { model, layers } = quantized(conv("d = Conv(c, v) y = Conv(d, u)", middle), { dtype: weights });
    expect(layers().map(({ spec }) => spec)).toEqual(["int8 channel", `${weights} channel mse`, "int8 channel"]);
    expect(model.graph.find("v_quantized")?.tensor?.dtype).toBe(weights);
    expect(model.opset).toBe(opset);
    expect(model.graph.nodes.filter(({ opType }) => opType === "Cast")).toHaveLength(1);
  });

  test("depthwise convolutions stay float on web-wasm, with the reason", () => {
    const text = parse(
      `(float[N,4,2,2] x) => (y) <float[4,1,1,1] d = ${b}, float[4,4,1,1] w = ${w}> { a = Conv <group = 4> (x, d) y = Conv(a, w) }`,
    );
    expect(quantized(text, { target: "web-wasm" }).layers()[0]?.reason).toMatch(/^Conv depthwise: 4.5 times the time/);
    expect(quantized(text, { target: "node-x64" }).layers()[0]?.spec).toBe("int8 channel");
  });

  test("recurrent and unknown operators are listed with their reason", () => {
    const text = parse(
      `(float[T,B,4] x) => (y) <float[1,16,4] w = ${ramp(64)}, float[1,16,4] r = ${ramp(64)}> { y = LSTM <hidden_size = 4> (x, w, r) }`,
    );
    const { layers } = quantized(text);
    expect(layers().map(({ status, reason }) => [status, reason])).toEqual(
      Array(2).fill(["kept", "recurrent: errors of 8-bit states add up; quantize its weights only"]),
    );
  });

  test("ranges that calibration cut to less than a quarter are named", () => {
    const model = conv("y = Relu(c)");
    const notesOf = (max: number) => quantized(model, {}, { min: 0, max: 1, seen: { min: 0, max } }).notes;
    expect(notesOf(3.9)).toEqual([]);
    expect(notesOf(4.1)).toEqual([
      "calibration cut the range of 2 of 2 values to less than a quarter of what was seen (x, y): if accuracy falls, choose mse or min-max",
    ]);
  });

  test("contradictions and missing ranges are errors", () => {
    const text = conv("y = Relu(c)");
    expect(() => planStatic(text, { target: "node-x46" })).toThrow(/Nearest: node-x64/);
    expect(() => planStatic(text, { activations: "int8", dtype: "uint8" })).toThrow(/there is no such kernel/);
    expect(() => planStatic(text, { layers: "*@group:32" })).toThrow(/expected tensor or channel/);
    expect(() => planStatic(text, { layers: "*@stochastic" })).toThrow(/option rounding: .*expected dtype, bits/);
    expect(() => planStatic(text, { layers: "*@3bit" })).toThrow(/bits 3: expected 4, 7 or 8/);
    expect(quantized(text, { target: "any", layers: "*@8bit" }).layers()[0]?.reason).toMatch(/may saturate on any/);
    expect(() => applyStatic(planStatic(text, { target }), { ranges: new Map() })).toThrow(/"x": no range/);
  });

  test("a channel of zeros keeps its bias", () => {
    const zeros = parse(
      `(float[N,2,1,1] x) => (y) <float[2,2,1,1] w = {0,0,1,1}, float[2] b = {5,0}> { y = Conv(x, w, b) }`,
    );
    const { graph } = quantized(zeros).model;
    const [codes, scale] = ["b_quantized", "b_scale"].map((name) => graph.find(name)?.tensor?.toNumbers() ?? []);
    expect((codes?.[0] ?? 0) * (scale?.[0] ?? 0)).toBeCloseTo(5, 1);
  });
});
