/** @file What the benches of pruning share: the training half of CIFAR-10, and how a model is judged. */
import { batches, unbatch } from "../dist/data/batch.js";
import { datasetOf } from "../dist/data/dataset.js";
import { dataSpecs, openSession } from "./zoo.mjs";

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
