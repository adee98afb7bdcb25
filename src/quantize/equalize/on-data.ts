/** @file What SmoothQuant and AWQ need to see of a model's inputs, gathered on data, and their scales put into the model. */
import { type CalibrateOptions, calibrate } from "../../calibrate/calibrate.ts";
import { perChannel } from "../../calibrate/channels.ts";
import type { Collector } from "../../calibrate/collector.ts";
import { type Gram, gramOf, rowsOf } from "../../calibrate/gram.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import type { Value } from "../../ir/value.ts";
import type { QuantSpec } from "../grid/spec.ts";
import { findLayers, type WeightLayer } from "../layers/sites.ts";
import { matrixLayout, matrixOf } from "../methods/layer-matrices.ts";
import type { WeightMatrix } from "../methods/method.ts";
import { observable } from "../weights/method-stats.ts";
import { searchInputScale } from "./awq.ts";
import { type InputLayer, inputLayers } from "./input-layers.ts";
import type { InputStats } from "./noise.ts";
import { type EqualizeResult, scaleInputs, smoothQuant } from "./smoothquant.ts";

export interface SmoothQuantOptions {
  readonly alpha: number | "auto";
  /** Whether a Mul is inserted where no constant takes the division in. */
  readonly insertMul: boolean;
}

/** SmoothQuant of the inputs of MatMul and Gemm. @throws as {@link calibrate} */
export async function smoothQuantOnData(
  model: Model,
  data: Dataset,
  { alpha, insertMul }: SmoothQuantOptions,
  running: CalibrateOptions,
): Promise<EqualizeResult> {
  const typed = observable(model);
  const stats = await inputStats(typed, sharedInputs(typed), data, running);
  const absMax = new Map([...stats].map(([name, own]) => [name, own.absMax]));
  const meanSquare = new Map([...stats].map(([name, own]) => [name, own.meanSquare]));
  return smoothQuant(model, absMax, { alpha, insertMul }, meanSquare);
}

/** What {@link outputNoise} needs to know, by name of the input. @throws as {@link calibrate} */
export async function inputStats(
  typed: Model,
  inputs: readonly SharedInput[],
  data: Dataset,
  running: CalibrateOptions,
): Promise<ReadonlyMap<string, InputStats>> {
  const collectors = inputs.map(
    ({ value }) => [value.name, [perChannel("absmax", -1), perChannel("mean-square", -1)]] as const,
  );
  const { stats } = await calibrate(typed, data, new Map(collectors), running);
  return new Map(
    [...stats].map(([name, [absMax, meanSquare]]) => [
      name,
      { absMax: absMax as Float32Array, meanSquare: meanSquare as Float32Array },
    ]),
  );
}

/** AWQ's scaling of the inputs of MatMul and Gemm, whose weights will be quantized by `spec`. @throws as {@link calibrate} */
export async function awqOnData(
  model: Model,
  data: Dataset,
  spec: QuantSpec,
  { insertMul }: { readonly insertMul: boolean },
  running: CalibrateOptions,
): Promise<EqualizeResult> {
  const typed = observable(model);
  const layersOf = new Map(findLayers(typed).layers.map((layer) => [layer.value, layer]));
  const inputs = sharedInputs(typed).map(({ value, layers }) => {
    const matrices = layers.flatMap(({ weight }) => matrixFor(layersOf.get(weight), spec));
    return { value, matrices, gram: gramOf(rowsOf(matrices[0]?.k)), meanAbs: perChannel("absmean", -1) };
  });
  const collectors = inputs.map(({ value, gram, meanAbs }) => [value.name, [gram, meanAbs]] as const);
  await calibrate(typed, data, new Map<string, readonly Collector<Gram | Float32Array>[]>(collectors), running);
  const scales = inputs.map(({ value, matrices, gram, meanAbs }) => {
    const stats = { hessian: Float32Array.from(gram.result().sums), meanAbs: meanAbs.result() };
    return [value.name, searchInputScale(matrices, spec, stats)] as const;
  });
  // Alpha 0: nothing is better than the weights as they are.
  const better = scales
    .filter(([, { alpha }]) => alpha > 0)
    .map(([name, { inputScale }]) => [name, inputScale] as const);
  return scaleInputs(model, new Map(better), { insertMul, operators: ["MatMul", "Gemm"] });
}

export interface SharedInput {
  readonly value: Value;
  readonly layers: readonly InputLayer[];
}

/** Float32 values of the main graph that MatMul or Gemm multiply with constant weights. The model's types must be inferred. */
export function sharedInputs({ graph }: Model): SharedInput[] {
  return [...graph.values].flatMap((value) => {
    const isFloat = value.type?.kind === "tensor" && value.type.dtype === "float32" && !value.isConstant;
    const layers = isFloat
      ? inputLayers(value).filter(({ node }) => node.graph === graph && node.opType !== "Conv")
      : [];
    return layers.length > 0 ? [{ value, layers }] : [];
  });
}

function matrixFor(layer: WeightLayer | undefined, spec: QuantSpec): WeightMatrix[] {
  if (!layer) return [];
  const { value, weight, axes } = layer;
  const k = weight.dims[axes.group] as number;
  const { granularity } = spec;
  const isWider = granularity.per === "group" && granularity.size > k;
  const layout = matrixLayout(value.name, weight.dims, axes, isWider ? { per: "channel" } : granularity);
  return [matrixOf(value.name, weight, layout, 0)];
}
