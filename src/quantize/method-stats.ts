/** @file What methods that look at data need to know: X^T X of every layer's inputs, gathered in one pass. */
import { type CalibrateOptions, calibrate } from "../calibrate/calibrate.ts";
import type { Collector } from "../calibrate/collector.ts";
import { type Gram, gramOfPatches, gramOfRows } from "../calibrate/gram.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import { inferShapes } from "../passes/infer-shapes.ts";
import type { MethodRun } from "./methods/index.ts";
import { methods } from "./methods/index.ts";
import { findLayers, opKey, type WeightLayer } from "./sites.ts";
import type { MethodName } from "./spec.ts";

/** By the name of the weight. */
export type MethodStats = ReadonlyMap<string, Gram>;

/** How the inputs of an operator with its weight on the right are seen; others are quantized without data. */
const collectors: Readonly<Record<string, (node: Node) => Collector<Gram> | undefined>> = {
  MatMul: gramOfRows,
  Gemm: (node) => (node.int("transA", 0) === 0 ? gramOfRows() : undefined),
  Conv: gramOfPatches,
};

/** Runs the model on the data. @throws as {@link calibrate} */
export async function collectMethodStats(model: Model, data: Dataset, running: CalibrateOptions): Promise<MethodStats> {
  const typed = inferShapes(model).model;
  const wanted = new Map<string, { weights: string[]; own: Collector<Gram>[] }>();
  for (const layer of findLayers(typed).layers) {
    const seen = inputOf(layer);
    if (!seen || seen.value.graph !== typed.graph) continue;
    const entry = wanted.get(seen.value.name) ?? { weights: [], own: [] };
    wanted.set(seen.value.name, entry);
    entry.weights.push(layer.value.name);
    entry.own.push(seen.collector);
  }
  const byValue = new Map([...wanted].map(([name, { own }]) => [name, own]));
  const { stats } = await calibrate(typed, data, byValue, running);
  const pairs = [...wanted].flatMap(([name, { weights }]) =>
    weights.map((weight, i) => [weight, stats.get(name)?.[i] as Gram] as const),
  );
  return new Map(pairs);
}

function inputOf({ sites }: WeightLayer) {
  for (const { node, input } of sites) {
    const value = node.inputs[0];
    const collector = input === 1 && value && !value.isConstant ? collectors[opKey(node)]?.(node) : undefined;
    if (value && collector) return { value, collector };
  }
  return undefined;
}

/** A method bound to a layer, or the reason why the layer is rounded plainly instead. */
export function methodRun(layer: WeightLayer, name: MethodName, stats: MethodStats | undefined): MethodRun | string {
  const method = methods[name];
  const gram = stats?.get(layer.value.name);
  if (method.needs !== "nothing" && !gram) return `${name} sees no inputs of this layer: rtn instead`;
  const square = gram ? gram.k * gram.k : 0;
  return {
    method: method as MethodRun["method"],
    options: method.options.parse({}),
    stats: (part) =>
      gram ? { hessian: Float32Array.from(gram.sums.subarray(part * square, (part + 1) * square)) } : {},
    axes: layer.axes,
    groups: gram?.groups ?? 1,
  };
}
