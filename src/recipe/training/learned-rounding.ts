/** @file Methods that learn how weights are rounded, as steps use them: behind rounding to nearest. */
import * as z from "zod";
import { type Model, nestedGraphs } from "../../ir/model.ts";
import type { LeftConstant, RewrittenConstant } from "../../quantize/layers/left-float.ts";
import type { LayerReport } from "../../quantize/layers/report.ts";
import { type RoundingMethodName, roundingMethods } from "../../quantize/learned/reconstruct/index.ts";
import { type ReconstructedUnit, reconstruct } from "../../quantize/learned/reconstruct/reconstruct.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { TersorError } from "../../util/errors.ts";
import { type CalibrationOptions, openCalibration } from "../data/calibration.ts";
import type { StepContext } from "../step.ts";

export const iterationsOption = z
  .int()
  .min(1)
  .default(500)
  .describe("adaround and brecq: steps of training for each layer or block");

export function isRoundingMethod(name: string): name is RoundingMethodName {
  return name in roundingMethods;
}

/** The method that codes begin with. */
export function firstMethod<Name extends string>(name: Name): Exclude<Name, RoundingMethodName> | "rtn" {
  return isRoundingMethod(name) ? "rtn" : (name as Exclude<Name, RoundingMethodName>);
}

/** @throws bad-recipe: every variant of the search would be trained anew */
export function refuseBound(method: string): void {
  if (!isRoundingMethod(method)) return;
  throw new TersorError(
    "bad-recipe",
    `method ${method}: does not go with an accuracy bound: expected a method that does not train. Leave one out.`,
  );
}

export interface LearnedRounding {
  readonly model: Model;
  readonly notes: readonly string[];
  readonly units: readonly ReconstructedUnit[];
}

export interface LearningOptions {
  readonly method: RoundingMethodName;
  readonly iterations: number;
  readonly calibration: CalibrationOptions;
}

/** @throws bad-recipe without data; as {@link reconstruct} */
export async function learnRounding(
  float: Model,
  quantized: Model,
  { method, iterations, calibration }: LearningOptions,
  ctx: StepContext,
): Promise<LearnedRounding> {
  const opened = await openCalibration(float, calibration, ctx);
  if (!opened)
    throw new TersorError(
      "bad-recipe",
      `method ${method}: learns on samples: expected calibration data. Name some with calibrate.`,
    );
  let progress: ReturnType<StepContext["progress"]> | undefined;
  const { threads } = calibration;
  try {
    const { model, units } = await reconstruct(
      float,
      quantized,
      opened.data,
      { kind: roundingMethods[method].kind, iterations, seed: ctx.seed },
      {
        ...opened.running,
        runtime: await ctx.runtime("ort-node"),
        // Further optimizations compute in integers, and add codes of the wrong type to gradients that are moved.
        session: { spinning: false, optimization: "basic", ...(threads !== undefined && { threads }) },
        onProgress: (done, total) => {
          progress ??= ctx.progress("learning to round", total, "rounds");
          progress.update(done);
        },
      },
    );
    return { model, units, notes: [noteOf(method, units)] };
  } finally {
    progress?.end();
  }
}

function noteOf(method: RoundingMethodName, units: readonly ReconstructedUnit[]): string {
  const { kind } = roundingMethods[method];
  if (units.length === 0)
    return `${method}: no weights of 6 bits and fewer whose inputs can be seen: rounded to nearest`;
  const median = (of: (unit: ReconstructedUnit) => number) =>
    units.map(of).sort((a, b) => a - b)[Math.floor(units.length / 2)] as number;
  const [before, after] = [median((unit) => unit.before), median((unit) => unit.after)].map((db) => db.toFixed(1));
  const count = `${units.length} ${kind}${units.length === 1 ? "" : "s"}`;
  return `${method}: rounding of ${count} learned: median SQNR of their outputs on the calibration samples ${before} dB before, ${after} dB after`;
}

/** Reports without the weights' SQNR, which says nothing of weights that were rounded for the sake of outputs. */
export function withoutSqnr(layers: readonly LayerReport[]): LayerReport[] {
  return layers.map(({ sqnr: _, ...layer }) => layer);
}

/** What is said of constants that stay float, once some of them, such as biases, were trained with the rounding: those are rewritten. */
export function withTrained(
  { left, rewritten }: { readonly left: readonly LeftConstant[]; readonly rewritten: readonly RewrittenConstant[] },
  { float, quantized, trained }: { readonly float: Model; readonly quantized: Model; readonly trained: Model },
): { readonly left: readonly LeftConstant[]; readonly rewritten: readonly RewrittenConstant[] } {
  const constants = (model: Model) =>
    new Map(
      nestedGraphs(model.graph).flatMap(({ initializers }) => initializers.map(({ name, tensor }) => [name, tensor])),
    );
  const [were, are] = [constants(float), constants(trained)];
  const changed = [...constants(quantized)].flatMap(([weight, was]) => {
    const is = are.get(weight);
    return were.has(weight) && was && is && was !== is && dtypeInfo(is.dtype).kind === "float"
      ? [{ weight, dims: is.dims, as: is.dtype }]
      : [];
  });
  const names = new Set(changed.map(({ weight }) => weight));
  const known = new Set(rewritten.map(({ weight }) => weight));
  return {
    left: left.filter(({ weight }) => !names.has(weight)),
    rewritten: [...rewritten, ...changed.filter(({ weight }) => !known.has(weight))],
  };
}
