/**
 * @file Decompositions of attention, as the standard and com.microsoft have it, and of rotary embeddings. Names: b batch, s query
 * length, t key length, h heads, d head size. Queries, keys and values are [b, h, length, d] on the way.
 */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { TersorError } from "../../util/errors.ts";
import type { Emitter } from "../emitter.ts";
import { swapped } from "../rules/linalg.ts";
import type { Decomposition, Decompositions } from "./decomposition.ts";

interface Heads {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  /** Factor of q k'; 1 / sqrt(d) unless given. */
  readonly scale: number | undefined;
  /** Bound of the scores, by tanh; 0 for none. */
  readonly softcap?: number;
  /** What is added to the scores, each broadcast with [b, h, s, t]. */
  readonly biases: readonly (Value | undefined)[];
}

interface Attended {
  /** [b, h, s, d] */
  readonly y: Value;
  /** q k', scaled; and what softmax makes of it: [b, h, s, t]. */
  readonly scores: Value;
  readonly weights: Value;
}

/** softmax(softcap(scale q k') + biases) v */
function attend(op: Emitter, { q, k, v, scale, softcap = 0, biases }: Heads): Attended {
  const factor = scale ?? 1 / Math.sqrt(op.shape(q).at(-1) ?? 1);
  const scores = op.MatMul(op.Mul(q, factor), swapped(op, k));
  const capped = softcap > 0 ? op.Mul(op.Tanh(op.Div(scores, softcap)), softcap) : scores;
  const [first, ...rest] = biases.filter((bias) => bias !== undefined);
  const bias = first && rest.reduce((sum, each) => op.Add(sum, each), first);
  const weights = op.Softmax(bias ? op.Add(capped, bias) : capped, { axis: -1 });
  return { y: op.MatMul(weights, v), scores, weights };
}

/** Far below any score; several of them still add up to a number. */
function excluded(op: Emitter, like: Value): number {
  return op.dtype(like) === "float16" ? -1e4 : -1e30;
}

/** 0 where the condition holds, and what excludes a key where it does not. */
function biasOf(op: Emitter, condition: Value, like: Value, out: number = excluded(op, like)): Value {
  return op.Where(condition, op.like(like, 0), op.like(like, out));
}

/** [s, t]: the keys up to each query's own place, which `past` others precede. */
function causalBias(op: Emitter, like: Value, [s, t, past]: readonly [number, number, number]): Value {
  const queries = op.constant(
    "int64",
    [s, 1],
    Array.from({ length: s }, (_, i) => i + past),
  );
  return biasOf(op, op.LessOrEqual(positions(op, t), queries), like);
}

/** [t] */
function positions(op: Emitter, t: number): Value {
  return op.constant("int64", [t], [...Array(t).keys()]);
}

/** [b, length, h · d] to [b, h, length, d]. */
function split(op: Emitter, x: Value, h: number): Value {
  const [b = 1, length = 1, width = 1] = op.shape(x);
  return op.transpose(op.reshape(x, [b, length, h, width / h]), [0, 2, 1, 3]);
}

/** [b, h, length, d] to [b, length, h · d]. */
function merge(op: Emitter, x: Value): Value {
  const [b = 1, h = 1, length = 1, d = 1] = op.shape(x);
  return op.reshape(op.transpose(x, [0, 2, 1, 3]), [b, length, h * d]);
}

/** [b, few, t, d] with every head repeated so that there are `h`. */
function repeated(op: Emitter, x: Value, h: number): Value {
  const [b = 1, few = 1, t = 1, d = 1] = op.shape(x);
  if (few === h) return x;
  return op.reshape(op.Expand(op.Unsqueeze(x, [2]), [b, few, h / few, t, d]), [b, h, t, d]);
}

function withPast(op: Emitter, past: Value | undefined, x: Value): Value {
  return past ? op.Concat(past, x, { axis: 2 }) : x;
}

function lengthOf(op: Emitter, x: Value | undefined): number {
  return x ? (op.shape(x)[2] ?? 0) : 0;
}

function refuse(node: Node, expected: string, got: string): never {
  throw new TersorError(
    "unsupported-op",
    `${node}: no gradient for this form: expected ${expected}, got ${got}. Export the model with attention written out.`,
  );
}

/** Inputs q, k, v, mask, past key, past value, lengths of keys. */
const attention: Decomposition = ({ node, op, x: [query, key, value, mask, pastKey, pastValue, lengths] }) => {
  if (!query || !key || !value) return undefined;
  for (const side of ["left_window_size", "right_window_size"])
    if (node.int(side, -1) !== -1) refuse(node, `${side} of -1`, `${node.int(side)}`);
  const isFlat = op.rank(query) === 3;
  const heads = (x: Value, attribute: string) => (isFlat ? split(op, x, node.int(attribute, 1)) : x);
  const q = heads(query, "q_num_heads");
  const k = withPast(op, pastKey, heads(key, "kv_num_heads"));
  const v = withPast(op, pastValue, heads(value, "kv_num_heads"));
  const [, h = 1, s = 1] = op.shape(q);
  const t = lengthOf(op, k);
  const ends = lengths && op.Unsqueeze(op.cast(lengths, "int64"), [1, 2, 3]);
  const isCausal = node.int("is_causal", 0) === 1;
  const own = op.constant("int64", [s, 1], [...Array(s).keys()]);
  const biases = [
    mask && maskBias(op, mask, q, t),
    ends && biasOf(op, op.Less(positions(op, t), ends), q),
    isCausal && !ends ? causalBias(op, q, [s, t, lengthOf(op, pastKey)]) : undefined,
    isCausal && ends
      ? biasOf(op, op.LessOrEqual(positions(op, t), op.Add(own, op.Sub(ends, op.constant("int64", [], [s])))), q)
      : undefined,
  ];
  const [scale, softcap] = [node.float("scale"), node.float("softcap", 0)];
  const { y, scores, weights } = attend(op, {
    q,
    k: repeated(op, k, h),
    v: repeated(op, v, h),
    scale,
    softcap,
    biases,
  });
  const stage = node.int("qk_matmul_output_mode", 0);
  if (node.outputs[3] && stage !== 0 && stage !== 3) refuse(node, "qk_matmul_output_mode 0 or 3", `${stage}`);
  return [isFlat ? merge(op, y) : y, k, v, stage === 0 ? scores : weights];
};

/** A mask of conditions or of numbers to add; keys beyond its end are excluded. */
function maskBias(op: Emitter, mask: Value, like: Value, t: number): Value {
  const bias = op.dtype(mask) === "bool" ? biasOf(op, mask, like) : mask;
  const missing = t - (op.shape(mask).at(-1) ?? t);
  return missing > 0 ? op.pad(bias, -1, 0, missing, op.like(like, excluded(op, like))) : bias;
}

/** ONNX Runtime's masks: lengths [b], keys [b, t], queries and keys [b, s, t], or all [b, h, s, t]; 0 excludes. */
function filterBias(op: Emitter, node: Node, mask: Value, q: Value, t: number): Value {
  const [b = 1] = op.shape(q);
  const shape = op.shape(mask);
  const out = node.float("mask_filter_value", -10000);
  if (shape.length === 1) {
    if (shape[0] !== b) refuse(node, `a mask of [batch] or more axes`, `[${shape}]`);
    const ends = op.reshape(op.cast(mask, "int64"), [b, 1, 1, 1]);
    return biasOf(op, op.Less(positions(op, t), ends), q, out);
  }
  const axes = shape.length === 2 ? [1, 2] : shape.length === 3 ? [1] : [];
  const condition = op.Greater(mask, op.constant(op.dtype(mask), [], [0]));
  return biasOf(op, axes.length > 0 ? op.Unsqueeze(condition, axes) : condition, q, out);
}

/** 0 stands for the default in com.microsoft. */
function scaleOf(node: Node): number | undefined {
  return node.float("scale", 0) || undefined;
}

/** Inputs x [b, s, in], weights [in, q + k + v], bias, mask, past [2, b, h, p, d], bias of the scores. */
const packedAttention: Decomposition = ({ node, op, x: [input, weights, bias, mask, past, scoreBias] }) => {
  if (node.int("do_rotary", 0) === 1) refuse(node, "do_rotary of 0", "1");
  if (node.int("past_present_share_buffer", 0) === 1) refuse(node, "a cache of its own", "past_present_share_buffer 1");
  const h = node.int("num_heads", 1);
  const third = (op.shape(weights)[1] ?? 3) / 3;
  const sizes = node.ints("qkv_hidden_sizes") ?? [third, third, third];
  const product = op.MatMul(input, weights);
  const parts = op.emit("Split", [bias ? op.Add(product, bias) : product, sizes, { axis: 2 }], 3);
  const [q, newKey, newValue] = parts.map((part) => split(op, part, h)) as [Value, Value, Value];
  const [pastKey, pastValue] = past
    ? op.emit("Split", [past, { axis: 0, num_outputs: 2 }], 2).map((half) => op.Squeeze(half, [0]))
    : [];
  const [k, v] = [withPast(op, pastKey, newKey), withPast(op, pastValue, newValue)];
  const [s, t] = [lengthOf(op, q), lengthOf(op, k)];
  const biases = [
    mask && filterBias(op, node, mask, q, t),
    scoreBias,
    node.int("unidirectional", 0) === 1 ? causalBias(op, q, [s, t, lengthOf(op, pastKey)]) : undefined,
  ];
  const { y } = attend(op, { q, k, v, scale: scaleOf(node), biases });
  const present = node.outputs[1] && op.Concat(op.Unsqueeze(k, [0]), op.Unsqueeze(v, [0]), { axis: 0 });
  return [merge(op, y), present];
};

/** The queries, keys and values of MultiHeadAttention, with its bias where they are [b, length, h · d]. */
function multiHeads(op: Emitter, node: Node, [query, key, value, bias]: readonly (Value | undefined)[]): Value[] {
  if (!query || !key || !value) refuse(node, "query, key and value", "several of them packed in one");
  const width = op.shape(query)[2] ?? 0;
  const sizes = [width, width, (op.shape(bias ?? query).at(-1) ?? 0) - 2 * width];
  const biases = bias ? op.emit("Split", [bias, sizes, { axis: 0 }], 3) : [];
  return [query, key, value].map((x, i) => {
    if (op.rank(x) === 4) return x;
    return split(op, biases[i] ? op.Add(x, biases[i]) : x, node.int("num_heads", 1));
  });
}

/** Inputs query, key, value, bias, mask of keys, bias of the scores, past key, past value. */
const multiHeadAttention: Decomposition = ({ node, op, x }) => {
  const [, , , , mask, scoreBias, pastKey, pastValue] = x;
  if (x[8] || x[9]) refuse(node, "no cache that beams share", "cache_indirection");
  const [q, newKey, newValue] = multiHeads(op, node, x) as [Value, Value, Value];
  const [k, v] = [withPast(op, pastKey, newKey), withPast(op, pastValue, newValue)];
  const [s, t] = [lengthOf(op, q), lengthOf(op, k)];
  const biases = [
    mask && filterBias(op, node, mask, q, t),
    scoreBias,
    node.int("unidirectional", 0) === 1 ? causalBias(op, q, [s, t, lengthOf(op, pastKey)]) : undefined,
  ];
  const { y, scores } = attend(op, { q, k, v, scale: scaleOf(node), biases });
  return [merge(op, y), k, v, scores];
};

interface Rotation {
  readonly cosines: Value | undefined;
  readonly sines: Value | undefined;
  /** [b, s]; undefined where the tables are [b, s, d / 2] already. */
  readonly places: Value | undefined;
}

/** Pairs of elements of x [b, h, s, d] or [b, s, h · d] turned by the angle of their place. */
function rotated(op: Emitter, node: Node, x: Value, { cosines, sines, places }: Rotation): Value {
  const isFlat = op.rank(x) === 3;
  const [size = 0] = [op.shape(cosines).at(-1)];
  const width = node.int("rotary_embedding_dim", 0) || 2 * size;
  const flatHeads = node.int("num_heads", 0) || (op.shape(x).at(-1) ?? 0) / width;
  const heads = isFlat ? split(op, x, flatHeads) : x;
  const [b = 1, h = 1, s = 1, d = 1] = op.shape(heads);
  const half = width / 2;
  const table = (value: Value | undefined) => op.Unsqueeze(places ? op.Gather(value, places, { axis: 0 }) : value, [1]);
  const [cos, sin] = [table(cosines), table(sines)];
  const [turned, rest] = d === width ? [heads] : op.emit("Split", [heads, [width, d - width], { axis: 3 }], 2);
  const isInterleaved = node.int("interleaved", 0) === 1;
  const pairs = op.reshape(turned, [b, h, s, ...(isInterleaved ? [half, 2] : [2, half])]);
  const axis = isInterleaved ? 4 : 3;
  const [real, imaginary] = op
    .emit("Split", [pairs, { axis, num_outputs: 2 }], 2)
    .map((part) => op.Squeeze(part, [axis]));
  const both = [
    op.Sub(op.Mul(real, cos), op.Mul(imaginary, sin)),
    op.Add(op.Mul(real, sin), op.Mul(imaginary, cos)),
  ].map((part) => op.Unsqueeze(part, [axis]));
  const whole = op.reshape(op.Concat(...both, { axis }), [b, h, s, width]);
  const y = rest ? op.Concat(whole, rest, { axis: 3 }) : whole;
  return isFlat ? merge(op, y) : y;
}

export const attentions = {
  Attention: attention,
  RotaryEmbedding: ({ node, op, x: [x, cosines, sines, places] }) =>
    x && [rotated(op, node, x, { cosines, sines, places })],
} satisfies Decompositions;

export const contribAttentions = {
  Attention: packedAttention,
  MultiHeadAttention: multiHeadAttention,
  // Places are [b, s], or the place of the first, [1].
  RotaryEmbedding: ({ node, op, x: [x, given, cosines, sines] }) => {
    if (!x) return undefined;
    const [b = 1, s = 1] = op.rank(x) === 4 ? [op.shape(x)[0], op.shape(x)[2]] : op.shape(x);
    const isFirst = op.rank(given) === 1;
    const places = isFirst ? op.Expand(op.Add(given, positions(op, s)), [b, s]) : given;
    return [rotated(op, node, x, { cosines, sines, places })];
  },
} satisfies Decompositions;
