/** @file Losses that transfer what lies between values of a teacher, whatever their widths: where they look, and how samples relate. */
import type { Emitter } from "../autodiff/emitter.ts";
import type { Value } from "../ir/value.ts";
import { TersorError } from "../util/errors.ts";
import type { LossCall, LossRule } from "./loss-rule.ts";
import { pooledAlike } from "./projection.ts";

/** Below this, a square counts as 0. */
const LEAST = 1e-12;

// mean over samples of ‖q(y) − q(t)‖²    q = m / ‖m‖, m = Σ a² over channels: Zagoruyko & Komodakis 2017, https://arxiv.org/abs/1612.03928
export const attention: LossRule = {
  target: "own",
  summary: "where a value is large: the normalized sum of squares over channels, pooled where sizes differ",
  emit: ({ op, y, t, options }) => {
    checkMaps(op, [y, t], options);
    const map = (x: Value) => op.ReduceSum(op.Mul(x, x), [options.channelAxis], { keepdims: 0 });
    const [a, b] = pooledAlike(op, map(y), map(t), 1);
    const unit = (m: Value) => {
      const flat = rows(op, m);
      const squares = op.ReduceSum(op.Mul(flat, flat), [1], { keepdims: 1 });
      return op.Div(flat, op.Sqrt(op.Add(squares, LEAST)));
    };
    const d = op.Sub(unit(a), unit(b));
    return op.ReduceMean(op.ReduceSum(op.Mul(d, d), [1], { keepdims: 0 }), { keepdims: 0 });
  },
};

// mean over pairs of huber(d(y) − d(t))    d = |xᵢ − xⱼ| / mean of all |xᵢ − xⱼ|: RKD-D of Park et al. 2019, https://arxiv.org/abs/1904.05068
export const relationDistance: LossRule = {
  target: "own",
  summary: "how far samples of a batch lie from each other, by their mean distance",
  emit: (call) => {
    const { op } = call;
    const n = samplesOf(call, 2);
    const pairs = n * (n - 1);
    const relative = (x: Value) => {
      const { distance } = geometry(op, x, n);
      return op.Div(distance, op.Mul(op.ReduceSum(distance, { keepdims: 0 }), 1 / pairs));
    };
    return op.Mul(op.ReduceSum(huber(op, relative(call.y), relative(call.t)), { keepdims: 0 }), 1 / pairs);
  },
};

// mean over triples of huber(cos y − cos t)    cos = ⟨xᵢ − xⱼ, xₖ − xⱼ⟩ / (|xᵢ − xⱼ| |xₖ − xⱼ|), the angle at j: RKD-A of the same
export const relationAngle: LossRule = {
  target: "own",
  summary: "the angles that samples of a batch make with each other",
  emit: (call) => {
    const { op } = call;
    const n = samplesOf(call, 3);
    const cosines = (x: Value) => {
      const { products, squares, distance, apart } = geometry(op, x, n);
      // ⟨xᵢ − xⱼ, xₖ − xⱼ⟩ = ⟨i, k⟩ − ⟨j, i⟩ − ⟨j, k⟩ + ⟨j, j⟩, as [j, i, k]
      const across = op.Sub(op.Unsqueeze(products, [0]), op.Unsqueeze(products, [2]));
      const product = op.Add(op.Sub(across, op.Unsqueeze(products, [1])), op.reshape(squares, [n, 1, 1]));
      const inverse = op.Div(apart, op.Add(distance, op.Sub(op.like(x, 1), apart)));
      return op.Mul(op.Mul(product, op.Unsqueeze(inverse, [2])), op.Unsqueeze(inverse, [1]));
    };
    const sum = op.ReduceSum(huber(op, cosines(call.y), cosines(call.t)), { keepdims: 0 });
    return op.Mul(sum, 1 / (n * (n - 1) * (n - 2)));
  },
};

/** Inner products and distances of the rows of x, around their mean, which loses least to rounding. */
function geometry(op: Emitter, x: Value, n: number) {
  const flat = rows(op, x);
  const centred = op.Sub(flat, op.ReduceMean(flat, [0], { keepdims: 1 }));
  const products = op.MatMul(centred, op.transpose(centred, [1, 0]));
  const squares = op.ReduceSum(op.Mul(centred, centred), [1], { keepdims: 1 });
  const apart = op.constant(
    op.dtype(x),
    [n, n],
    Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) !== 0)),
  );
  const between = op.Sub(op.Add(squares, op.transpose(squares, [1, 0])), op.Mul(products, 2));
  // Of a sample from itself it is 0, without the root's infinite slope.
  const distance = op.Mul(op.Sqrt(op.Clip(between, op.like(x, LEAST))), apart);
  /** `apart`: 1 for two samples, 0 for one and itself. */
  return { products, squares, distance, apart };
}

/** ½ d² up to 1, from there on |d| − ½. */
function huber(op: Emitter, a: Value, b: Value): Value {
  const d = op.Abs(op.Sub(a, b));
  const near = op.Min(d, op.like(d, 1));
  return op.Mul(near, op.Sub(d, op.Mul(near, 0.5)));
}

function rows(op: Emitter, x: Value): Value {
  const [n = 1, ...rest] = op.shape(x);
  return op.reshape(x, [n, rest.reduce((product, dim) => product * dim, 1)]);
}

function checkMaps(op: Emitter, values: readonly [Value, Value], { channelAxis }: LossCall["options"]): void {
  const [y, t] = values.map((value) => op.shape(value)) as [readonly number[], readonly number[]];
  if (y.length === t.length && y.length > 2 && channelAxis < y.length) return;
  const [first, second] = values.map(({ name }, i) => `"${name}" [${(i === 0 ? y : t).join(", ")}]`);
  throw new TersorError(
    "shape-mismatch",
    `loss attention of ${first} and ${second}: expected channels at axis ${channelAxis} and as many axes of places beside them, as in [batch, channels, height, width]. Name other values, or take a relation.`,
  );
}

function samplesOf({ op, y, options: { name } }: LossCall, least: number): number {
  const [n = 1] = op.shape(y);
  if (n >= least) return n;
  throw new TersorError(
    "shape-mismatch",
    `loss ${name} of "${y.name}": it compares samples of a batch with each other: expected a batch of ${least} or more, got ${n}. Use a larger batchSize.`,
  );
}
