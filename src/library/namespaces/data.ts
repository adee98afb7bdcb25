/** @file Datasets and formats. */
export { type Batch, type BatchOptions, batches, unbatch } from "../../data/batch.ts";
export {
  collect,
  type Dataset,
  datasetOf,
  drop,
  type IndexedDataset,
  indexedDataset,
  type Label,
  type Sample,
  type SkippedSample,
  shuffle,
  skippedSamples,
  split,
  take,
} from "../../data/dataset.ts";
export type { InputInfo } from "../../data/fit-input.ts";
export { LogMel, type LogMelOptions } from "../../data/log-mel.ts";
export { decodeNpy, decodeNpz, encodeNpy, encodeNpz } from "../../data/npy.ts";
export { type SeededOptions, seededDataset } from "../../data/seeded.ts";
export { decodeWave, encodeWave, resample, type Wave } from "../../data/wave.ts";
export { type WordTokenizerOptions, wordTokenizer } from "../../data/word-tokenizer.ts";
