/** @file Tests of depth pruning: which blocks are found, that a cut is what the masked model computes, and that data chooses well. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { randomFeeds, relativeError, runModel, withSession } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import * as nn from "../../nn/index.ts";
import { loadModel } from "../../node/load.ts";
import { infer } from "../../ops/infer.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import type { ChannelData } from "../evidence/channel-data.ts";
import type { PruneOptions } from "../options.ts";
import { pruneBlocks } from "./prune-blocks.ts";
import { findBlocks } from "./residual-blocks.ts";

const runtime = inProcessRuntime("ort-node");

async function dataFor(model: Model, count = 4, dims = {}): Promise<ChannelData> {
  const samples = await withSession(model, async ({ inputs }) =>
    Array.from({ length: count }, (_, i) => ({ id: `#${i}`, inputs: randomFeeds(inputs, i, dims) })),
  );
  return { data: datasetOf("random", samples), open: (probed) => runtime.create(encode(probed), { threads: 1 }) };
}

const options = (given: PruneOptions) => ({ structure: "blocks", ...given });

/** Linear blocks on x [N, 2]: the first adds 0.01 x, the second turns x by a right angle, the third adds a constant to the first channel. */
const linear = () =>
  parse(`<ir_version: 10, opset_import: ["": 21]> g (float[N,2] x) => (float[N,2] y)
    <float[2,2] w1 = {0.01, 0, 0, 0.01}, float[2,2] w2 = {-1, 1, -1, -1}, float[2,2] w3 = {0, 0, 0, 0}, float[2] b3 = {0.3, 0}, float[2,2] v = {1, 2, 3, 4}> {
    [small] f1 = MatMul(x, w1)  y1 = Add(x, f1)
    [large] f2 = MatMul(y1, w2)  y2 = Add(f2, y1)
    [shift] f3 = Gemm(y2, w3, b3)  y3 = Add(y2, f3)
    [head] y = MatMul(y3, v)
  }`);

describe("residual blocks", () => {
  const held = (text: string) => {
    const model = parse(`<ir_version: 10, opset_import: ["": 21]> g ${text}`);
    return findBlocks(model, infer(model));
  };
  const weights = "<float[4,4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}>";

  it.each([
    [
      "a way around with weights",
      `(float[2,4] x) => (y) ${weights} { a = MatMul(x, w)  b = MatMul(x, w)  y = Add(a, b) }`,
      /has weights of its own/,
    ],
    [
      "an inside that is used elsewhere",
      `(float[2,4] x) => (y, z) ${weights} { a = MatMul(x, w)  z = Relu(a)  b = Tanh(a)  c = MatMul(b, w)  y = Add(x, c) }`,
      /"a" in between is used elsewhere/,
    ],
    [
      "another shape",
      `(float[1,4] x) => (y) <float[2,1] k = {1, 1}, float[4,4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> { r = Mul(x, k)  a = MatMul(r, w)  y = Add(x, a) }`,
      /does not have the shape/,
    ],
  ])("are held by %s", (_, text, reason) => {
    const found = held(text);
    expect(found.blocks).toEqual([]);
    expect(found.held.map(({ obstacle }) => obstacle.reason)).toEqual([expect.stringMatching(reason)]);
  });

  it("are not biases, and not sums of unrelated values", () => {
    const found = held(
      `(float[2,4] x, float[2,4] z) => (y) ${weights.replace(">", ", float[4] bias = {1, 2, 3, 4}>")} { a = MatMul(x, w)  b = MatMul(z, w)  c = Add(a, b)  y = Add(c, bias) }`,
    );
    expect(found).toEqual({ blocks: [], held: [] });
  });

  it("may have masks and sizes from elsewhere, and a way around without weights", () => {
    const found =
      held(`(float[2,4] x, float[2,4] mask) => (y) <float[4,4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> {
      s = Shape(x)  r = Relu(x)  a = MatMul(r, w)  b = Add(a, mask)  c = Reshape(b, s)  n = Neg(r)  y = Add(c, n)
    }`);
    expect(found.blocks.map(({ kept, nodes }) => [kept.name, nodes.map(({ opType }) => opType)])).toEqual([
      ["n", ["Shape", "MatMul", "Add", "Reshape"]],
    ]);
  });
});

describe("pruning blocks", () => {
  it.each(["sqnr", "influence"] as const)("by %s takes those that change least", async (criterion) => {
    const model = linear();
    const result = await pruneBlocks(model, options({ count: 1, criterion }), await dataFor(model));
    expect(result.blocks.map(({ name, removed, params }) => [name, removed, params])).toEqual([
      ["small", true, 4],
      ["large", false, 4],
      ["shift", false, 6],
    ]);
    expect(result.model.graph.nodes.map(({ opType }) => opType)).toEqual(["MatMul", "Add", "Gemm", "Add", "MatMul"]);
    expect([result.reached, result.removed]).toEqual([true, 1 / 3]);
  });

  it.each([
    ["mean", { count: 1, protect: "small,large" }],
    ["least-squares", { count: 2, protect: "large" }],
  ] as const)("recovers what a %s can", async (recover, given) => {
    const model = linear();
    const result = await pruneBlocks(model, options({ ...given, recover }), await dataFor(model));
    const feeds = { x: hostTensor("float32", [1, 2], [0.3, -0.8]) };
    const [whole, cut, plain] = [
      await runModel(model, feeds),
      await runModel(result.model, feeds),
      await runModel(result.plain, feeds),
    ];
    expect(relativeError(whole, cut)).toBeLessThan(1e-5);
    expect(relativeError(whole, plain)).toBeGreaterThan(0.05);
  });

  it("takes the least number that removes a share of parameters, and says when protected blocks hold it up", async () => {
    const model = linear();
    const data = await dataFor(model);
    expect((await pruneBlocks(model, options({ ratio: 0.3, by: "params" }), data)).after.params).toBe(8);
    const held = await pruneBlocks(model, options({ ratio: 1, protect: "large" }), data);
    expect([held.reached, held.notes]).toEqual([
      false,
      ["100 % of blocks can't be removed, 2 of 3 blocks were, 66.7 %: large (protected)"],
    ]);
  });

  it("removes all: the first may stand at an input, the last at an output", async () => {
    const model =
      parse(`<ir_version: 10, opset_import: ["": 21]> g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {1, 2, 3, 4}> {
      a = MatMul(x, w)  b = Add(x, a)  c = MatMul(b, w)  y = Add(b, c)
    }`);
    const result = await pruneBlocks(model, options({ ratio: 1, criterion: "random" }), undefined);
    const feeds = { x: hostTensor("float32", [1, 2], [0.3, -0.8]) };
    expect(Array.from((await runModel(result.model, feeds)).y?.data as Float32Array)).toEqual(
      Array.from(feeds.x.data as Float32Array),
    );
    expect(relativeError(await runModel(result.masked(), feeds), await runModel(result.model, feeds))).toBe(0);
  });

  it.each([
    [{ ratio: 0.5 }, "needs calibration data"],
    [{ ratio: 0.5, criterion: "random", recover: "mean" }, 'recovery "mean" needs calibration data'],
    [{ ratio: 0.5, criterion: "l1" }, "is not for blocks: expected one of influence, sqnr, random"],
    [{ ratio: 0.5, criterion: "random", protect: "nothing" }, "no such layer"],
  ] as const)("refuses %o", async (given, message) => {
    await expect(pruneBlocks(linear(), options(given), undefined)).rejects.toMatchObject({
      code: "bad-recipe",
      message: expect.stringContaining(message),
    });
  });

  it("finds the attention and the network of every transformer block", async () => {
    const layers = [
      nn.embedding(10, 8),
      nn.positions(16),
      nn.transformerEncoderBlock({ heads: 2, hidden: 16 }),
      nn.transformerEncoderBlock({ heads: 2, hidden: 16 }),
      nn.poolSteps("mean"),
      nn.linear(3),
    ];
    const model = nn.build(layers, { input: [6], dtype: "int64", seed: 1 });
    const data = await dataFor(model);
    const result = await pruneBlocks(model, options({ ratio: 0.5 }), data);
    expect(result.blocks.map(({ removed }) => removed)).toHaveLength(4);
    expect(result.blocks.filter(({ removed }) => removed)).toHaveLength(2);
    for await (const { inputs } of data.data)
      expect(relativeError(await runModel(result.masked(), inputs), await runModel(result.model, inputs))).toBeLessThan(
        1e-5,
      );
  });
});

const shared = join(import.meta.dirname, "../../../../shared/data");

it.skipIf(!existsSync(shared)).each([
  ["models/resnet20_cifar10.onnx", 9, {}],
  ["models/mlperf_resnet8_cifar10.onnx", 1, {}],
  ["stories260k/stories260K.onnx", 10, { input_ids: [1, 8] }],
] as const)("%s has blocks that go, as the masked model proves", async (path, count, dims) => {
  const model = loadModel(join(shared, path));
  const data = await dataFor(model, 1, dims);
  const result = await pruneBlocks(model, options({ ratio: 0.3, criterion: "influence" }), data);
  expect(result.blocks).toHaveLength(count);
  for await (const { inputs } of data.data)
    expect(relativeError(await runModel(result.masked(), inputs), await runModel(result.model, inputs))).toBeLessThan(
      1e-5,
    );
});
