/** @file Samples that are set apart: what was cut on the others is judged on them, against the original's outputs. */
import { type Batch, batches, fixedBatch } from "../../data/batch.ts";
import { collect, type Dataset, datasetOf, isIndexed, type Sample, select, take } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { throwIfAborted } from "../../runtime/abort.ts";
import type { Outputs } from "../../runtime/io.ts";
import type { ChannelData } from "./channel-data.ts";
import { NoiseMeter } from "./noise.ts";

/** Every so many samples one is set apart, and no more than this: what is compared is much the same for more. */
const EVERY = 4;
const MOST = 64;

/** What to look at, and what to judge by. */
export interface Parts {
  readonly seen: ChannelData;
  readonly held: ChannelData;
  /** False where there are too few samples to set some apart: then they are the same. */
  readonly isApart: boolean;
}

const isHeld = (index: number) => index % EVERY === EVERY - 1 && index < EVERY * MOST;

/** Two parts of the calibration data, by position alone. */
export async function partsOf(calibration: ChannelData): Promise<Parts> {
  const { data } = calibration;
  const held = datasetOf(data.name, await heldOf(data));
  if (held.size === 0) return { seen: calibration, held: { ...calibration, data: take(data, MOST) }, isApart: false };
  return { seen: { ...calibration, data: restOf(data) }, held: { ...calibration, data: held }, isApart: true };
}

async function heldOf(data: Dataset): Promise<Sample[]> {
  const indices = (size: number) => Array.from({ length: size }, (_, i) => i).filter(isHeld);
  if (isIndexed(data)) return collect(select(data, indices(data.size)));
  const held: Sample[] = [];
  let index = 0;
  for await (const sample of data) {
    if (isHeld(index++)) held.push(sample);
    if (held.length === MOST) break;
  }
  return held;
}

function restOf(data: Dataset): Dataset {
  if (isIndexed(data)) {
    const rest = Array.from({ length: data.size }, (_, i) => i).filter((i) => !isHeld(i));
    return select(data, rest);
  }
  return {
    name: data.name,
    async *[Symbol.asyncIterator]() {
      let index = 0;
      for await (const sample of data) if (!isHeld(index++)) yield sample;
    },
  };
}

/** The outputs of the original on the samples that judge. */
export interface Reference {
  readonly samples: number;
  /** Noise to signal of a model's outputs against them. */
  noise(model: Model): Promise<number>;
}

/** Runs the original on what judges, once. */
export async function referenceOf(original: Model, judging: ChannelData): Promise<Reference> {
  const wanted: { readonly batch: Batch; readonly outputs: Outputs }[] = [];
  await onBatches(original, judging, (batch, outputs) => wanted.push({ batch, outputs }));
  return {
    samples: wanted.reduce((sum, { batch }) => sum + batch.samples.length, 0),
    async noise(model) {
      const meter = new NoiseMeter();
      let at = 0;
      await onBatches(model, judging, ({ inputs }, outputs) => meter.add(wanted[at++]?.outputs ?? {}, outputs, inputs));
      return meter.value();
    },
  };
}

async function onBatches(model: Model, judging: ChannelData, see: (batch: Batch, outputs: Outputs) => void) {
  const { data, batchSize, pad = "split", signal } = judging;
  const session = await judging.open(model);
  try {
    const fixed = fixedBatch(session.inputs);
    const single = session.inputs.some(({ dims }) => dims[0] === 1);
    const size = fixed ?? (single ? 1 : (batchSize ?? 1));
    for await (const batch of batches(data, { size, pad, last: fixed ? "fill" : "keep" })) {
      throwIfAborted(signal, "pruning");
      see(batch, await session.run(batch.inputs, undefined, signal ? { signal } : {}));
    }
  } finally {
    await session.release();
  }
}
