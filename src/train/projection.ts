/** @file Makes a value of a student comparable with one of a teacher: places are pooled, widths are mapped by a layer that is learned along. */
import type { Emitter } from "../autodiff/emitter.ts";
import type { Value } from "../ir/value.ts";
import { initialTensor } from "../nn/init.ts";
import type { LossSettings } from "./loss-rule.ts";

/** Names of parameters that are trained along and are none of the model's. */
export type Learned = string[];

/**
 * The prediction in the target's width and the target in the prediction's places, where that can be done (Romero et al. 2015,
 * https://arxiv.org/abs/1412.6550, with pooling in place of a large kernel). Values of other ranks stay as they are.
 */
export function projected(
  op: Emitter,
  y: Value,
  t: Value,
  { project, seed }: Pick<LossSettings, "project"> & { readonly seed: number },
): { readonly y: Value; readonly t: Value; readonly learned: Learned } {
  const [from, to] = [op.shape(y), op.shape(t)];
  if (project === "never" || from.length !== to.length || from.length < 2) return { y, t, learned: [] };
  const axis = widthAxis(from, to);
  const [pooledY, pooledT] = axis === 1 ? pooledAlike(op, y, t, 2) : [y, t];
  const [inputs = 1, outputs = 1] = [from[axis], to[axis]];
  if (project === "auto" && inputs === outputs) return { y: pooledY, t: pooledT, learned: [] };
  const prefix = `${y.name}.to.${t.name}`;
  op.subject = prefix;
  const isConv = axis === 1 && from.length > 2;
  const kernel = from.slice(2).map(() => 1);
  const fans = { in: inputs, out: outputs };
  const parameter = (name: string, dims: readonly number[]) => {
    const full = `${prefix}.${name}`;
    const known = op.graph.find(full);
    const value = known ?? op.graph.addInitializer(full, initialTensor("default", { dims, fans, seed, name: full }));
    op.declare(value, value.type);
    return value;
  };
  const w = parameter("weight", isConv ? [outputs, inputs, ...kernel] : [inputs, outputs]);
  const b = parameter("bias", [outputs]);
  const mapped = isConv ? op.Conv(pooledY, w, b, { kernel_shape: kernel }) : op.Add(op.MatMul(pooledY, w), b);
  return { y: mapped, t: pooledT, learned: [w.name, b.name] };
}

/** The axis of widths: channels behind the batch; of rank 3 the last one too, as [batch, steps, features] has it. */
function widthAxis(a: readonly number[], b: readonly number[]): number {
  return a.length === 3 && a[1] === b[1] ? 2 : 1;
}

/** Both values with the smaller of the two sizes on every axis from `first` on: the mean over windows, as even as they can be. */
export function pooledAlike(op: Emitter, a: Value, b: Value, first: number): readonly [Value, Value] {
  let [x, y] = [a, b];
  for (let axis = first; axis < Math.min(op.rank(a), op.rank(b)); axis++) {
    const size = Math.min(op.shape(a)[axis] ?? 1, op.shape(b)[axis] ?? 1);
    x = pooled(op, x, axis, size);
    y = pooled(op, y, axis, size);
  }
  return [x, y];
}

/** As a product with a constant matrix: window i of m goes from ⌊i n / m⌋ to ⌈(i + 1) n / m⌉. */
function pooled(op: Emitter, x: Value, axis: number, m: number): Value {
  const n = op.shape(x)[axis] ?? 1;
  if (n === m) return x;
  const windows = Array.from({ length: n * m }, (_, at) => {
    const [place, i] = [Math.floor(at / m), at % m];
    const [begin, end] = [Math.floor((i * n) / m), Math.ceil(((i + 1) * n) / m)];
    return place >= begin && place < end ? 1 / (end - begin) : 0;
  });
  const last = op.rank(x) - 1;
  const swap = Array.from({ length: last + 1 }, (_, i) => (i === axis ? last : i === last ? axis : i));
  const moved = op.MatMul(op.transpose(x, swap), op.constant(op.dtype(x), [n, m], windows));
  return op.transpose(moved, swap);
}
