/** @file Every criterion and ranking on random graphs: what is removed is what was masked, the ratio is met, and the same comes out twice. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { prunableModel } from "../../../test/prunable-graph.ts";
import { randomFeeds, relativeError, runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { pruneChannels } from "../channels/prune-channels.ts";
import type { PruneOptions } from "../options.ts";
import { pruneWeights } from "../weights/prune-weights.ts";
import { weightCriteria } from "../weights/saliency.ts";
import { criteria } from "./index.ts";

const x = { name: "x", dtype: "float32", dims: [1, 3, 4, 4] } as const;
const samples = Array.from({ length: 3 }, (_, i) => ({ id: `${i}`, label: i, inputs: randomFeeds([x], i) }));
const calibration = (labels: boolean) => ({
  data: datasetOf("seen", labels ? samples : samples.map(({ id, inputs }) => ({ id, inputs }))),
  open: (probed: Model) => inProcessRuntime("ort-node").create(encode(probed), { threads: 1 }),
});

const settings = fc.record({
  ratio: fc.constantFrom(0.2, 0.4, 0.7),
  by: fc.constantFrom("channels" as const, "params" as const, "macs" as const),
  ranking: fc.constantFrom("layer" as const, "global" as const, "sensitivity" as const),
  normalize: fc.constantFrom("none" as const, "mean" as const, "lamp" as const),
  reduce: fc.constantFrom("mean" as const, "sum" as const, "max" as const),
  roundTo: fc.constantFrom(1, 2),
  minChannels: fc.constantFrom(1, 2),
});

it.each(Object.keys(criteria) as (keyof typeof criteria)[])(
  "channels by %s",
  { timeout: 60_000 },
  async (criterion) => {
    let removed = 0;
    await fc.assert(
      fc.asyncProperty(prunableModel(5), settings, fc.boolean(), async (model, given, labels) => {
        const options = { ...given, criterion } satisfies PruneOptions;
        const prune = () => pruneChannels(model, options, calibration(labels));
        const result = await prune();
        const feeds = randomFeeds([x], 9);
        const expected = await runModel(result.masked(), feeds);
        expect(relativeError(expected, await runModel(result.plain, feeds))).toBeLessThan(1e-5);
        for (const { channels, removed: gone } of result.groups) {
          if (gone > 0) expect(channels - gone).toBeGreaterThanOrEqual(Math.min(channels, given.minChannels));
          if (gone > 0) expect((channels - gone) % given.roundTo).toBe(0);
          removed += gone;
        }
        if (result.reached && given.by !== "channels") expect(result.removed).toBeGreaterThanOrEqual(given.ratio);
        expect((await prune()).groups).toEqual(result.groups);
      }),
      { numRuns: 6, seed: 3 },
    );
    // Batch norms are rare among these.
    expect(removed).toBeGreaterThan(criterion === "bn-gamma" ? -1 : 5);
  },
);

it.each(Object.keys(weightCriteria))("weights by %s", { timeout: 60_000 }, async (criterion) => {
  await fc.assert(
    fc.asyncProperty(prunableModel(5), fc.constantFrom(0.3, 0.8), fc.boolean(), async (model, ratio, labels) => {
      const options = { structure: "weights", ratio, ranking: "layer", criterion } as PruneOptions;
      const { layers, model: pruned } = await pruneWeights(model, options, calibration(labels));
      await runModel(pruned, randomFeeds([x], 9));
      for (const { weights, zeros, reason } of layers()) {
        // wanda and sparsegpt take their share of rows and blocks, each rounded.
        if (reason === undefined)
          expect(Math.abs(zeros - ratio * weights)).toBeLessThanOrEqual(
            criterion === "wanda" ? weights / 2 : 1 + weights / 16,
          );
        else expect(zeros).toBe(0);
      }
    }),
    { numRuns: 6, seed: 4 },
  );
});
