/** @file How well the layers of a candidate do, for the search of a bound: their outputs' SQNR, else that of their weights. */
import type { Batch } from "../../data/batch.ts";
import type { Dataset } from "../../data/dataset.ts";
import { joinModels, measureLayers } from "../../evaluate/layer-fidelity.ts";
import type { Model } from "../../ir/model.ts";
import type { LayerReport } from "../../quantize/layers/report.ts";
import { throwIfAborted } from "../../runtime/abort.ts";
import { leastOf } from "../../util/append.ts";
import { TersorError } from "../../util/errors.ts";
import { sampleBatches } from "../compare.ts";
import type { LayerLadder, OpenModelOptions, StepContext } from "../step.ts";

interface Pair {
  readonly model: Model;
  /** Absent where it does not run. */
  readonly changed: Model | undefined;
  readonly samples: Dataset;
  readonly settings: OpenModelOptions;
  readonly ctx: StepContext;
}

/**
 * One number per ladder, in dB, by which layers are compared: the SQNR of what the layer computes with only it changed. Of layers
 * that can't be watched (in subgraphs, or in float16) it is that of the weight.
 */
export async function layerFidelity(
  ladders: readonly LayerLadder[],
  reports: readonly LayerReport[],
  pair: Pair,
): Promise<number[]> {
  const outputs = await outputFidelity(pair);
  const weights = new Map(reports.map(({ weight, sqnr }) => [weight, sqnr]));
  return ladders.map((ladder) => {
    const known = ladder.outputs.flatMap((name) => outputs.get(name) ?? []);
    const db = known.length > 0 ? leastOf(known) : weights.get(ladder.weight);
    return Number.isNaN(db) ? Number.NEGATIVE_INFINITY : (db ?? Number.POSITIVE_INFINITY);
  });
}

async function outputFidelity({ model, changed, samples, settings, ctx }: Pair): Promise<ReadonlyMap<string, number>> {
  if (!changed) return new Map();
  try {
    const joined = joinModels(model, changed);
    const session = await ctx.open(joined.model, settings);
    try {
      const layers = await measureLayers(joined, session, watched(sampleBatches(session, samples), ctx.signal));
      return new Map(layers.map(({ value, own }) => [value, own]));
    } finally {
      await session.release();
      ctx.discard(joined.model);
    }
  } catch (error) {
    const isUnsuited = error instanceof TersorError && ["bad-model", "runtime-failed"].includes(error.code);
    if (!isUnsuited) throw error;
    return new Map();
  }
}

async function* watched(batches: AsyncIterable<Batch>, signal: AbortSignal): AsyncIterable<Batch> {
  for await (const batch of batches) {
    throwIfAborted(signal, "layer by layer");
    yield batch;
  }
}
