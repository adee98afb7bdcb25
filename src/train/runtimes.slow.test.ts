/** @file The same training, twice and in another runtime: the same bytes on one machine, the same losses in wasm. */
import { describe, expect, it } from "vitest";
import { encode } from "../../test/wire.ts";
import { datasetOf, type Sample } from "../data/dataset.ts";
import * as nn from "../nn/index.ts";
import { inProcessRuntime } from "../runtime/in-process.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import { Rng } from "../util/rng.ts";
import { fit as trainModel } from "./fit.ts";
import type { TrainOptions } from "./options.ts";

const CLASSES = 3;

/** Noise with a label: nothing to learn, all to compute. */
function noise(dims: readonly number[], integers?: number) {
  const size = dims.reduce((a, b) => a * b, 1);
  const samples = Array.from({ length: 32 }, (_, i): Sample => {
    const rng = new Rng(5, `${i}`);
    const next = () => (integers === undefined ? rng.normal() : Math.floor(rng.uniform() * integers));
    const values = Array.from({ length: size }, next);
    const x = hostTensor(integers === undefined ? "float32" : "int64", [1, ...dims], values);
    return { id: `#${i}`, inputs: { x }, label: i % CLASSES };
  });
  return datasetOf("noise", samples);
}

const networks = {
  "convolutions, batch norm, dropout; momentum": {
    layers: [
      nn.conv2d(6, 3, { padding: 1, bias: false }),
      nn.batchNorm(),
      nn.relu(),
      nn.maxPool(2),
      nn.depthwiseConv2d(3, { stride: 2, padding: 1 }),
      nn.hardSwish(),
      nn.flatten(),
      nn.dropout(0.2),
      nn.linear(CLASSES),
    ],
    build: { input: [2, 8, 8] },
    data: noise([2, 8, 8]),
    options: { optimizer: "momentum", rate: 0.02 },
  },
  "LSTM; Adam": {
    layers: [nn.lstm(8, { bidirectional: true }), nn.poolSteps("max"), nn.linear(CLASSES)],
    build: { input: [9, 4] },
    data: noise([9, 4]),
    options: { optimizer: "adam", clipNorm: 0.5 },
  },
  "transformer; AdamW": {
    layers: [
      nn.embedding(20, 8),
      nn.positions(7),
      nn.transformerEncoderBlock({ heads: 2, dropout: 0.1 }),
      nn.layerNorm(),
      nn.poolSteps(),
      nn.linear(CLASSES),
    ],
    build: { input: [7], dtype: "int64" },
    data: noise([7], 20),
    options: { optimizer: { name: "adamw", weightDecay: 0.1 }, loss: { name: "cross-entropy", labelSmoothing: 0.1 } },
  },
} as const satisfies Readonly<
  Record<string, { layers: readonly nn.Layer[]; build: nn.BuildOptions; data: unknown; options: TrainOptions }>
>;

describe.each(Object.entries(networks))("%s", (_, { layers, build, data, options }) => {
  const run = async (runtime: "ort-node" | "ort-web", threads: number) => {
    const steps: number[] = [];
    const settings = { epochs: 2, batchSize: 8, ...options } as TrainOptions;
    const env = { runtime: inProcessRuntime(runtime), session: { threads }, data };
    const model = nn.build(layers, { ...build, seed: 3 });
    const result = await trainModel(model, settings, { ...env, onStep: ({ loss }) => void steps.push(loss) });
    return { steps, bytes: encode(result.model) };
  };

  it("has the same losses in wasm, to 5 digits", async () => {
    const [node, web] = [await run("ort-node", 1), await run("ort-web", 1)];
    expect(node.steps).toHaveLength(8);
    for (const [i, loss] of node.steps.entries())
      expect(Math.abs(((web.steps[i] as number) - loss) / loss), `step ${i}`).toBeLessThan(1e-5);
  });

  it("gives the same file twice, with one thread and with two", async () => {
    for (const threads of [1, 2])
      expect((await run("ort-node", threads)).bytes).toEqual((await run("ort-node", threads)).bytes);
  });
});
