/** @file Labels of samples as the tensors that losses compare with. */
import type { Sample } from "../data/dataset.ts";
import { describeTensor, type HostTensor, numbersOf } from "../tensor/host-tensor.ts";
import { elementCount } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import type { TargetInput } from "./emit-losses.ts";

/**
 * The labels of a batch as one tensor of the target's dtype and dims: class indices as int64, or numbers as float32.
 * @throws bad-data for samples without a label, with text, out of range, or of another size
 */
export function labelTensor(samples: readonly Sample[], target: TargetInput): HostTensor {
  if (target.sequence) return sequenceTensor(samples, target, target.sequence);
  const { dtype, dims, classes } = target;
  const each = elementCount(dims) / samples.length;
  const isClass = dtype === "int64";
  const numbers = new Float64Array(elementCount(dims));
  for (const [row, sample] of samples.entries()) {
    const values = labelNumbers(sample, isClass);
    if (values.length !== each) throw misfit(sample, each, target);
    for (let i = 0; i < each; i++) {
      const value = values[i] as number;
      if (isClass && !(Number.isInteger(value) && value < (classes ?? Number.POSITIVE_INFINITY)))
        throw outOfRange(sample, value, classes, ", or negative for what does not count,");
      numbers[row * each + i] = value;
    }
  }
  const data = isClass ? BigInt64Array.from(numbers, BigInt) : Float32Array.from(numbers);
  return { dtype, dims, data };
}

/** Label by label, -1 behind the end of each sequence. */
function sequenceTensor(
  samples: readonly Sample[],
  target: TargetInput,
  { blank, charset, steps }: Sequence,
): HostTensor {
  const { dims, classes = 0 } = target;
  const [, most = 0] = dims;
  const data = new BigInt64Array(elementCount(dims)).fill(-1n);
  for (const [row, sample] of samples.entries()) {
    const labels = typeof sample.label === "string" ? charactersOf(sample, charset) : labelNumbers(sample, true);
    if (labels.length > most && most < steps)
      throw new TersorError(
        "bad-data",
        `sample "${sample.id}": has more labels than maxLabels says: expected at most ${most}, got ${labels.length}. Give a larger number.`,
      );
    let needed = labels.length;
    for (let i = 0; i < labels.length; i++) {
      const value = labels[i] as number;
      if (!(Number.isInteger(value) && value >= 0 && value < classes) || value === blank)
        throw outOfRange(sample, value, classes, ` without the blank ${blank},`);
      // Between two of the same there is a blank.
      if (i > 0 && value === labels[i - 1]) needed++;
      if (i < most) data[row * most + i] = BigInt(value);
    }
    if (needed > steps)
      throw new TersorError(
        "bad-data",
        `sample "${sample.id}": its ${labels.length} labels do not fit: expected at most the ${steps} steps that the model gives, got ${needed} with a blank between repeats. Leave it out, or give longer inputs.`,
      );
  }
  return { dtype: "int64", dims, data };
}

type Sequence = NonNullable<TargetInput["sequence"]>;

function charactersOf({ id, label }: Sample, charset: readonly string[]): number[] {
  if (charset.length === 0)
    throw new TersorError(
      "bad-data",
      `sample "${id}": label is text: expected class indices, or a charset, got ${JSON.stringify(label)}. Give the loss a charset.`,
    );
  return Array.from(String(label), (character) => {
    const index = charset.indexOf(character);
    if (index >= 0) return index;
    throw new TersorError(
      "bad-data",
      `sample "${id}": label ${JSON.stringify(label)}: expected characters of the charset, got ${JSON.stringify(character)}, which is none of its ${charset.length} classes.`,
    );
  });
}

function outOfRange({ id }: Sample, value: number, classes: number | undefined, but: string): TersorError {
  return new TersorError(
    "bad-data",
    `sample "${id}": label out of range: expected 0 to ${(classes ?? 0) - 1}${but} got ${value}. The model has ${classes} classes.`,
  );
}

function labelNumbers({ id, label }: Sample, isClass: boolean): ArrayLike<number> {
  if (typeof label === "number") return [label];
  if (label === undefined)
    throw new TersorError(
      "bad-data",
      `sample "${id}": has no label: expected ${isClass ? "a class index" : "numbers"}. Give data with labels, or train on "input:NAME" or with a teacher.`,
    );
  if (typeof label !== "string") return numbersOf(label, `sample "${id}": label`);
  throw new TersorError(
    "bad-data",
    `sample "${id}": label is text: expected ${isClass ? "a class index" : "numbers"}, got ${JSON.stringify(label)}. Give the data option "classes", with the names in the order of the model's outputs.`,
  );
}

function misfit({ id, label }: Sample, each: number, { dims }: TargetInput): TersorError {
  const got = typeof label === "object" ? describeTensor(label) : "one number";
  return new TersorError(
    "shape-mismatch",
    `sample "${id}": its label does not fit the loss: expected ${each} values (${["1", ...dims.slice(1)].join(" × ")}), got ${got}. Choose another output or loss.`,
  );
}
