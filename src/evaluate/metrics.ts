/** @file The table of metrics, one row each. */
import { z } from "zod";
import type { Sample } from "../data/dataset.ts";
import { dtypeInfo } from "../tensor/dtype.ts";
import { describeTensor, numbersOf } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";
import { decodeCtc, editDistance, parseCharset } from "./ctc.ts";
import {
  classLabels,
  type Decision,
  type DecisionOptions,
  defineMetric,
  eachDecision,
  labelOf,
  type Metric,
  type MetricAccumulator,
  type Outputs,
  outputOf,
} from "./metric.ts";

const output = z
  .string()
  .optional()
  .describe(
    "The output to read; when absent that of the loss, else the most plausible: floats whose shape suits the labels, and that no other output is computed from.",
  );
const axis = z.int().optional().describe("Axis of the classes; the last when absent.");
const decisionOptions = z.strictObject({ output, axis });

/** A mean over what is added. */
class Mean {
  #sum = 0;
  #count = 0;

  add(value: number, count = 1): void {
    this.#sum += value;
    this.#count += count;
  }

  value(): number {
    if (this.#count > 0) return this.#sum / this.#count;
    throw new TersorError("bad-data", "metric: nothing to judge: expected samples with labels that count, got none.");
  }
}

const topK = (k: number) =>
  defineMetric({
    name: `top-${k}`,
    summary:
      k === 1
        ? "Share of samples whose label has the highest score."
        : `Share of samples whose label is among the ${k} highest scores.`,
    higherIsBetter: true,
    unit: "%",
    needs: "class",
    options: decisionOptions,
    create: (options) => meanOf(options, (decision) => (rankOf(decision) < k ? 100 : 0)),
  });

const accuracy = defineMetric({
  name: "accuracy",
  summary:
    "Share of right decisions: the highest score, a single score against a threshold, or an output of class indices.",
  higherIsBetter: true,
  unit: "%",
  needs: "class",
  options: z.strictObject({
    output,
    axis,
    threshold: z.number().default(0.5).describe("For one score per decision: class 1 is above it."),
  }),
  create(options) {
    const mean = new Mean();
    return {
      add(outputs, sample) {
        const [name, tensor] = outputOf(outputs, options.output);
        const labels = classLabels(labelOf(sample), sample.id);
        const isIndex = dtypeInfo(tensor.dtype).kind !== "float";
        if (!isIndex && tensor.data.length !== labels.length) {
          eachDecision(outputs, sample, options, (decision) => mean.add(rankOf(decision) === 0 ? 100 : 0));
          return;
        }
        const given = numbersOf(tensor, `output "${name}"`);
        checkCount(given.length, labels.length, `output "${name}" ${describeTensor(tensor)}`, sample);
        for (let i = 0; i < labels.length; i++) {
          const label = labels[i] as number;
          if (label < 0 && labels.length > 1) continue;
          const value = given[i] as number;
          mean.add((isIndex ? value : value > options.threshold ? 1 : 0) === label ? 100 : 0);
        }
      },
      value: () => mean.value(),
    };
  },
});

const lossOptions = z.strictObject({
  output,
  axis,
  from: z
    .enum(["auto", "logits", "probabilities", "log-probabilities"])
    .default("auto")
    .describe(
      "What the output holds; auto: probabilities where all of the first decision are at least 0 and sum to 1, else logits.",
    ),
});

const crossEntropy = defineMetric({
  name: "cross-entropy",
  summary: "Mean of −log of the probability that the label gets.",
  higherIsBetter: false,
  unit: "nats",
  needs: "class",
  options: lossOptions,
  create: (options) => meanOf(options, lossOf(options.from)),
});

const perplexity = defineMetric({
  name: "perplexity",
  summary: "exp of the cross-entropy per token; labels are the next tokens, negative ones do not count.",
  higherIsBetter: false,
  unit: "",
  needs: "class",
  options: lossOptions,
  create(options) {
    const mean = meanOf(options, lossOf(options.from));
    return { add: mean.add, value: () => Math.exp(mean.value()) };
  },
});

const characterErrorRate = defineMetric({
  name: "cer",
  summary: "Edits between the line read (greedy CTC) and the label, per character of the labels.",
  higherIsBetter: false,
  unit: "%",
  needs: "text",
  options: z.strictObject({
    output,
    charset: z
      .union([z.string(), z.array(z.string()).nonempty()])
      .describe(
        "The text of a charset file (a character a line), or the text of each class, blank and space included.",
      ),
    blank: z.enum(["first", "last"]).default("first").describe("Which class is the blank."),
    space: z.boolean().default(false).describe("Whether the charset file leaves out a last class that is a space."),
  }),
  create(options) {
    const { charset, blank, space } = options;
    const classes = typeof charset === "string" ? parseCharset(charset, { blank, space }) : charset;
    const mean = new Mean();
    return {
      add(outputs, sample) {
        const label = labelOf(sample);
        if (typeof label !== "string" && typeof label !== "number")
          throw new TersorError("bad-data", `sample "${sample.id}": expected a text as label, got a tensor.`);
        const wanted = String(label);
        const [name, scores] = outputOf(outputs, options.output);
        const read = decodeCtc(scores, classes, blank === "first" ? 0 : classes.length - 1, `output "${name}"`);
        mean.add(100 * editDistance(read, wanted), Array.from(wanted).length);
      },
      value: () => mean.value(),
    };
  },
});

const meanSquaredError = defineMetric({
  name: "mse",
  summary: "Mean squared difference between the output and the label.",
  higherIsBetter: false,
  unit: "",
  needs: "values",
  options: z.strictObject({ output }),
  create(options) {
    const mean = new Mean();
    return {
      add(outputs, sample) {
        const [name, tensor] = outputOf(outputs, options.output);
        const given = numbersOf(tensor, `output "${name}"`);
        const wanted = classLabels(labelOf(sample), sample.id);
        checkCount(given.length, wanted.length, `output "${name}" ${describeTensor(tensor)}`, sample);
        for (let i = 0; i < given.length; i++) mean.add(((given[i] as number) - (wanted[i] as number)) ** 2);
      },
      value: () => mean.value(),
    };
  },
});

/** Every metric. */
export const metrics: readonly Metric[] = [
  topK(1),
  topK(5),
  accuracy,
  crossEntropy,
  perplexity,
  characterErrorRate,
  meanSquaredError,
];

function meanOf(options: DecisionOptions, judge: (decision: Decision) => number): MetricAccumulator {
  const mean = new Mean();
  return {
    add: (outputs: Outputs, sample: Sample) =>
      eachDecision(outputs, sample, options, (decision) => mean.add(judge(decision))),
    value: () => mean.value(),
  };
}

/** Number of classes before the label, by score and then by index. A label whose score is NaN comes last. */
function rankOf({ data, start, stride, classes, label }: Decision): number {
  const own = data[start + label * stride] as number;
  if (Number.isNaN(own)) return classes;
  let rank = 0;
  for (let k = 0; k < classes; k++) {
    const score = data[start + k * stride] as number;
    if (score > own || (score === own && k < label)) rank++;
  }
  return rank;
}

type Scores = "auto" | "logits" | "probabilities" | "log-probabilities";

/** −log p(label). What "auto" means is decided by the first decision and then kept. */
function lossOf(from: Scores): (decision: Decision) => number {
  let kind: Exclude<Scores, "auto"> | undefined = from === "auto" ? undefined : from;
  return (decision) => {
    kind ??= areProbabilities(decision) ? "probabilities" : "logits";
    const own = decision.data[decision.start + decision.label * decision.stride] as number;
    if (kind === "logits") return logSumExp(decision) - own;
    return kind === "probabilities" ? -Math.log(own) : -own;
  };
}

function areProbabilities({ data, start, stride, classes }: Decision): boolean {
  let sum = 0;
  for (let k = 0; k < classes; k++) {
    const score = data[start + k * stride] as number;
    if (!(score >= 0)) return false;
    sum += score;
  }
  return Math.abs(sum - 1) < 1e-3;
}

function logSumExp({ data, start, stride, classes }: Decision): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let k = 0; k < classes; k++) max = Math.max(max, data[start + k * stride] as number);
  if (!Number.isFinite(max)) return max;
  let sum = 0;
  for (let k = 0; k < classes; k++) sum += Math.exp((data[start + k * stride] as number) - max);
  return max + Math.log(sum);
}

function checkCount(given: number, wanted: number, subject: string, sample: Sample): void {
  if (given === wanted) return;
  throw new TersorError(
    "bad-data",
    `sample "${sample.id}": label does not fit ${subject}: expected ${given} values, got ${wanted}.`,
  );
}
