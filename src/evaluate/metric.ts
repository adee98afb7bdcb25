/** @file Metric: a number that says how well a model does its job, from its outputs and the labels. */
import type { z } from "zod";
import type { Label, Sample } from "../data/dataset.ts";
import { isIndexType } from "../ops/plausible-output.ts";
import { describeTensor, type HostTensor, numbersOf } from "../tensor/host-tensor.ts";
import { elementCount } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";

export type Outputs = Readonly<Record<string, HostTensor>>;

export interface MetricAccumulator {
  /** Outputs for one sample (a batch of 1). @throws bad-data when outputs and label do not fit the metric. */
  add(outputs: Outputs, sample: Sample): void;
  /** Over all samples so far. @throws bad-data when there were none. */
  value(): number;
}

export interface Metric<Options = unknown> {
  readonly name: string;
  readonly summary: string;
  readonly higherIsBetter: boolean;
  /** "%" for shares from 0 to 100. */
  readonly unit: "%" | "nats" | "";
  /** The kind of label that samples must have. */
  readonly needs: "class" | "text" | "values" | "nothing";
  readonly options: z.ZodType<Options>;
  create(options: Options): MetricAccumulator;
}

/** Types a row by its own schema, then forgets the type so that rows fit in one table. */
export function defineMetric<Options>(metric: Metric<Options>): Metric {
  return metric as unknown as Metric;
}

/** The output that a metric reads: the named one, else the first. @throws bad-data when there is no such output. */
export function outputOf(outputs: Outputs, name: string | undefined): readonly [string, HostTensor] {
  const found = name === undefined ? Object.entries(outputs)[0] : ([name, outputs[name]] as const);
  if (found?.[1]) return [found[0], found[1]];
  throw new TersorError(
    "bad-data",
    `metric: no output "${name ?? ""}": expected one of ${Object.keys(outputs).join(", ") || "none"}.`,
  );
}

/** The label of a sample. @throws bad-data when it has none. */
export function labelOf(sample: Sample): Label {
  if (sample.label !== undefined) return sample.label;
  throw new TersorError(
    "bad-data",
    `sample "${sample.id}": has no label: expected one for this metric. Give data with labels, or compare without a metric.`,
  );
}

/** One decision of a model: the scores of its classes, `data[start + k·stride]`, and the right class. */
export interface Decision {
  readonly data: ArrayLike<number>;
  readonly start: number;
  readonly stride: number;
  readonly classes: number;
  readonly label: number;
}

export interface DecisionOptions {
  readonly output?: string | undefined;
  /** Axis of the classes; −1, the last, when absent. */
  readonly axis?: number | undefined;
}

/**
 * Calls `visit` for each decision in a sample's output: one for a class index, one per element for a tensor of them,
 * where a negative label does not count.
 * @throws bad-data when the label is text, does not fit the output's shape, or is none of its classes.
 */
export function eachDecision(
  outputs: Outputs,
  sample: Sample,
  { output, axis = -1 }: DecisionOptions,
  visit: (decision: Decision) => void,
): void {
  const [name, scores] = outputOf(outputs, output);
  if (isIndexType(scores.dtype))
    throw new TersorError(
      "bad-data",
      `output "${name}" ${describeTensor(scores)}: holds no scores: expected floats, a score for each class, got ${scores.dtype}. If it is class indices, take the metric accuracy; else name another output (option "output").`,
    );
  const labels = classLabels(labelOf(sample), sample.id);
  const rank = scores.dims.length;
  const at = axis < 0 ? rank + axis : axis;
  const classes = scores.dims[at] ?? 0;
  const inner = elementCount(scores.dims.slice(at + 1));
  const count = classes === 0 ? 0 : elementCount(scores.dims) / classes;
  if (count !== labels.length)
    throw new TersorError(
      "bad-data",
      `sample "${sample.id}": labels do not fit output "${name}" ${describeTensor(scores)}: expected ${count} (one for each ${classes} scores of axis ${at}), got ${labels.length}. Give option "output" or "axis" if another one is meant.`,
    );
  const data = numbersOf(scores, `output "${name}"`);
  for (let i = 0; i < count; i++) {
    const label = labels[i] as number;
    if (label < 0 && labels.length > 1) continue;
    if (!(Number.isInteger(label) && label >= 0 && label < classes))
      throw new TersorError(
        "bad-data",
        `sample "${sample.id}": label out of range: expected 0 to ${classes - 1} (output "${name}" has ${classes} classes), got ${label}.`,
      );
    const start = Math.floor(i / inner) * classes * inner + (i % inner);
    visit({ data, start, stride: inner, classes, label });
  }
}

/** A label as class indices. @throws bad-data for text. */
export function classLabels(label: Label, id: string): ArrayLike<number> {
  if (typeof label === "number") return [label];
  if (typeof label !== "string") return numbersOf(label, `sample "${id}": label`);
  throw new TersorError(
    "bad-data",
    `sample "${id}": label is text: expected a class index, got ${JSON.stringify(label)}. Give the data option "classes", with the names in the order of the model's outputs.`,
  );
}
