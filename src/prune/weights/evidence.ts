/** @file What criteria of single weights look at in calibration data, gathered in one pass. */
import type { Emitter } from "../../autodiff/emitter.ts";
import type { Value } from "../../ir/value.ts";
import { recoveryStats } from "../evidence/calibration.ts";
import type { ChannelData } from "../evidence/channel-data.ts";
import { describe } from "../evidence/gradients/channel-gradients.ts";
import { gradientPass } from "../evidence/gradients/gradient-pass.ts";
import type { Analysis } from "../graph/analysis.ts";
import type { PruneSettings } from "../options.ts";
import type { Evidence, WeightCriterion } from "./saliency.ts";
import { rowsFirst, type WeightSite } from "./sites.ts";

interface Gathered {
  of(site: WeightSite): Evidence;
  /** What was looked at, for the report. */
  readonly note?: string;
}

export const noEvidence: Gathered = { of: () => ({}) };

interface Around {
  readonly criterion: WeightCriterion;
  readonly options: PruneSettings;
  readonly calibration: ChannelData;
}

export async function gatherEvidence(
  analysis: Analysis,
  sites: readonly WeightSite[],
  { criterion, options, calibration }: Around,
): Promise<Gathered> {
  const { needs, gradients } = criterion;
  if (needs === "second moments") {
    const readers = sites.flatMap(({ reader }) => reader ?? []);
    const { grams } = await recoveryStats(analysis, calibration.data, calibration, readers, "least-squares");
    return { of: ({ reader }) => ({ gram: reader && grams.get(reader.node) }) };
  }
  if (!gradients) return noEvidence;
  const { model } = analysis;
  const reached = sites.filter(({ value }) => model.graph.find(value.name) === value);
  const sums = new Map<WeightSite, Float64Array>();
  const add = (seen: readonly (Float32Array | undefined)[]) =>
    reached.forEach((site, at) => {
      const numbers = seen[at];
      if (!numbers) return;
      const own = sums.get(site) ?? new Float64Array(numbers.length);
      sums.set(site, own);
      for (let i = 0; i < own.length; i++) own[i] = (own[i] as number) + (numbers[i] as number);
    });
  const probes = reached.map(({ value }) => ({
    of: value.name,
    emit: (op: Emitter, _: Value, g: Value) => gradients.emit(op, g),
  }));
  const objective = gradients.of(options.gradients);
  const pass = await gradientPass(model, probes, { data: calibration, objective, seed: options.seed ?? 0, add });
  const means = new Map(
    [...sums].map(([site, own]) => [
      site,
      rowsFirst(
        site,
        own.map((x) => x / pass.batches),
      ),
    ]),
  );
  return { of: (site) => ({ gradients: means.get(site) }), note: describe(pass) };
}
