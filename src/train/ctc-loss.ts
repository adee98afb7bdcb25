/** @file CTC: the likelihood of a sequence of labels, over all ways to spread it over the steps. */
import type { Emitter } from "../autodiff/emitter.ts";
import { parseCharset } from "../evaluate/ctc.ts";
import type { Value } from "../ir/value.ts";
import { TersorError } from "../util/errors.ts";
import { logProbabilities } from "./log-probabilities.ts";
import type { LossRule, LossSettings } from "./loss-rule.ts";

/** log 0, in numbers that can be added up. */
const NEVER = -1e30;

/**
 * mean over samples of −log P / max(1, labels). P = α(last label) + α(last blank) after the last step, where states are
 * blank, label 1, blank, label 2, …, blank, and αₜ(s) = pₜ(s) (αₜ₋₁(s) + αₜ₋₁(s − 1) + [s is a label, another than the one before] αₜ₋₁(s − 2)):
 * Graves et al. 2006, https://doi.org/10.1145/1143844.1143891. Everything as logarithms, one step after the other.
 */
export const ctc: LossRule = {
  target: "sequence",
  summary: "texts and other sequences of labels, from scores [batch, steps, classes]; a blank stands between repeats",
  emit: ({ op, y, t, options }) => {
    const [n = 1, steps = 1, classes = 1] = op.shape(y);
    const [, most = 1] = op.shape(t);
    const states = 2 * most + 1;
    const dtype = op.dtype(y);
    const blank = blankOf(options, classes);
    const isLabel = op.GreaterOrEqual(t, op.constant("int64", [], [0]));
    const labels = op.Where(isLabel, t, op.constant("int64", [], [blank]));
    const blanks = (count: number) => op.constant("int64", [n, count], new Array<number>(n * count).fill(blank));
    const pairs = op.Concat(op.Unsqueeze(blanks(most), [2]), op.Unsqueeze(labels, [2]), { axis: 2 });
    const state = op.Concat(op.reshape(pairs, [n, 2 * most]), blanks(1), { axis: 1 });
    const index = op.Expand(op.Unsqueeze(state, [1]), [n, steps, states]);
    const scores = op.GatherElements(logProbabilities(op, y, 2), index, { axis: 2 });
    const parts = op.emit("Split", [scores, { axis: 1, num_outputs: steps }], steps);
    const at = parts.map((part) => op.reshape(part, [n, states]));

    const never = (condition: Value) =>
      op.Where(condition, op.constant(dtype, [], [0]), op.constant(dtype, [], [NEVER]));
    const before = op.Concat(blanks(2), op.Slice(state, [0], [states - 2], [1]), { axis: 1 });
    const skips = never(op.And(op.Not(op.Equal(state, before)), isOdd(op, states)));
    const begin = Array.from({ length: states }, (_, s) => (s < 2 ? 0 : NEVER));
    let alpha = op.Add(at[0], op.constant(dtype, [1, states], begin));
    for (const score of at.slice(1)) {
      const wide = op.Pad(alpha, [0, 2, 0, 0], op.constant(dtype, [], [NEVER]));
      const one = op.Slice(wide, [1], [states + 1], [1]);
      const two = op.Add(op.Slice(wide, [0], [states], [1]), skips);
      alpha = op.Add(logSum(op, [alpha, one, two]), score);
    }
    const count = op.ReduceSum(op.cast(isLabel, "int64"), [1], { keepdims: 1 });
    const last = op.Mul(count, op.constant("int64", [], [2]));
    const place = op.constant(
      "int64",
      [1, states],
      Array.from({ length: states }, (_, s) => s),
    );
    const isEnd = op.And(
      op.GreaterOrEqual(place, op.Sub(last, op.constant("int64", [], [1]))),
      op.LessOrEqual(place, last),
    );
    const likelihood = op.emit("ReduceLogSumExp", [op.Add(alpha, never(isEnd)), [1], { keepdims: 0 }])[0];
    const length = op.Clip(op.cast(op.Squeeze(count, [1]), dtype), op.like(y, 1));
    return op.Neg(op.ReduceMean(op.Div(likelihood, length), { keepdims: 0 }));
  },
};

/** log Σ exp, element by element. */
function logSum(op: Emitter, values: readonly Value[]): Value {
  const stacked = op.Concat(...values.map((value) => op.Unsqueeze(value, [0])), { axis: 0 });
  return op.emit("ReduceLogSumExp", [stacked, [0], { keepdims: 0 }])[0] as Value;
}

function isOdd(op: Emitter, states: number): Value {
  return op.constant(
    "bool",
    [1, states],
    Array.from({ length: states }, (_, s) => s % 2),
  );
}

/** The class that stands for no label. @throws shape-mismatch for a charset of another size */
function blankOf({ charset, blank, space }: LossSettings, classes: number): number {
  const given = charset === undefined ? classes : classesOf({ charset, blank, space }).length;
  if (given === classes) return blank === "first" ? 0 : classes - 1;
  throw new TersorError(
    "shape-mismatch",
    `loss ctc: the charset does not fit: expected ${classes} classes (the blank and a closing space counted), got ${given}.`,
  );
}

/** The text of each class. */
export function classesOf({
  charset,
  blank,
  space,
}: Pick<LossSettings, "charset" | "blank" | "space">): readonly string[] {
  return typeof charset === "string" ? parseCharset(charset, { blank, space }) : (charset ?? []);
}
