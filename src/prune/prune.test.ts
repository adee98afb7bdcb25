/** @file What pruning removes, keeps and refuses. */
import { describe, expect, it } from "vitest";
import { parse } from "../ir/text/index.ts";
import { float32, type Tensor } from "../tensor/tensor.ts";
import { pruneChannels } from "./channels/prune-channels.ts";
import { criteria } from "./criteria/index.ts";
import { type PruneOptions, pruneOptions, structureOf } from "./options.ts";
import { pruneWeights } from "./weights/prune-weights.ts";

/** Four hidden neurons of magnitudes 1, 4, 2 and 3, then another layer. */
const source = () =>
  parse(`<ir_version: 10, opset_import: ["": 21]> g (float[N,2] x) => (float[N,2] y)
    <float[4,2] w = {1, 0, 4, 0, 2, 0, 3, 0}, float[4] b = {1, 2, 3, 4}, float[2,4] v = {1, 2, 3, 4, 5, 6, 7, 8}> {
    [first] h = Gemm <transB = 1> (x, w, b)  r = Relu(h)  [second] y = Gemm <transB = 1> (r, v)
  }`);

const channels = (options: PruneOptions) => pruneChannels(source(), options, undefined);
const weights = (options: PruneOptions) => pruneWeights(source(), { structure: "weights", ...options }, undefined);
const numbers = (tensor: Tensor | undefined) => Array.from(tensor?.toNumbers() ?? []);

describe("channels", () => {
  it("go with everything that belongs to them, the least first", async () => {
    const { model, groups, kept, before, after } = await channels({ ratio: 0.5 });
    const tensor = (name: string) => numbers(model.graph.find(name)?.tensor);
    expect([tensor("w"), tensor("b"), tensor("v")]).toEqual([
      [4, 0, 3, 0],
      [2, 4],
      [2, 4, 6, 8],
    ]);
    expect(groups).toEqual([{ name: "first", layers: ["first"], channels: 4, removed: 2 }]);
    expect(kept).toMatchObject([{ layer: "second", channels: 2, because: "output", reason: `the model's output "y"` }]);
    expect([before, after]).toEqual([
      { macs: 16, params: 20 },
      { macs: 8, params: 10 },
    ]);
  });

  it("of ratio 0 leave the model as it is", async () => {
    const model = source();
    const result = await pruneChannels(model, { ratio: 0 }, undefined);
    expect(result.model).toBe(model);
    expect(result.reached).toBe(true);
  });

  it.each([
    ["macs", 0.3, 2],
    ["params", 0.2, 1],
    ["channels", 0.75, 3],
  ] as const)("by %s: the least number that removes %f", async (by, ratio, removed) => {
    const { groups } = await channels({ ratio, by });
    expect(groups[0]?.removed).toBe(removed);
  });

  it("stay in multiples and in a least number", async () => {
    expect((await channels({ ratio: 0.3, roundTo: 2 })).groups[0]?.removed).toBe(2);
    expect((await channels({ ratio: 0.5, roundTo: 2 })).groups[0]?.removed).toBe(2);
    expect((await channels({ ratio: 1, minChannels: 3 })).groups[0]?.removed).toBe(1);
  });

  it("are the least number that is enough, and not one less", async () => {
    const waves = (rows: number, columns: number) =>
      float32(
        [rows, columns],
        Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * i + 1)),
      );
    const model = parse`(float[N,3] x) => (y)
      <float[14,3] w = ${waves(14, 3)}, float[14,14] v = ${waves(14, 14)}, float[2,14] u = ${waves(2, 14)}> {
        a = Gemm <transB = 1> (x, w)  r = Relu(a)  b = Gemm <transB = 1> (r, v)  s = Relu(b)  y = Gemm <transB = 1> (s, u) }`;
    for (const ratio of [0.1, 0.3, 0.5, 0.7]) {
      const { removed, reached, groups } = await pruneChannels(model, { ratio }, undefined);
      const gone = groups.reduce((sum, group) => sum + group.removed, 0);
      expect([gone, removed, reached]).toEqual([Math.ceil(28 * ratio - 1e-9), gone / 28, true]);
    }
  });

  it("in multiples: what the last step made needless goes back", async () => {
    const ramp = (...dims: [number, number]) =>
      float32(
        dims,
        Float32Array.from({ length: dims[0] * dims[1] }, (_, i) => 1 + i),
      );
    const model = parse`<ir_version: 10, opset_import: ["": 21]> g (float[N,2] x, float[N,64] z) => (float[N,2] a, float[N,2] b)
      <float[4,2] w1 = ${ramp(4, 2)}, float[2,4] v1 = ${ramp(2, 4)}, float[4,64] w2 = ${ramp(4, 64)}, float[2,4] v2 = ${ramp(2, 4)}> {
        [narrow] h = Gemm <transB = 1> (x, w1)  a = Gemm <transB = 1> (h, v1)  [wide] i = Gemm <transB = 1> (z, w2)  b = Gemm <transB = 1> (i, v2)
      }`;
    const removed = async (ratio: number) => {
      const options = { ratio, by: "macs", roundTo: 2, ranking: "global", normalize: "none" } as const;
      return (await pruneChannels(model, options, undefined)).groups.map((group) => group.removed);
    };
    expect([await removed(0.02), await removed(0.3), await removed(0.48)]).toEqual([
      [2, 0],
      [0, 2],
      [2, 2],
    ]);
  });

  it("that can't all go: says what holds the ratio up", async () => {
    const { reached, notes, groups } = await channels({ ratio: 0.9, by: "macs" });
    expect([reached, groups[0]?.removed]).toEqual([false, 3]);
    expect(notes).toEqual(["90 % of macs can't be removed, 75.0 % were: first keeps 1"]);
  });

  it("by macs need shapes", async () => {
    const model = parse(
      `<ir_version: 10, opset_import: ["": 21]> g (float[N,2] x) => (y) <float[2,2] w = {1, 2, 3, 4}> { a = Unknown(x)  y = Gather(w, a) }`,
    );
    const options = { ratio: 0.5, by: "macs" } as const;
    await expect(pruneChannels(model, options, undefined)).rejects.toMatchObject({ code: "bad-recipe" });
  });

  it("of protected layers stay", async () => {
    const { groups, model, reached } = await channels({ ratio: 0.5, protect: "fir*" });
    expect(groups).toMatchObject([{ removed: 0, reason: "protected" }]);
    expect([reached, model.graph.find("b")?.tensor?.dims]).toEqual([false, [4]]);
  });

  it("of inputs and outputs go when asked for", async () => {
    const { model } = await channels({ ratio: 0.5, cutInterface: true });
    expect(model.graph.inputs[0]?.type).toMatchObject({ shape: ["N", 2] });
    expect(model.graph.outputs[0]?.type).toMatchObject({ shape: ["N", 1] });
  });

  it("that depend on themselves through a shared weight stay", async () => {
    const model = parse(`<ir_version: 10, opset_import: ["": 21]> g (float[1,2] x) => (float[1,2] y)
      <float[2,2] w = {1, 2, 3, 4}> { a = MatMul(x, w)  b = Relu(a)  y = MatMul(b, w) }`);
    const { groups, kept } = await pruneChannels(model, { ratio: 0.5 }, undefined);
    expect(groups).toEqual([]);
    expect(kept).toMatchObject([{ layer: "a", channels: 2 }]);
  });

  it.each([
    [{ ratio: 0.5, protect: "fist" }, /^layer "fist": no such layer: .* Nearest: "first"\.$/],
    [{ ratio: 0.5, criterion: "activation-norm" }, /criterion "activation-norm" needs calibration data/],
    [{ ratio: 0.5, recover: "mean" }, /recovery "mean" needs calibration data/],
    [{ ratio: 0.5, criterion: "sparsegpt" }, /criterion "sparsegpt" is for weights/],
    [{ ratio: 0.5, criterion: "taylor" }, /criterion "taylor" needs calibration data/],
  ] as const)("refuse %j", async (options, message) => {
    await expect(channels(options)).rejects.toMatchObject({
      code: "bad-recipe",
      message: expect.stringMatching(message),
    });
  });

  it.each([{ ratio: 1.5 }, { ratio: -0.1 }, { structure: "rows" }, { roundTo: 0 }])("have no option %j", (options) => {
    expect(pruneOptions.safeParse(options).success).toBe(false);
  });
});

describe("criteria", () => {
  const slice = {
    name: "w",
    channels: 3,
    seed: 1,
    weight: () => ({ values: Float32Array.of(3, -4, 0, 1, 6, -8), elements: 2 }),
    gamma: () => [-1, 2, 0],
    measured: () => undefined,
  };
  it("score channels", () => {
    expect(Array.from(criteria.l1.score(slice) ?? [])).toEqual([7, 1, 14]);
    expect(Array.from(criteria.l2.score(slice) ?? [])).toEqual([5, 1, 10]);
    expect(Array.from(criteria["bn-gamma"].score(slice) ?? [])).toEqual([1, 2, 0]);
    const [a, b, c] = [Math.hypot(3, -5), Math.hypot(3, -4), Math.hypot(6, -9)];
    const distances = [a + b, a + c, b + c].map((sum) => expect.closeTo(sum, 9));
    expect(Array.from(criteria.fpgm.score(slice) ?? [])).toEqual(distances);
    expect(criteria.random.score(slice)).toEqual(criteria.random.score(slice));
    expect(criteria["activation-norm"].score(slice)).toBeUndefined();
  });
});

describe("weights", () => {
  const zeros = async (options: PruneOptions) => {
    const { model, layers } = await weights(options);
    return { values: ["w", "v"].map((name) => numbers(model.graph.find(name)?.tensor)), layers: layers() };
  };

  it("go by magnitude over the whole model, exactly as many as asked for", async () => {
    const { values, layers } = await zeros({ ratio: 0.5 });
    expect(values).toEqual([
      [0, 0, 4, 0, 0, 0, 3, 0],
      [0, 0, 3, 4, 5, 6, 7, 8],
    ]);
    expect(layers.map(({ zeros: count }) => count)).toEqual([6, 2]);
  });

  it("go by layer, by threshold, by block and by pattern", async () => {
    expect((await zeros({ ratio: 0.5, ranking: "layer" })).values[1]).toEqual([0, 0, 0, 0, 5, 6, 7, 8]);
    expect((await zeros({ threshold: 2.5 })).values[1]).toEqual([0, 0, 3, 4, 5, 6, 7, 8]);
    expect((await zeros({ structure: "block:1x2", ratio: 0.25, ranking: "layer" })).values[1]).toEqual([
      0, 0, 3, 4, 5, 6, 7, 8,
    ]);
    const pattern = await zeros({ structure: "2:4" });
    expect(pattern.values[1]).toEqual([0, 0, 3, 4, 0, 0, 7, 8]);
    expect(pattern.layers[0]?.reason).toBe("2 inputs are fewer than 4");
  });

  it("of layers of different scales are ranked as LAMP says, or by their share of the mean", async () => {
    // Magnitudes 1, 4, 2, 3 and four zeros; 1 to 8. By magnitude the second layer would lose two.
    const of = async (normalize: "lamp" | "mean", ratio: number) => (await zeros({ ratio, normalize })).values;
    // Of v, 1 is 1 / 204 of its layer; of w, 1 is 1 / 30.
    expect(await of("lamp", 5 / 16)).toEqual([
      [1, 0, 4, 0, 2, 0, 3, 0],
      [0, 2, 3, 4, 5, 6, 7, 8],
    ]);
    // Means are 1.25 and 4.5: 1 is 0.8 of the one, 0.22 of the other.
    expect((await of("mean", 7 / 16))[1]).toEqual([0, 0, 0, 4, 5, 6, 7, 8]);
  });

  it("have ratios of their own by layer", async () => {
    const { values, layers } = await zeros({ ratio: 0.5, layers: "second@0.25,first@keep" });
    expect(values[1]).toEqual([0, 0, 3, 4, 5, 6, 7, 8]);
    expect(layers[0]).toMatchObject({ reason: "kept as asked", zeros: 4 });
  });

  it("of ratio 0 stay, and the model with them", async () => {
    const model = source();
    const options = { structure: "weights", ratio: 0 };
    expect((await pruneWeights(model, options, undefined)).model).toBe(model);
  });

  it("of a convolution follow N:M along its inputs", async () => {
    const model = parse(
      `<ir_version: 10, opset_import: ["": 21]> g (float[1,2,3,3] x) => (y) <float[1,2,1,2] w = {1, 5, 2, 4}> { y = Conv(x, w) }`,
    );
    const result = await pruneWeights(model, { structure: "1:2" }, undefined);
    expect(numbers(result.model.graph.find("w")?.tensor)).toEqual([0, 5, 2, 0]);
  });

  it.each([
    [{ ratio: 0.5, layers: "third" }, /^layer "third": no such layer/],
    [{ ratio: 0.5, layers: "first@2" }, /expected keep or a ratio/],
    [{ ratio: 0.5, criterion: "sparsegpt" }, /criterion "sparsegpt" needs calibration data/],
    [{ ratio: 0.5, criterion: "fpgm" }, /criterion "fpgm" is for channels/],
    [{ ratio: 0.5, structure: "2:4" }, /has a ratio of its own/],
    [{ ratio: 0.5, threshold: 1 }, /say the same twice/],
    [{ ratio: 0.5, recover: "mean" }, /recover "mean" is for channels/],
  ] as const)("refuse %j", async (options, message) => {
    await expect(weights(options)).rejects.toMatchObject({
      code: "bad-recipe",
      message: expect.stringMatching(message),
    });
  });

  it("know no pattern that keeps all", () => {
    expect(() => structureOf("4:4")).toThrow("expected N of M to stay with 1 <= N < M <= 1024");
  });
});

it("shares nothing with the model that it was given", async () => {
  const model = source();
  const before = float32([4, 2], [1, 0, 4, 0, 2, 0, 3, 0]);
  await pruneChannels(model, { ratio: 0.5 }, undefined);
  expect(numbers(model.graph.find("w")?.tensor)).toEqual(numbers(before));
});
