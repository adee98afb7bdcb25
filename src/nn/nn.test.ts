/** @file Tests of layers: the graphs that they build, what parameters they count, and what they refuse. */
import { describe, expect, it } from "vitest";
import type { Model } from "../ir/model.ts";
import { print } from "../ir/text/index.ts";
import { typeToString } from "../ir/types.ts";
import { validateModel } from "../ops/check-model.ts";
import { elementCount } from "../tensor/tensor.ts";
import * as nn from "./index.ts";

const countOf = (model: Model) =>
  model.graph.initializers
    .filter(({ tensor }) => tensor?.dtype === "float32" && tensor.dims.length > 0)
    .reduce((sum, { tensor }) => sum + elementCount(tensor?.dims ?? []), 0);
const outputOf = (model: Model) => typeToString(model.graph.outputs[0]?.type);
const numbersOf = (model: Model, name: string) => [...(model.graph.find(name)?.tensor?.toNumbers() ?? [])];

/** The article's network, with the Flatten that it lacks. */
const article = [
  nn.conv2d(32, 3, { padding: 1 }),
  nn.relu(),
  nn.maxPool(2),
  nn.conv2d(64, 3, { padding: 1 }),
  nn.relu(),
  nn.maxPool(2),
  nn.flatten(),
  nn.linear(10),
];

describe("build", () => {
  it("makes plain ONNX that reads as the list of layers", () => {
    const model = nn.build(article, { input: [1, 32, 32], name: "digits" });
    validateModel(model, "digits");
    expect(countOf(model)).toBe(32 * 9 + 32 + 64 * 32 * 9 + 64 + 4096 * 10 + 10);
    const nodes = print(model).split("{\n").at(-1);
    expect(nodes).toMatchInlineSnapshot(`
      "  [conv1] conv1 = Conv<
          kernel_shape: ints = [3, 3],
          strides: ints = [1, 1],
          pads: ints = [1, 1, 1, 1],
          dilations: ints = [1, 1],
          group: int = 1
        >(x, "conv1.weight", "conv1.bias")
        [relu1] relu1 = Relu(conv1)
        [maxpool1] maxpool1 = MaxPool<kernel_shape: ints = [2, 2], strides: ints = [2, 2], pads: ints = [0, 0, 0, 0]>(relu1)
        [conv2] conv2 = Conv<
          kernel_shape: ints = [3, 3],
          strides: ints = [1, 1],
          pads: ints = [1, 1, 1, 1],
          dilations: ints = [1, 1],
          group: int = 1
        >(maxpool1, "conv2.weight", "conv2.bias")
        [relu2] relu2 = Relu(conv2)
        [maxpool2] maxpool2 = MaxPool<kernel_shape: ints = [2, 2], strides: ints = [2, 2], pads: ints = [0, 0, 0, 0]>(relu2)
        [flatten1] flatten1 = Flatten<axis: int = 1>(maxpool2)
        [y] y = Gemm<transB: int = 1>(flatten1, "linear1.weight", "linear1.bias")
      }"
    `);
  });

  it.each<[string, readonly nn.Layer[], nn.BuildOptions, string, number]>([
    ["conv1d", [nn.conv1d(4, 5, { padding: "same", stride: 2 })], { input: [3, 9] }, "float[N,4,5]", 64],
    ["conv2d", [nn.conv2d(4, [3, 2], { dilation: 2, bias: false })], { input: [3, 9, 9] }, "float[N,4,5,7]", 72],
    ["depthwise", [nn.depthwiseConv2d(3, { padding: 1 })], { input: [6, 5, 5] }, "float[N,6,5,5]", 60],
    ["pools", [nn.avgPool(2, { stride: 1 }), nn.globalMaxPool(), nn.flatten()], { input: [6, 5, 5] }, "float[N,6]", 0],
    ["global", [nn.globalAvgPool()], { input: [6, 5, "W"] }, "float[N,6,1,1]", 0],
    ["norms", [nn.batchNorm(), nn.flatten(), nn.layerNorm()], { input: [2, 3] }, "float[N,6]", 20],
    ["embedding", [nn.embedding(50, 8)], { input: ["T"], dtype: "int64" }, "float[N,T,8]", 400],
    ["lstm", [nn.lstm(5, { bidirectional: true })], { input: ["T", 3] }, "float[N,T,10]", 2 * 20 * (3 + 5 + 2)],
    ["gru", [nn.gru(5, { give: "last" })], { input: [7, 3] }, "float[N,5]", 15 * (3 + 5 + 2)],
    ["attention", [nn.multiHeadAttention(2, { causal: true })], { input: ["T", 8] }, "float[N,T,8]", 4 * (64 + 8)],
    ["steps", [nn.positions(9), nn.poolSteps("last"), nn.linear(3)], { input: [7, 4] }, "float[N,3]", 36 + 15],
    [
      "encoder",
      [nn.transformerEncoderBlock({ heads: 2, hidden: 16, norm: "after", dropout: 0.1 })],
      { input: ["T", 8] },
      "float[N,T,8]",
      4 * 72 + 2 * 16 + (8 * 16 + 16) + (16 * 8 + 8),
    ],
    [
      "residual",
      [nn.residual([nn.conv2d(8, 3, { padding: 1 }), nn.dropout(0)], [nn.conv2d(8, 1)])],
      { input: [4, 5, 5] },
      "float[N,8,5,5]",
      8 * 36 + 8 + 32 + 8,
    ],
    ["nothing", [], { input: [4] }, "float[N,4]", 0],
  ])("%s", (_, layers, options, type, count) => {
    const model = nn.build(nn.sequential(layers), options);
    validateModel(model, "test");
    expect(outputOf(model)).toBe(type);
    expect(countOf(model)).toBe(count);
  });

  it.each(["relu", "gelu", "silu", "sigmoid", "tanh", "elu", "selu", "softplus", "mish", "hardSwish"] as const)(
    "%s keeps the shape",
    (name) => {
      const model = nn.build([nn.activation(name), nn.leakyRelu()], { input: [2, "L"] });
      validateModel(model, "test");
      expect(outputOf(model)).toBe("float[N,2,L]");
    },
  );

  it.each<[readonly nn.Layer[], nn.BuildOptions, string]>([
    [
      [nn.conv2d(64, 3, { padding: 1 }), nn.linear(10)],
      { input: [1, 8, 8] },
      'linear1: input "conv1" float[N,64,8,8]: expected [N, features] or [N, steps, features]. Put flatten() in front of it: it makes [N, 4096] of this.',
    ],
    [[nn.conv2d(4, 3)], { input: [28, 28] }, 'conv1: input "x" float[N,28,28]: expected [N, C, H, W].'],
    [
      [nn.maxPool(2), nn.maxPool(2), nn.conv2d(4, 9)],
      { input: [1, 8, 8] },
      'conv1: input "maxpool2" float[N,1,2,2]: expected room for a kernel that reaches over [9,9].',
    ],
    [[nn.conv2d(4, [3])], { input: [1, 8, 8] }, "expected 2 numbers for as many axes, got [3]."],
    [[nn.conv2d(6, 1, { groups: 4 })], { input: [8, 2, 2] }, "channels in and out that 4 groups divide, got 8 and 6"],
    [[nn.flatten(), nn.linear(2)], { input: [1, "W"] }, "linear1: input"],
    [[nn.residual([nn.linear(3)])], { input: [4] }, "expected the shape of what the layers give, float[N,3]"],
    [[nn.multiHeadAttention(3)], { input: [5, 8] }, "attention1: input"],
    [[nn.positions(4)], { input: [5, 8] }, "expected at most 4 steps"],
    [[nn.embedding(10, 4)], { input: [5] }, 'expected integers. Give the model\'s input dtype "int64".'],
    [[nn.lstm(4)], { input: [5] }, "expected [N, steps, features]"],
  ])("refuses what does not fit: %#", (layers, options, message) => {
    expect(() => nn.build(layers, options)).toThrow(message);
    expect(() => nn.build(layers, options)).toThrow(expect.objectContaining({ code: "shape-mismatch" }));
  });

  it("refuses a rate that drops everything", () => {
    expect(() => nn.dropout(1)).toThrow("dropout: rate: expected from 0 to below 1, got 1.");
  });
});

describe("initial parameters", () => {
  it("depend on seed and name alone", () => {
    const weights = (layers: readonly nn.Layer[], seed: number) =>
      numbersOf(nn.build(layers, { input: [1, 32, 32], seed }), "linear1.weight");
    expect(weights(article, 1)).toEqual(weights(article, 1));
    expect(weights(article, 1)).not.toEqual(weights(article, 2));
    expect(weights([nn.tanh(), ...article], 1)).toEqual(weights(article, 1));
  });

  // Fans of 300 and 100: variances are √3's square over three for uniform ones.
  it.each<[nn.InitializerName, number]>([
    ["default", Math.sqrt(1 / 300 / 3)],
    ["kaiming-uniform", Math.sqrt(2 / 300)],
    ["kaiming-normal", Math.sqrt(2 / 300)],
    ["xavier-uniform", Math.sqrt(2 / 400)],
    ["xavier-normal", Math.sqrt(2 / 400)],
    ["normal", 1],
    ["zeros", 0],
  ])("%s has the deviation that it should", (init, deviation) => {
    const w = numbersOf(nn.build([nn.linear(100, { init })], { input: [300] }), "linear1.weight");
    const measured = Math.sqrt(w.reduce((sum, value) => sum + value * value, 0) / w.length);
    expect(measured).toBeGreaterThanOrEqual(deviation * 0.98);
    expect(measured).toBeLessThanOrEqual(deviation * 1.02);
  });
});
