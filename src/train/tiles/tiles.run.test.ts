/** @file Models in tiles compute what they did, and training steps among them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { arbitraryInput, arbitraryModel } from "../../../test/arbitrary-graph.ts";
import { randomFeeds, relativeError, runModel, withSession } from "../../../test/run-model.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { build, layerNorm, linear, poolSteps, transformerEncoderBlock } from "../../nn/index.ts";
import type { Outputs } from "../../runtime/io.ts";
import { type TrainOptions, trainOptions } from "../options.ts";
import { chooseParameters } from "../parameters.ts";
import { trainingStep } from "../step-graph.ts";
import { inTiles } from "./tiles.ts";

/** Everything is worth a tile. */
const always = { large: 2, tile: 8, productTile: 8, smallTile: 1, row: 1 << 20 };

/** Outputs as rows of numbers: tiles may have dims of their own. */
const flat = (outputs: Outputs): Outputs =>
  Object.fromEntries(
    Object.entries(outputs).map(([name, tensor]) => [name, { ...tensor, dims: [tensor.data.length] }]),
  );

async function difference(model: Model, tiled: Model): Promise<number> {
  const feeds = await withSession(model, async ({ inputs }) => randomFeeds(inputs, 5));
  return relativeError(flat(await runModel(model, feeds)), flat(await runModel(tiled, feeds)));
}

const operators = ({ graph }: Model) => graph.nodes.map(({ opType }) => opType);
const scans = (model: Model) => operators(model).filter((opType) => opType === "Scan").length;

describe("inTiles", () => {
  it.each([
    [
      "elementwise, whole operands, several outputs",
      "{ a = Mul(x, v) b = Add(a, r) c = Sigmoid(b) y = Sub(c, x) z = Neg(a) }",
    ],
    ["a condition", "{ a = Greater(x, r) b = Where(a, x, r) y = Mul(b, x) z = Cast <to = 1> (a) }"],
    [
      "axes of a row",
      "{ a = ReduceMean(x, last) b = Sub(x, a) y = Softmax <axis = -1> (b) z = LayerNormalization <axis = -1> (y, v) }",
    ],
    ["totals", "{ a = Mul(x, x) y = ReduceSum <keepdims = 0> (a, ends) z = ReduceMean <keepdims = 1> (a, first) }"],
    [
      "a value that one operator cuts into rows and another takes whole",
      "{ a = ReduceSum <keepdims = 0> (q, second) y = Add(a, u) z = Add(q, u) }",
    ],
    ["a total of everything", "{ a = Exp(x) y = ReduceSum <keepdims = 0> (a) z = ReduceMax <keepdims = 1> (a) }"],
  ])("%s", async (_, body) => {
    const model =
      parse(`<ir_version: 10, opset_import: ["": 21]> net (float[6,3,4] x, float[1,3,4] r, float[4,4] q, float[4] u) => (y, z)
      <float[4] v = {1, -2, 3, 0.5}, int64[1] first = {0}, int64[1] last = {-1}, int64[1] second = {1}, int64[2] ends = {0, 2}> ${body}`);
    const { model: tiled } = inTiles(model, always);
    expect(scans(tiled)).toBe(1);
    expect(await difference(model, tiled)).toBeLessThan(1e-6);
  });

  it("leaves apart what depends on the group and is needed by it", async () => {
    const model = parse(`<ir_version: 10, opset_import: ["": 21]> net (float[4,4] x) => (float[4,4] y) {
      a = Exp(x) b = Mul(a, x) c = Transpose(b) d = Add(c, b) e = Neg(d) y = Mul(e, a) }`);
    const { model: tiled } = inTiles(model, always);
    expect(operators(tiled)).toContain("Transpose");
    expect(scans(tiled)).toBe(2);
    expect(await difference(model, tiled)).toBeLessThan(1e-6);
  });

  it("leaves small tensors alone", () => {
    const model = parse(
      `<ir_version: 10, opset_import: ["": 21]> net (float[4,4] x) => (y) { a = Exp(x) y = Mul(a, x) }`,
    );
    expect(inTiles(model)).toEqual({ model, modified: false });
  });

  it("keeps what random graphs compute", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryModel({ symbolicBatch: false }), async (model) => {
        const input = arbitraryInput(model);
        const feeds = { x: { dtype: input.dtype, dims: input.dims, data: input.toFloat32() } };
        const tiled = await runModel(inTiles(model, always).model, feeds);
        expect(relativeError(flat(await runModel(model, feeds)), flat(tiled))).toBeLessThan(1e-5);
      }),
      { numRuns: 60, seed: 7 },
    );
  });

  it.each<TrainOptions>([
    { optimizer: "momentum" },
    { optimizer: { name: "adamw", weightDecay: 0.1 }, clipNorm: 0.1, average: 0.9 },
    { optimizer: "nesterov", accumulate: 2, keepZeros: true },
  ])("keeps a step of training: %j", async (options) => {
    const layers = [transformerEncoderBlock({ heads: 2, hidden: 8 }), layerNorm(), poolSteps("mean"), linear(3)];
    const model = build(layers, { input: [5, 4], seed: 1 });
    const settings = trainOptions.parse({ loss: "cross-entropy", ...options });
    const parameters = chooseParameters(model, {});
    const x = [...model.graph.inputs.map(({ name }) => name)][0] as string;
    const shapes = { [x]: [4, 5, 4] };
    const { model: step } = trainingStep(model, { ...settings, losses: settings.loss, parameters, shapes });
    const { model: tiled } = inTiles(step, always);
    expect(scans(tiled)).toBeGreaterThan(10);
    expect(await difference(step, tiled)).toBeLessThan(1e-5);
  });
});
