/** @file Gradients of whole models against PyTorch in float64: the figures are in test/fixtures/gradients.json, with the script that made them in scripts/. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { runModel } from "../../test/run-model.ts";
import type { Model } from "../ir/model.ts";
import { loadModel } from "../node/load.ts";
import { type HostTensor, hostTensor, numbersOf } from "../tensor/host-tensor.ts";
import { elementCount, fromNumbers } from "../tensor/tensor.ts";
import { gradient } from "./gradient.ts";

interface Fixture {
  readonly file: string;
  /** Operators in whose place others stand, without kinks. */
  readonly replaced: Readonly<Record<string, string>>;
  readonly shape: readonly number[];
  /** By parameter: the norm of its gradient g, and sum_i cos(i) g_i. */
  readonly gradients: Readonly<Record<string, readonly [norm: number, product: number]>>;
}

const fixtures: readonly Fixture[] = JSON.parse(
  readFileSync(new URL("../../test/fixtures/gradients.json", import.meta.url), "utf8"),
);

/** Where in float32 some of 800,000 Relus see the other side of zero: with operators without kinks in their place, 1e-5 holds. */
const tolerances: Readonly<Record<string, number>> = { "squeezenet1_0_dc.onnx": 1e-3 };

/** What PyTorch was told to differentiate: sum_j cos(j) y_j over the flat first output. */
function addLoss(model: Model, size: number): void {
  const { graph } = model;
  const flat = graph.addInitializer("flat", fromNumbers("int64", [1], [-1]));
  const weights = graph.addInitializer(
    "weights",
    fromNumbers(
      "float32",
      [size],
      Float64Array.from({ length: size }, (_, j) => Math.cos(j)),
    ),
  );
  const y = graph.addNode({ opType: "Reshape", inputs: [graph.outputs[0], flat] }).output();
  graph.addNode({ opType: "MatMul", inputs: [y, weights], outputs: ["the loss"] });
}

describe("gradients of whole models are PyTorch's", () => {
  it.for(fixtures)("$file $replaced", async ({ file, replaced, shape, gradients }, { skip }) => {
    const path = `../shared/data/models/${file}`;
    skip(!existsSync(path), `${path} is not there`);
    const model = loadModel(path).clone();
    for (const node of [...model.graph.nodes]) {
      const opType = replaced[node.opType];
      if (opType === undefined) continue;
      const attributes = Object.fromEntries(node.attributes);
      model.graph.replaceNode(node, { opType, inputs: node.inputs, attributes });
    }
    const input = model.graph.inputs.find((value) => !value.isConstant)?.name ?? "";
    const sines = Float64Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(i / 7));
    const feeds = { [input]: hostTensor("float32", shape, sines) };
    const y = (await runModel(model, feeds))[model.graph.outputs[0]?.name ?? ""] as HostTensor;
    addLoss(model, y.data.length);
    const result = gradient(model, { of: "the loss", with: Object.keys(gradients), shapes: { [input]: shape } });
    expect(result.withoutGradient).toEqual([]);
    const outputs = await runModel(result.model, feeds);
    let worst = 0;
    for (const [parameter, [norm, product]] of Object.entries(gradients)) {
      const g = numbersOf(outputs[result.gradients.get(parameter) ?? ""] as HostTensor, parameter);
      let [squares, sum] = [0, 0];
      Array.from(g).forEach((value, i) => {
        squares += value * value;
        sum += Math.cos(i) * value;
      });
      const error = Math.max(Math.abs(Math.sqrt(squares) - norm), Math.abs(sum - product));
      worst = Math.max(worst, error / (norm + 1e-6));
    }
    const isSmooth = Object.keys(replaced).length > 0;
    expect(worst).toBeLessThan((isSmooth ? undefined : tolerances[file]) ?? 1e-5);
  });
});
