/** @file Options of the step `prune`: those of pruning itself, its data, its schedule; and what does not fit together. */
import * as z from "zod";
import { pruneOptions, type Structure } from "../../prune/options.ts";
import { targetSchema } from "../../targets/target.ts";
import { targetNamed } from "../../targets/targets.ts";
import { TersorError } from "../../util/errors.ts";
import { calibrationOptions } from "../data/calibration.ts";
import { inputOptions, runtimeOptions } from "../run-options.ts";
import { scheduleOptions } from "./prune-schedule.ts";
import { vocabularyOptions } from "./prune-vocabulary.ts";

export const pruneStepOptions = pruneOptions.extend({
  ...calibrationOptions,
  calibrate: calibrationOptions.calibrate.describe(
    "samples for criteria and recovery that look at data; do not measure on the same ones",
  ),
  target: z
    .union([z.string().transform(targetNamed), targetSchema])
    .optional()
    .describe(
      "where the model is to run, for widths that its kernels like; default: any, for runtime ort-web web-wasm",
    ),
  prove: z
    .boolean()
    .default(false)
    .describe("run the cut model against the one with zeros in place of what was removed: they compute the same"),
  ...scheduleOptions,
  latencyTable: z
    .string()
    .min(1)
    .optional()
    .describe("for latency: what was timed before, a manifest or its table: with the same table the same channels go"),
  ...vocabularyOptions,
  compressed: z.boolean().default(true).describe("measure the sizes after gzip and brotli"),
  ...inputOptions,
  ...runtimeOptions,
});

export type PruneStepOptions = z.output<typeof pruneStepOptions>;

/**
 * @param isCut whether the structure is taken out of the model
 * @throws bad-recipe where nothing says how much is to go, or something that does not fit the structure
 */
export function checkShare(
  { ratio, threshold, count, sensitivity, ranking, by, prove }: PruneStepOptions,
  kind: Structure["kind"],
  isCut: boolean,
): void {
  const fail = (message: string) => new TersorError("bad-recipe", `prune: ${message}`);
  if (kind !== "channels" && by === "latency") throw fail(`by latency is for channels, not for structure ${kind}.`);
  const isSensed = sensitivity || ranking === "sensitivity";
  if (kind !== "channels" && isSensed) throw fail(`sensitivity is for channels, not for structure ${kind}.`);
  if (prove && !isCut) throw fail("prove is for channels, blocks and vocabulary: zeros in weights remove nothing.");
  const isUnsaid = ratio === undefined && threshold === undefined && count === undefined;
  if (kind === "vocabulary") {
    if (isUnsaid) return;
    throw fail("structure vocabulary takes what a corpus does not need: expected no ratio, count or threshold.");
  }
  if (isUnsaid && kind !== "n:m" && !sensitivity)
    throw fail("no ratio: expected a share to remove from 0 to 1. Give one.");
  if (isCut && threshold !== undefined) throw fail(`threshold is for weights: expected a ratio for ${kind}.`);
  if (count !== undefined && kind !== "blocks") throw fail("count is for blocks: expected a ratio.");
  if (count !== undefined && ratio !== undefined) throw fail("ratio and count say the same twice. Give one of them.");
}
