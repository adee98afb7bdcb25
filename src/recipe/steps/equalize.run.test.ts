/** @file The step that equalizes: outputs of the float model stay, whatever is asked for, and it says what it did. */
import { expect, test } from "vitest";
import { evaluate, randomFeeds, relativeError, runModel, withSession } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import type { StepContext } from "../step.ts";
import { equalizeStep, equalizeStepOptions } from "./equalize.ts";

const rng = new Rng(6, "equalize step");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() * 3 ** (3 * rng.uniform())),
  );

const model = parse`(float[N,4,6,6] x) => (y)
  <float[8,4,3,3] a = ${normal(8, 4, 3, 3)}, float[8,8,3,3] b = ${normal(8, 8, 3, 3)}, float[8] s = ${normal(8)}, float[8] t = ${normal(8)}, float[8,32] h = ${normal(8, 32)}> {
    a1 = Conv(x, a) a2 = Relu(a1) b1 = Conv(a2, b)
    p = GlobalAveragePool(b1) f = Flatten(p) n = LayerNormalization(f, s, t) y = MatMul(n, h) }`;

const feeds = await withSession(model, async ({ inputs }) => randomFeeds(inputs, 1, { x: [1, 4, 6, 6] }));

const context: StepContext = {
  original: model,
  seed: 0,
  dryRun: false,
  signal: new AbortController().signal,
  open: (each, { runtime, ...options }) => inProcessRuntime(runtime).create(encode(each), options),
  evaluate,
  size: async () => ({ bytes: 0 }),
  discard: () => {},
  data: async () => datasetOf("feeds", [{ id: "0", inputs: feeds }]),
  metric: () => expect.fail("equalizing has no metric"),
  runtime: async (name) => inProcessRuntime(name),
  model: () => expect.fail("equalizing needs no other model"),
  files: { read: async () => undefined, readOwn: async () => undefined, write: async () => {}, append: async () => {} },
  progress: () => ({ update: () => {}, end: () => {} }),
};

test("outputs stay, and every method says what it moved", async () => {
  const options = equalizeStepOptions.parse({
    equalize: "cross-layer,smoothquant,awq",
    calibrate: "feeds",
    dtype: "int4",
  });
  const { model: even, report } = await equalizeStep.run(model, options, context);
  expect(report().notes).toEqual([
    "cross-layer: 1 pair of neighbouring layers evened out",
    "smoothquant: inputs of layers scaled: 1",
    expect.stringMatching(/^awq: inputs of layers scaled: [01]$/),
  ]);
  expect(relativeError(await runModel(model, feeds), await runModel(even, feeds))).toBeLessThan(1e-5);
});

test("what looks at activations asks for data; a dry run does nothing", async () => {
  await expect(equalizeStep.run(model, equalizeStepOptions.parse({ equalize: ["awq"] }), context)).rejects.toThrow(
    /equalize awq: needs to see activations: expected calibration data/,
  );
  const dry = await equalizeStep.run(model, equalizeStepOptions.parse({ equalize: ["awq"] }), {
    ...context,
    dryRun: true,
  });
  expect(dry.model).toBe(model);
});
