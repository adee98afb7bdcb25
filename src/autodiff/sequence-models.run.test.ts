/** @file Gradients of real sequence models, an LSTM and a transformer, against central differences along the gradient. */
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { withSession } from "../../test/run-model.ts";
import type { Model } from "../ir/model.ts";
import type { Value } from "../ir/value.ts";
import { loadModel } from "../node/load.ts";
import type { Feeds } from "../runtime/io.ts";
import { type HostTensor, hostTensor, numbersOf } from "../tensor/host-tensor.ts";
import { elementCount, fromNumbers } from "../tensor/tensor.ts";
import { gradient } from "./gradient.ts";

interface RealModel {
  readonly path: string;
  readonly feeds: Feeds;
  /** Parameters and inputs that are moved along their gradients. */
  readonly moved: readonly string[];
}

function waves(dims: readonly number[], scale: number): HostTensor {
  return hostTensor(
    "float32",
    dims,
    Float64Array.from({ length: elementCount(dims) }, (_, i) => scale * Math.sin(i * (1 + i / 4000))),
  );
}

/** How far, in units of the gradient's length: float32 tells nothing of smaller steps. */
const step = 0.005;

const tokens = Float64Array.from({ length: 34 }, (_, i) => (i * 37) % 512);

const models: readonly RealModel[] = [
  {
    path: "../shared/data/models/silero_vad_half.onnx",
    feeds: { input: waves([2, 576], 0.3), state: waves([2, 2, 128], 0.5) },
    moved: [
      "state",
      "decoder.rnn.weight_ih",
      "decoder.rnn.weight_hh",
      "decoder.rnn.bias_hh",
      "decoder.decoder.2.weight",
    ],
  },
  {
    path: "../shared/data/stories260k/stories260K.onnx",
    feeds: { input_ids: hostTensor("int64", [2, 17], tokens) },
    moved: ["tok_embeddings.weight", "layers.0.wq", "layers.2.wv", "layers.4.w2"],
  },
];

/** Adds the sum of all float outputs, each weighted by cosines and squashed, and gives their names. */
function addLoss(model: Model, sizes: ReadonlyMap<string, number>): void {
  const { graph } = model;
  const flat = graph.addInitializer("flat", fromNumbers("int64", [1], [-1]));
  const parts = [...sizes].map(([name, size]) => {
    const cosines = Float64Array.from({ length: size }, (_, i) => Math.cos(i) / Math.sqrt(size));
    const weights = graph.addInitializer("weights", fromNumbers("float32", [size], cosines));
    const value = graph.find(name) as Value;
    const squashed = graph.addNode({ opType: "Tanh", inputs: [value] }).output();
    const y = graph.addNode({ opType: "Reshape", inputs: [squashed, flat] }).output();
    return graph.addNode({ opType: "MatMul", inputs: [y, weights] }).output();
  });
  graph.addNode({ opType: "Sum", inputs: parts, outputs: ["the loss"] });
}

/** The loss where an input or a parameter is moved by `factor` times its gradient. */
async function lossAt(model: Model, feeds: Feeds, name: string, gradient: HostTensor, factor: number): Promise<number> {
  const copy = model.clone();
  const loss = copy.graph.find("the loss");
  if (loss && !loss.isOutput) copy.graph.addOutput(loss);
  const value = copy.graph.find(name);
  const g = numbersOf(gradient, name);
  const move = (from: ArrayLike<number>) => Float64Array.from(from, (x, i) => x + factor * (g[i] as number));
  const input = feeds[name];
  if (value?.tensor) value.tensor = fromNumbers("float32", gradient.dims, move(value.tensor.toNumbers()));
  const fed = input ? { ...feeds, [name]: hostTensor("float32", gradient.dims, move(numbersOf(input, name))) } : feeds;
  return withSession(copy, async (session) => Number((await session.run(fed))["the loss"]?.data[0]));
}

describe("gradients of real sequence models agree with central differences", () => {
  it.for(models.map((each) => [each.path.replace(/.*\//, ""), each] as const))(
    "%s",
    async ([, { path, feeds, moved }], { skip }) => {
      skip(!existsSync(path), `${path} is not there`);
      const model = loadModel(path).clone();
      const outputs = await withSession(model, (session) => session.run(feeds));
      addLoss(model, new Map(Object.entries(outputs).map(([name, { data }]) => [name, data.length])));
      const shapes = Object.fromEntries(Object.entries(feeds).map(([name, { dims }]) => [name, dims]));
      const result = gradient(model, { of: "the loss", with: moved, shapes });
      expect(result.withoutGradient).toEqual([]);
      const gradients = await withSession(result.model, (session) => session.run(feeds));
      for (const name of moved) {
        const g = gradients[result.gradients.get(name) ?? ""] as HostTensor;
        const norm = Math.hypot(...Array.from(numbersOf(g, name)));
        const slope =
          ((await lossAt(model, feeds, name, g, step / norm)) - (await lossAt(model, feeds, name, g, -step / norm))) /
          (2 * step);
        expect(Math.abs(slope - norm) / norm, `${name}: ${slope}, not ${norm}`).toBeLessThan(2e-3);
      }
    },
  );
});
