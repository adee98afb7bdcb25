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
import { foldInputScale } from "./fold-scale.ts";
import { inputLayers, largestPerInput } from "./input-layers.ts";

export const smoothQuantOptions = z.strictObject({
  alpha: z.number().min(0).max(1).default(0.5).describe("share of the outliers that moves to the weights"),
  insert: z.boolean().default(false).describe("insert a Mul where no constant of the model takes the division in"),
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

/**
 * Scales the inputs of layers by max|x|^alpha / max|w|^(1 - alpha) per channel.
 * @param absMax largest |x| per channel, by name of the layers' inputs; inputs without it are left alone
 * @throws bad-data when a statistic has the wrong number of channels
 */
export function smoothQuant(
  model: Model,
  absMax: ChannelStats,
  options: z.input<typeof smoothQuantOptions> = {},
): EqualizeResult {
  const { alpha, insert, operators } = smoothQuantOptions.parse(options);
  return equalizeInputs(model, { insert, operators }, (value, layers) => {
    const largest = absMax.get(value.name);
    if (!largest) return undefined;
    const weights = layers.map(largestPerInput);
    return Array.from(largest, (x, i) => {
      const w = Math.max(...weights.map((each) => each[i] as number));
      // A dead input or channel says nothing.
      return x > 0 && w > 0 ? Math.min(1e5, Math.max(1e-5, x ** alpha / w ** (1 - alpha))) : 1;
    });
  });
}

/** Divides the inputs of layers by given scales, such as those of AWQ, by name of the input. */
export function scaleInputs(
  model: Model,
  scales: ChannelStats,
  options: { readonly insert?: boolean; readonly operators?: readonly string[] } = {},
): EqualizeResult {
  const { insert = true, operators = ["MatMul", "Gemm", "Conv"] } = options;
  return equalizeInputs(model, { insert, operators }, (value) => scales.get(value.name));
}

type Choose = (value: Value, layers: ReturnType<typeof inputLayers>) => ArrayLike<number> | undefined;

function equalizeInputs(
  model: Model,
  { insert, operators }: { readonly insert: boolean; readonly operators: readonly string[] },
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
        const [first] = layers;
        const scale = first && choose(value, layers);
        if (!first || !scale) continue;
        if (layers.some(({ channels }) => channels !== scale.length))
          throw new TersorError(
            "bad-data",
            `value "${value.name}": wrong number of channels in its statistic: expected ${first.channels}, got ${scale.length}. Calibrate again with this model.`,
          );
        const place = foldInputScale(value, scale, layers, typeOf, { insert });
        values.push({ value: value.name, layers: layers.map(({ node }) => nameOf(node)), place });
      }
    }
    return values.some(({ place }) => place !== undefined);
  });
  return { ...result, values };
}

function nameOf(node: Node): string {
  return node.name || node.output().name;
}
