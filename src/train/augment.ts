/** @file Augmentation: every sample a little different in every epoch, by the seed alone. */
import * as z from "zod";
import { type Dataset, indexedDataset, isIndexed, type Sample } from "../data/dataset.ts";
import type { HostTensor } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";
import { Rng } from "../util/rng.ts";

export const augmentOptions = z.strictObject({
  flip: z.boolean().default(false).describe("mirror every second image, left to right"),
  crop: z.int().min(0).max(64).default(0).describe("shift images by up to this many pixels; what comes in is 0"),
  noise: z.number().min(0).default(0).describe("add normal noise of this deviation to float inputs"),
  variants: z
    .int()
    .min(1)
    .optional()
    .describe("change each sample in this many ways only, in turn: a teacher's answers can be kept then"),
});

export type AugmentSettings = z.output<typeof augmentOptions>;

/** The samples changed at random; `seed` is to differ from epoch to epoch. Images are float32 [1, channels, height, width]. */
export function augmented(dataset: Dataset, settings: AugmentSettings, seed: number): Dataset {
  if (!varies(settings) || !isIndexed(dataset)) return dataset;
  const { name, size, idOf } = dataset;
  const at = async (index: number): Promise<Sample> => change(await dataset.at(index), settings, seed);
  return indexedDataset({ name, size, at, ...(idOf && { idOf }) });
}

/** Whether samples are changed at all. */
export function varies({ flip, crop, noise }: AugmentSettings): boolean {
  return flip || crop > 0 || noise > 0;
}

function change(sample: Sample, { flip, crop, noise }: AugmentSettings, seed: number): Sample {
  const rng = new Rng(seed, sample.id);
  const isFlipped = rng.uniform() < 0.5 && flip;
  const [dy, dx] = [0, 1].map(() => Math.floor(rng.uniform() * (2 * crop + 1)) - crop) as [number, number];
  const inputs = Object.entries(sample.inputs).map(([name, tensor]) => {
    if (tensor.dtype !== "float32") return [name, tensor] as const;
    const moved = flip || crop > 0 ? shifted(tensor, { isFlipped, dy, dx }, sample.id) : tensor;
    return [name, noise > 0 ? noisy(moved, noise, rng) : moved] as const;
  });
  return { ...sample, inputs: Object.fromEntries(inputs) };
}

interface Shift {
  readonly isFlipped: boolean;
  readonly dy: number;
  readonly dx: number;
}

function shifted(tensor: HostTensor, { isFlipped, dy, dx }: Shift, id: string): HostTensor {
  const { dims } = tensor;
  if (dims.length !== 4)
    throw new TersorError(
      "bad-data",
      `sample "${id}": flip and crop are for images: expected float32 [1, channels, height, width], got [${dims.join(", ")}]. Leave them out.`,
    );
  const [, channels = 0, height = 0, width = 0] = dims;
  const from = tensor.data as Float32Array;
  const data = new Float32Array(from.length);
  for (let c = 0; c < channels; c++)
    for (let y = Math.max(0, -dy); y < Math.min(height, height - dy); y++) {
      const source = (c * height + y + dy) * width;
      const line = (c * height + y) * width;
      for (let x = 0; x < width; x++) {
        const column = (isFlipped ? width - 1 - x : x) + dx;
        if (column >= 0 && column < width) data[line + x] = from[source + column] as number;
      }
    }
  return { dtype: "float32", dims, data };
}

function noisy(tensor: HostTensor, deviation: number, rng: Rng): HostTensor {
  const data = (tensor.data as Float32Array).map((value) => value + deviation * rng.normal());
  return { dtype: "float32", dims: tensor.dims, data };
}
