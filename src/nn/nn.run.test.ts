/** @file Tests of layers in ONNX Runtime: what they compute, that they learn, and that dropout goes on where it stopped. */
import { describe, expect, it } from "vitest";
import { runModel } from "../../test/run-model.ts";
import { encode } from "../../test/wire.ts";
import { datasetOf, type Sample } from "../data/dataset.ts";
import { inProcessRuntime } from "../runtime/in-process.ts";
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { type Checkpoint, type FitEnvironment, fit as trainModel } from "../train/fit.ts";
import type { TrainOptions } from "../train/options.ts";
import { Rng } from "../util/rng.ts";
import * as nn from "./index.ts";

/** Samples whose label says which third of the input is loudest, or, of integers, which third has the 9. */
function thirds(dims: readonly number[], dtype: "float32" | "int64", count = 192) {
  const size = dims.reduce((a, b) => a * b, 1);
  const samples = Array.from({ length: count }, (_, i): Sample => {
    const rng = new Rng(7, `${i}`);
    const label = rng.int(3);
    const at = (label * size) / 3;
    const isLoud = (j: number) => j >= at && j < at + size / 3;
    const spot = at + rng.int(size / 3);
    const values = Array.from({ length: size }, (_, j) =>
      dtype === "int64" ? (j === spot ? 9 : rng.int(9)) : rng.normal() + (isLoud(j) ? 1.5 : 0),
    );
    return { id: `#${i}`, inputs: { x: hostTensor(dtype, [1, ...dims], values) }, label };
  });
  return datasetOf("thirds", samples);
}

const environment = (data: FitEnvironment["data"]): FitEnvironment => ({
  runtime: inProcessRuntime("ort-node"),
  session: { threads: 1 },
  data,
});

describe("networks learn", () => {
  it.each<[string, readonly nn.Layer[], readonly number[], "float32" | "int64", number]>([
    [
      "convolutions",
      [
        nn.conv2d(8, 3, { padding: "same", bias: false }),
        nn.batchNorm(),
        nn.relu(),
        nn.residual([nn.depthwiseConv2d(3, { padding: 1 }), nn.hardSwish(), nn.conv2d(8, 1)]),
        nn.maxPool(2),
        nn.dropout(0.1),
        nn.flatten(),
        nn.linear(3),
      ],
      [1, 6, 6],
      "float32",
      6,
    ],
    [
      "an LSTM and a GRU",
      [nn.gru(8, { bidirectional: true }), nn.lstm(8, { give: "last" }), nn.linear(3)],
      [6, 4],
      "float32",
      10,
    ],
    [
      "a transformer",
      [
        nn.embedding(10, 8),
        nn.positions(16),
        nn.transformerEncoderBlock({ heads: 2, hidden: 16, dropout: 0.05 }),
        nn.layerNorm(),
        nn.poolSteps("mean"),
        nn.linear(3),
      ],
      [6],
      "int64",
      14,
    ],
  ])("%s", async (_, layers, input, dtype, epochs) => {
    const model = nn.build(layers, { input, dtype, seed: 1 });
    const options: TrainOptions = { rate: 0.02, epochs, batchSize: 32 };
    const { history, withoutGradient } = await trainModel(model, options, environment(thirds(input, dtype)));
    expect(withoutGradient).toEqual([]);
    expect(history.at(-1)?.loss).toBeLessThan((history[0]?.loss as number) / 2);
  });
});

describe("layers", () => {
  it("see only what is behind them when causal", async () => {
    const layers = [nn.positions(5), nn.transformerEncoderBlock({ heads: 2, causal: true })];
    const model = nn.build(layers, { input: ["T", 4], seed: 3 });
    const rng = new Rng(1);
    const values = Array.from({ length: 12 }, () => rng.normal());
    const run = async (count: number) => [
      ...(
        (await runModel(model, { x: hostTensor("float32", [1, count / 4, 4], values.slice(0, count)) })).y as HostTensor
      ).data,
    ];
    const [short, long] = [await run(8), await run(12)];
    short.forEach((value, i) => void expect(long[i]).toBeCloseTo(Number(value), 5));
  });

  it("take any batch and any number of steps", async () => {
    const model = nn.build([nn.lstm(3, { bidirectional: true }), nn.poolSteps("max")], { input: ["T", 2] });
    for (const [n, t] of [
      [1, 4],
      [3, 7],
    ] as const) {
      const { y } = await runModel(model, { x: hostTensor("float32", [n, t, 2], new Float32Array(n * t * 2).fill(1)) });
      expect(y?.dims).toEqual([n, 6]);
    }
  });
});

describe("dropout", () => {
  const model = nn.build([nn.linear(16), nn.relu(), nn.dropout(0.5), nn.linear(3)], { input: [6] });
  const train = (options: TrainOptions, env: Partial<FitEnvironment> = {}) =>
    trainModel(
      model,
      { epochs: 2, batchSize: 32, rate: 0.02, ...options },
      { ...environment(thirds([6], "float32")), ...env },
    );

  it("is inert in the model, and stays in it", async () => {
    const x = hostTensor("float32", [2, 6], [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]);
    const { y } = await runModel(model, { x });
    expect([...(y?.data ?? [])].slice(0, 3)).toEqual([...(y?.data ?? [])].slice(3));
    const { model: trained } = await train({ epochs: 0.2 });
    expect(trained.graph.nodes.map(({ opType }) => opType)).toEqual(["Gemm", "Relu", "Dropout", "Gemm"]);
  });

  it("drops by the seed, and after a break as without it", async () => {
    const whole = await train({});
    const controller = new AbortController();
    const saved: Checkpoint[] = [];
    const stopped = train(
      {},
      {
        signal: controller.signal,
        onStep: ({ step }) => void (step === 4 && controller.abort()),
        onCheckpoint: async (checkpoint) => void saved.push(structuredClone(checkpoint)),
      },
    );
    await expect(stopped).rejects.toMatchObject({ code: "aborted" });
    const rest = await train({}, { resume: saved.at(-1) });
    expect(encode(rest.model)).toEqual(encode(whole.model));
    expect((await train({ dropout: false })).history).not.toEqual(whole.history);
  });
});
