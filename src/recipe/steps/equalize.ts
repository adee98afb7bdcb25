/** @file Step: moves scales between layers so that a later step quantizes them better; the model computes the same. */
import * as z from "zod";
import type { Model } from "../../ir/model.ts";
import { equalizeCrossLayer } from "../../quantize/equalize/cross-layer.ts";
import { awqOnData, smoothQuantOnData } from "../../quantize/equalize/on-data.ts";
import { type EqualizeResult, smoothQuantOptions } from "../../quantize/equalize/smoothquant.ts";
import { isInteger, plainSpec, resolveSpec, specOptions, withOwn } from "../../quantize/grid/spec.ts";
import { TersorError } from "../../util/errors.ts";
import { ownOptions } from "../../util/options.ts";
import { type CalibrationData, calibrationOptions, openCalibration } from "../data/calibration.ts";
import type { Step, StepContext } from "../step.ts";

export const equalizers = ["cross-layer", "smoothquant", "awq"] as const;
export type EqualizerName = (typeof equalizers)[number];

const names = z.array(z.enum(equalizers)).min(1);

export const equalizeStepOptions = z.strictObject({
  equalize: z
    .union([
      names,
      z
        .string()
        .transform((text) => text.split(",").map((name) => name.trim()))
        .pipe(names),
    ])
    .describe(
      "what to do, in order: cross-layer evens out the channels of neighbouring layers; smoothquant moves outliers of activations into weights; awq gives the weights that large activations meet finer steps",
    ),
  alpha: smoothQuantOptions.shape.alpha.describe("smoothquant: the share of the outliers that moves to the weights"),
  insertMul: z
    .boolean()
    .default(false)
    .describe("smoothquant and awq: insert a Mul where no constant of the model can take the scale in"),
  dtype: specOptions.shape.dtype.describe("awq: what the weights will be stored as"),
  granularity: specOptions.shape.granularity.describe("awq: which weights will share a scale"),
  ...calibrationOptions,
  calibrate: calibrationOptions.calibrate.describe("samples for smoothquant and awq; do not measure on the same ones"),
});

type Options = z.output<typeof equalizeStepOptions>;

interface Equalized {
  readonly model: Model;
  /** In a few words. */
  readonly done: string;
}

type OnData = (model: Model, settings: Options, calibration: CalibrationData) => Promise<EqualizeResult>;

const onData: Readonly<Record<Exclude<EqualizerName, "cross-layer">, OnData>> = {
  smoothquant: (model, settings, { data, running, show }) =>
    show((onProgress) =>
      smoothQuantOnData(model, data, ownOptions(smoothQuantOptions, settings), { ...running, onProgress }),
    ),
  awq: (model, settings, { data, running, show }) => {
    const { dtype, insertMul, granularity } = settings;
    if (!isInteger(dtype))
      throw new TersorError("bad-recipe", `equalize awq: dtype ${dtype}: expected integers. Leave awq out.`);
    const spec = resolveSpec(withOwn(plainSpec, { dtype, granularity }), "equalize awq");
    return show((onProgress) => awqOnData(model, data, spec, { insertMul }, { ...running, onProgress }));
  },
};

export const equalizeStep: Step<typeof equalizeStepOptions> = {
  name: "equalize",
  summary: "Move scales between layers, so that they quantize better: cross-layer, smoothquant, awq.",
  options: equalizeStepOptions,
  exact: true,
  needs: [],
  async run(model, options, ctx) {
    if (ctx.dryRun) return { model, report: () => ({ notes: ["equalization is left out of a dry run"] }) };
    const notes: string[] = [];
    let current = model;
    for (const name of options.equalize) {
      const result = await equalizeBy(name, current, options, ctx);
      current = result.model;
      notes.push(`${name}: ${result.done}`);
    }
    return { model: current, report: () => ({ notes }) };
  },
};

async function equalizeBy(name: EqualizerName, model: Model, options: Options, ctx: StepContext): Promise<Equalized> {
  if (name === "cross-layer") {
    const { model: even, pairs } = equalizeCrossLayer(model);
    return { model: even, done: `${pairs} ${pairs === 1 ? "pair" : "pairs"} of neighbouring layers evened out` };
  }
  const calibration = options.calibrate === undefined ? undefined : await openCalibration(model, options, ctx);
  if (!calibration)
    throw new TersorError(
      "bad-recipe",
      `equalize ${name}: needs to see activations: expected calibration data. Name some with calibrate, or use cross-layer.`,
    );
  const { model: scaled, values } = await onData[name](model, options, calibration);
  const moved = values.filter(({ place }) => place !== undefined).length;
  const rest = values.length - moved;
  const left = rest > 0 ? `; ${rest} more have nothing in front that could take their scale in` : "";
  return { model: scaled, done: `inputs of layers scaled: ${moved}${left}` };
}
