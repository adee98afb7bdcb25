/** @file What the benches of pruning share: the training half of CIFAR-10, and how a model is judged. */
import { batches, unbatch } from "../dist/data/batch.js";
import { datasetOf } from "../dist/data/dataset.js";
import { FidelityMeter } from "../dist/evaluate/fidelity.js";
import { pruneChannels } from "../dist/prune/channels/prune-channels.js";
import { pruneOptions } from "../dist/prune/options.js";
import { dataSpecs, openSession, runAll } from "./zoo.mjs";

export const cifarTrain = {
  ...dataSpecs.cifar,
  path: "cifar10-jpeg/train_x.u8.bin",
  labels: { path: "cifar10-jpeg/train_y.u8.bin", dtype: "uint8" },
};

/** Value of a chosen metric on samples. */
export async function judge(model, samples, batch, chosen) {
  const session = await openSession(model, { runtime: "ort-node", optimization: "all" });
  const metric = chosen.create();
  for await (const { inputs, samples: own } of batches(datasetOf("test", samples), { size: batch, pad: "split" })) {
    const rows = unbatch(await session.run(inputs), own.length);
    own.forEach((sample, i) => {
      metric.add(rows[i], sample);
    });
  }
  await session.release();
  return metric.value();
}

/**
 * Cuts a share of the MACs (of the channels, where no MACs are known), and runs the cut model against the masked one: the largest
 * difference between what the two give.
 */
export async function proveCut(model, data, ratio, by = "macs") {
  const shapes = Object.fromEntries(Object.entries(data[0].inputs).map(([input, { dims }]) => [input, dims]));
  const start = performance.now();
  const result = await pruneChannels(model, pruneOptions.parse({ ratio, by }), undefined, shapes);
  const seconds = (performance.now() - start) / 1000;
  const [wanted, given] = [
    await runAll(result.masked(), data, { optimization: "disabled" }),
    await runAll(result.plain, data, { optimization: "disabled" }),
  ];
  return { result, seconds, error: largestDifference(wanted, given) };
}

/** Of outputs, relative to the largest (at least 0.01: float32 rounds an answer of 1e-4 by 1e-7 of what led to it); NaN where any is not finite. */
export function largestDifference(wanted, given) {
  const meter = new FidelityMeter();
  wanted.forEach((outputs, i) => {
    meter.add(outputs, given[i]);
  });
  const errors = Object.values(meter.result()).map(({ maxAbsError: error, maxRelativeError: share, nonFinite }) =>
    nonFinite > 0 ? Number.NaN : error === 0 ? 0 : error / Math.max(0.01, error / share),
  );
  return Math.max(0, ...errors);
}
