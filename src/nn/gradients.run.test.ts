/** @file Gradients of whole recurrent networks and of a transformer against PyTorch's layers in float64: scripts/generate-sequence-gradients.py. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { runModel } from "../../test/run-model.ts";
import { gradient } from "../autodiff/gradient.ts";
import type { Model } from "../ir/model.ts";
import { type HostTensor, hostTensor, numbersOf } from "../tensor/host-tensor.ts";
import { elementCount, fromNumbers } from "../tensor/tensor.ts";
import * as nn from "./index.ts";

interface Parameter {
  readonly dims: readonly number[];
  /** Element i of the k-th parameter is shift + scale · sin(i + k). */
  readonly scale: number;
  readonly shift: number;
  /** The norm of its gradient g, and Σ cos(i) gᵢ. */
  readonly gradient: readonly [norm: number, product: number];
}

const fixtures: Readonly<Record<string, Readonly<Record<string, Parameter>>>> = JSON.parse(
  readFileSync(new URL("../../test/fixtures/sequence-gradients.json", import.meta.url), "utf8"),
);

const sines = (dims: readonly number[], k: number, { scale, shift }: { scale: number; shift: number }) =>
  Float64Array.from({ length: elementCount(dims) }, (_, i) => shift + scale * Math.sin(i + k));

const steps = { x: hostTensor("float32", [2, 7, 5], sines([2, 7, 5], 0, { scale: 1, shift: 0 })) };
const tokens = {
  x: hostTensor(
    "int64",
    [2, 6],
    Array.from({ length: 12 }, (_, i) => (7 * i) % 11),
  ),
};

const networks: Readonly<Record<string, { model: Model; feeds: Record<string, HostTensor> }>> = {
  lstm: {
    model: nn.build([nn.lstm(6, { bidirectional: true }), nn.lstm(4, { give: "last" }), nn.linear(3)], {
      input: [7, 5],
    }),
    feeds: steps,
  },
  gru: {
    model: nn.build([nn.gru(6, { bidirectional: true }), nn.gru(4, { give: "last" }), nn.linear(3)], { input: [7, 5] }),
    feeds: steps,
  },
  transformer: {
    model: nn.build(
      [
        nn.embedding(11, 8),
        nn.positions(6),
        nn.transformerEncoderBlock({ heads: 2, hidden: 16 }),
        nn.layerNorm(),
        nn.poolSteps(),
        nn.linear(3),
      ],
      { input: [6], dtype: "int64" },
    ),
    feeds: tokens,
  },
};

/** Σ cos(j) yⱼ over the output. */
function addLoss({ graph }: Model, size: number): void {
  const flat = graph.addInitializer("flat", fromNumbers("int64", [1], [-1]));
  const cosines = Array.from({ length: size }, (_, j) => Math.cos(j));
  const weights = graph.addInitializer("weights", fromNumbers("float32", [size], cosines));
  const y = graph.addNode({ opType: "Reshape", inputs: [graph.outputs[0], flat] }).output();
  graph.addNode({ opType: "MatMul", inputs: [y, weights], outputs: ["loss"] });
}

describe("gradients of whole networks are PyTorch's", () => {
  it.each(Object.entries(networks))("%s", async (name, { model, feeds }) => {
    const parameters = Object.entries(fixtures[name] ?? {});
    const { graph } = model;
    const own = graph.initializers.filter(({ tensor }) => tensor?.dtype === "float32" && tensor.dims.length > 0);
    expect(own.map((value) => value.name).sort()).toEqual(parameters.map(([key]) => key).sort());
    for (const [k, [key, each]] of parameters.entries()) {
      const value = graph.find(key);
      expect(value?.tensor?.dims).toEqual(each.dims);
      if (value) value.tensor = fromNumbers("float32", each.dims, sines(each.dims, k, each));
    }
    addLoss(model, 6);
    const shapes = Object.fromEntries(Object.entries(feeds).map(([key, { dims }]) => [key, dims]));
    const result = gradient(model, { of: "loss", with: parameters.map(([key]) => key), shapes });
    const outputs = await runModel(result.model, feeds);
    const largest = Math.max(...parameters.map(([, each]) => each.gradient[0]));
    for (const [
      key,
      {
        gradient: [norm, product],
      },
    ] of parameters) {
      const g = Array.from(numbersOf(outputs[result.gradients.get(key) ?? ""] as HostTensor, key));
      const length = Math.hypot(...g);
      const along = g.reduce((sum, value, i) => sum + Math.cos(i) * value, 0);
      // A key's bias in attention has no gradient but rounding.
      const scale = Math.max(norm, 1e-6 * largest);
      if (norm < 1e-9) expect(length, key).toBeLessThan(1e-6 * largest);
      else expect(Math.max(Math.abs(length - norm), Math.abs(along - product)) / scale, key).toBeLessThan(1e-5);
    }
  });
});
