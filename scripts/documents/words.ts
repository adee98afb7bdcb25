/** @file The words of options: one for each thing, the same in flag, recipe and library. The table in docs/architecture.md is made of it. */
import { table } from "./markdown.ts";

/** Options that several steps have, and what they mean in all of them. */
export const words: Readonly<Record<string, string>> = {
  batchSize: "samples that are run or trained on at once",
  calibrate: "samples that are looked at to decide something; results are measured on others",
  calibrationSamples: "how many of those",
  compressed: "whether sizes are measured after gzip and brotli too",
  data: "samples to measure on, or to train on",
  dtype: "the type that weights are stored as",
  fitCosts: "whether the target's counted costs decide what stays float",
  granularity: "which weights share a scale: `model`, `tensor`, `channel`, `group:N`",
  iterations: "steps of training of a method that learns to round",
  layers: "layers by name, glob, operator or number, each with options of its own",
  measure: "whether every weight's SQNR is measured",
  method: "how codes are found: `rtn`, `gptq`, …",
  methodOptions: "options of the method, such as `{ actOrder: true }` for gptq",
  metric: "what a model is judged by, with labels",
  minElements: "weights with fewer elements stay float",
  optimization: "what the runtime may do to the graph when it loads a model",
  protect: "layers whose channels stay",
  roundTo: "channels that stay are a multiple of this",
  runtime: "what runs models: `ort-node`, `ort-web`",
  samples: "how many samples of `data`",
  scale: "how the scale of weights is chosen: `absmax`, `mse`, `percentile:P`",
  schedule: "how something goes over time: the learning rate falls, the share that is pruned grows",
  seed: "of everything random",
  shapes: "sizes of inputs that the model leaves open",
  symmetric: "whether zero is the middle of the codes",
  target: "the runtime and machine that the result is for",
  teacher: "the model to learn from",
  threads: "threads within an operator",
};

/** Words that are not options, and what they mean here. */
const terms: Readonly<Record<string, string>> = {
  step: "a step of a recipe; of training: an update of the weights",
  group: "of weights: N in a row that share a scale; of channels: those that go together",
  block: "a residual block; MatMulNBits calls a group of weights so too",
  criterion: "what a channel, block or weight is ranked by in pruning",
  ranges: "of activations: smallest and largest value, from calibration",
  recovery: "what makes up for removed channels without training",
  bound: "how far a result may be from its original",
  judge: "to look at the outputs of a result on few samples, by default",
};

/** Of docs/architecture.md. */
export function wordsTable(): string {
  const rows = (list: Readonly<Record<string, string>>, mark: string) =>
    Object.entries(list).map(([word, meaning]) => [`${mark}${word}${mark}`, meaning]);
  return table(["word", "what it means"], [...rows(words, "`"), ...rows(terms, "")]);
}
