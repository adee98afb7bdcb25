/**
 * @file SmoothQuant: moves the size of outlier channels from activations to weights, so that both quantize well
 * (Xiao et al. 2022, https://arxiv.org/abs/2211.10438). The model computes the same.
 */
import * as z from "zod";
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { unlistInitializers } from "../../passes/constants.ts";
import type { TypeOf } from "../../passes/fold-batch-norm/layers.ts";
import { inferTypes } from "../../passes/infer-shapes.ts";
import { edit } from "../../passes/pass.ts";
import { TersorError } from "../../util/errors.ts";
import { parseOptions } from "../../util/options.ts";
import { foldInputScale } from "./fold-scale.ts";
import { type InputLayer, inputLayers, largestPerInput } from "./input-layers.ts";
import { layerSquares, outputNoise } from "./noise.ts";

export const smoothQuantOptions = z.strictObject({
  alpha: z
    .union([z.literal("auto"), z.number().min(0).max(1)])
    .default("auto")
    .describe(
      "share of the outliers that moves to the weights; auto: for every input the one from which least noise is expected",
    ),
  insertMul: z.boolean().default(false).describe("insert a Mul where no constant of the model takes the division in"),
  operators: z
    .array(z.enum(["MatMul", "Gemm", "Conv"]))
    .default(["MatMul", "Gemm"])
    .describe("which layers"),
});

/** One number per channel of a value: along the last axis for MatMul and Gemm, axis 1 for Conv. */
export type ChannelStats = ReadonlyMap<string, Float32Array>;

export interface EqualizedValue {
  readonly value: string;
  /** Names of the layers' nodes or outputs. */
  readonly layers: readonly string[];
  /** Where the division went; undefined: nowhere, left as it was. */
  readonly place: "producer" | "mul" | undefined;
}

export interface EqualizeResult {
  readonly model: Model;
  readonly modified: boolean;
  readonly values: readonly EqualizedValue[];
}

/** What `alpha: "auto"` chooses from, or it leaves an input as it is. */
const ALPHAS = Array.from({ length: 21 }, (_, i) => i / 20);

/**
 * Scales the inputs of layers by max|x|^alpha / max|w|^(1 - alpha) per channel.
 * @param absMax largest |x| per channel, by name of the layers' inputs; inputs without it are left alone
 * @param meanSquare mean x² likewise; `alpha: "auto"` needs it, and leaves inputs without it alone
 * @throws bad-data when a statistic has the wrong number of channels
 */
export function smoothQuant(
  model: Model,
  absMax: ChannelStats,
  options: z.input<typeof smoothQuantOptions> = {},
  meanSquare: ChannelStats = new Map(),
): EqualizeResult {
  const { alpha, insertMul, operators } = parseOptions(smoothQuantOptions, options, "smoothquant");
  return equalizeInputs(model, { insertMul, operators }, (value, layers) => {
    const largest = checked(absMax.get(value.name), value, layers);
    if (!largest) return undefined;
    const weights = largestOf(layers);
    if (alpha !== "auto") return scaleOf(largest, weights, alpha);
    const squares = checked(meanSquare.get(value.name), value, layers);
    if (!squares) return undefined;
    const own = layers.map(layerSquares);
    const noiseOf = (scale: ArrayLike<number>) => outputNoise(own, { absMax: largest, meanSquare: squares }, scale);
    let best: number[] | undefined;
    let least = noiseOf(new Float64Array(weights.length).fill(1));
    for (const each of ALPHAS) {
      const scale = scaleOf(largest, weights, each);
      const noise = noiseOf(scale);
      if (noise >= least) continue;
      least = noise;
      best = scale;
    }
    return best;
  });
}

/** Largest |w| of each input channel's weights, over all layers. */
function largestOf(layers: readonly InputLayer[]): Float64Array {
  const [first = new Float64Array(), ...rest] = layers.map(largestPerInput);
  return first.map((w, i) => Math.max(w, ...rest.map((each) => each[i] as number)));
}

function scaleOf(absMax: Float32Array, weights: Float64Array, alpha: number): number[] {
  return Array.from(absMax, (x, i) => {
    const w = weights[i] ?? 0;
    // A dead input or channel says nothing.
    return x > 0 && w > 0 ? Math.min(1e5, Math.max(1e-5, x ** alpha / w ** (1 - alpha))) : 1;
  });
}

/** Divides the inputs of layers by given scales, such as those of AWQ, by name of the input. */
export function scaleInputs(
  model: Model,
  scales: ChannelStats,
  options: { readonly insertMul?: boolean; readonly operators?: readonly string[] } = {},
): EqualizeResult {
  const { insertMul = true, operators = ["MatMul", "Gemm", "Conv"] } = options;
  return equalizeInputs(model, { insertMul, operators }, (value) => scales.get(value.name));
}

type Choose = (value: Value, layers: readonly InputLayer[]) => ArrayLike<number> | undefined;

function equalizeInputs(
  model: Model,
  { insertMul, operators }: { readonly insertMul: boolean; readonly operators: readonly string[] },
  choose: Choose,
): EqualizeResult {
  const values: EqualizedValue[] = [];
  const result = edit(model, (copy) => {
    unlistInitializers(copy);
    const types = inferTypes(copy);
    const typeOf: TypeOf = (value) => value && (value.tensor ? value.type : (types.get(value) ?? value.type));
    for (const graph of copy.graphs()) {
      for (const value of [...graph.values]) {
        const layers = inputLayers(value).filter(({ node }) => node.graph === graph && operators.includes(node.opType));
        const scale = layers.length > 0 ? checked(choose(value, layers), value, layers) : undefined;
        if (!scale) continue;
        const place = foldInputScale(value, scale, layers, typeOf, { insertMul });
        values.push({ value: value.name, layers: layers.map(({ node }) => nameOf(node)), place });
      }
    }
    return values.some(({ place }) => place !== undefined);
  });
  return { ...result, values };
}

/** What is known of a value per channel, if its length is right. */
function checked<T extends ArrayLike<number>>(
  numbers: T | undefined,
  { name }: Value,
  layers: readonly InputLayer[],
): T | undefined {
  const wrong = numbers && layers.find(({ channels }) => channels !== numbers.length);
  if (!wrong) return numbers;
  throw new TersorError(
    "bad-data",
    `value "${name}": wrong number of channels in its statistic: expected ${wrong.channels}, got ${numbers.length}. Calibrate again with this model.`,
  );
}

function nameOf(node: Node): string {
  return node.name || node.output().name;
}
