/** @file Shape rules: attention, its caches and embeddings. Names: b batch, s query length, t key length, h heads, d head size. */
import type { Dim, Shape } from "../../ir/types.ts";
import { addDims, divideDims, maxDim, multiplyDims } from "../symbolic/dim.ts";
import type { Call, MaybeType, ShapeRule, ShapeRules } from "./call.ts";
import { likeFirst } from "./elementwise.ts";

/** The node's outputs as far as it has them, all of one element type. */
function outputs(
  call: Call,
  dtype: MaybeType | undefined,
  ...shapes: readonly (Shape | undefined)[]
): readonly MaybeType[] {
  const type = dtype?.kind === "tensor" ? dtype.dtype : undefined;
  return shapes.map((shape, i) => (call.node.outputs[i] ? call.out(shape, type) : undefined));
}

/** Dims of [b, h, s, d], or of [b, s, h·d] with the heads as an attribute. */
function heads(call: Call, index: number, count: Dim): { b: Dim; h: Dim; s: Dim; d: Dim } {
  const shape = call.shape(index);
  if (shape?.length === 4) {
    const [b = null, h = null, s = null, d = null] = shape;
    return { b, h, s, d };
  }
  const [b = null, s = null, hidden = null] = call.ranked(index, 3) ?? [];
  return { b, h: count, s, d: divideDims(hidden, count) };
}

/** ai.onnx Attention: q, k, v, mask?, past key?, past value?. Y is as q, with v's head size. */
const attention: ShapeRule = (call) => {
  const rank = call.rank(0);
  const q = heads(call, 0, call.node.int("q_num_heads") ?? null);
  const kvHeads = call.node.int("kv_num_heads") ?? null;
  const [k, v] = [heads(call, 1, kvHeads), heads(call, 2, kvHeads)];
  const total = call.has(4) ? addDims(call.shape(4)?.[2] ?? null, k.s) : k.s;
  const y: Shape | undefined =
    rank === 4 ? [q.b, q.h, q.s, v.d] : rank === 3 ? [q.b, q.s, multiplyDims(q.h, v.d)] : undefined;
  const [type] = call.types;
  return outputs(call, type, y, [q.b, k.h, total, k.d], [q.b, v.h, total, v.d], [q.b, q.h, q.s, total]);
};

/** com.microsoft Attention: input [b, s, hidden], weights [hidden, q+k+v], past [2, b, h, p, d]. */
function packedAttention(past: number, dtypeFrom: number): ShapeRule {
  return (call) => {
    const [b = null, s = null] = call.ranked(0, 3) ?? [];
    const sizes = call.node.ints("qkv_hidden_sizes");
    const h = call.int("num_heads", 1);
    const third = divideDims(call.shape(1)?.[1] ?? null, 3);
    const v: Dim = sizes?.[2] ?? third;
    const cached = call.has(past) ? (call.shape(past)?.[3] ?? null) : 0;
    const shared = call.flag("past_present_share_buffer");
    const present: Shape = [2, b, h, shared ? cached : addDims(cached, s), divideDims(sizes?.[1] ?? third, h)];
    return outputs(call, call.types[dtypeFrom], [b, s, v], present);
  };
}

/**
 * com.microsoft MultiHeadAttention: query [b, s, h·d]; key, value as the query, or [b, h, t, d] (computed before), or
 * packed: query [b, s, h, 3, d] alone, key [b, t, h, 2, d].
 */
const multiHead: ShapeRule = (call) => {
  const query = call.shape(0);
  if (!query) return [];
  const h = call.int("num_heads", 1);
  const [b = null, s = null] = query;
  const packed = query.length === 5;
  const width: Dim = packed ? multiplyDims(h, query[4] ?? null) : (query[2] ?? null);
  const key = call.shape(1);
  const value = call.shape(2);
  const t: Dim = packed ? s : (key?.[key.length === 4 ? 2 : 1] ?? null);
  const valueWidth: Dim =
    value?.length === 4 ? multiplyDims(h, value[3] ?? null) : value ? (value[2] ?? null) : call.has(2) ? null : width;
  const total = call.has(6) ? addDims(call.shape(6)?.[2] ?? null, t) : t;
  const shared = call.flag("past_present_share_buffer") && call.has(6);
  const length = shared ? (call.shape(6)?.[2] ?? null) : total;
  const present = (size: Dim): Shape => [b, h, length, divideDims(size, h)];
  return outputs(call, call.types[0], [b, s, valueWidth], present(width), present(valueWidth), [b, h, s, total]);
};

/** Decoding step of MultiHeadAttention: key and value caches at 5 and 6. */
const maskedMultiHead: ShapeRule = (call) => {
  const query = call.shape(0);
  const value = call.shape(2);
  const width = value?.length === 4 ? multiplyDims(value[1] ?? null, value[3] ?? null) : query?.[2];
  const caches = [call.shape(5), call.shape(6)];
  return outputs(call, call.types[0], query && [query[0] ?? null, query[1] ?? null, width ?? null], ...caches);
};

/** Query [b, s, h·d], or with keys and values packed behind it [b, s, (h + 2·kv)·d]. */
const groupQuery: ShapeRule = (call) => {
  const query = call.ranked(0, 3);
  const [b = null, s = null, width = null] = query ?? [];
  const [h, kv] = [call.int("num_heads", 1), call.int("kv_num_heads", 1)];
  const d = call.has(1) ? divideDims(width, h) : divideDims(width, h + 2 * kv);
  const total = call.scalar(6);
  const past = call.shape(3);
  // A cache as long as its buffer is written in place; else it grows to the total length.
  const length = call.has(3) ? maxDim(past?.[2] ?? null, total) : total;
  const cacheWidth = past?.[3] ?? d;
  const present: Shape = [b, kv, length, cacheWidth];
  const cache = call.has(3) ? call.types[3] : call.types[0];
  const [y] = outputs(call, call.types[0], [b, s, multiplyDims(h, d)]);
  const [, key, value] = outputs(call, cache, undefined, present, present);
  const [, , , qk] = outputs(call, call.types[0], undefined, undefined, undefined, [b, h, s, total]);
  return [y, key, value, qk];
};

const sparseAttention: ShapeRule = (call) => {
  const [b = null, s = null, width = null] = call.ranked(0, 3) ?? [];
  const [h, kv] = [call.int("num_heads", 1), call.int("kv_num_heads", 1)];
  const d = call.has(1) ? divideDims(width, h) : divideDims(width, h + 2 * kv);
  return outputs(call, call.types[0], [b, s, multiplyDims(h, d)], call.shape(3), call.shape(4));
};

/** Every cache keeps its shape. */
const pagedAttention: ShapeRule = (call) => {
  const [tokens = null, width = null] = call.shape(0) ?? [];
  const [h, kv] = [call.int("num_heads", 1), call.int("kv_num_heads", 1)];
  const d = call.has(1) ? divideDims(width, h) : divideDims(width, h + 2 * kv);
  const [y] = outputs(call, call.types[0], [tokens, multiplyDims(h, d)]);
  return [y, call.types[3], call.types[4]];
};

/** output as the input; mean and deviation per row; the sum before normalization. */
const skipNorm: ShapeRule = (call) => {
  const shape = call.shape(0);
  const rows = shape?.map((dim, i) => (i === shape.length - 1 ? 1 : dim));
  return call.outs(shape, rows, rows, shape);
};

/** ids [b, s], word embedding [vocabulary, hidden] → [b, s, hidden], mask index [b], sum [b, s, hidden]. */
const embedNorm: ShapeRule = (call) => {
  const ids = call.shape(0);
  const y = ids && [...ids, call.shape(2)?.[1] ?? null];
  return call.outs(y, [ids?.[0] ?? null], y);
};

const relativeBias: ShapeRule = (call) => [call.out([1, call.shape(0)?.[1] ?? null, call.scalar(1), call.scalar(2)])];

export const attentions: ShapeRules = { Attention: attention, RotaryEmbedding: likeFirst };

export const contribAttentions: ShapeRules = {
  Attention: packedAttention(4, 0),
  DecoderMaskedSelfAttention: packedAttention(4, 0),
  QAttention: packedAttention(8, 3),
  MultiHeadAttention: multiHead,
  DecoderMaskedMultiHeadAttention: maskedMultiHead,
  GroupQueryAttention: groupQuery,
  SparseAttention: sparseAttention,
  PagedAttention: pagedAttention,
  LongformerAttention: likeFirst,
  RotaryEmbedding: likeFirst,
  MRotaryEmbedding: likeFirst,
  GemmaRotaryEmbedding: (call) => [call.out(call.shape(1), call.dtype(1)), call.out(call.shape(1), call.dtype(1))],
  SkipLayerNormalization: skipNorm,
  SkipSimplifiedLayerNormalization: skipNorm,
  EmbedLayerNormalization: embedNorm,
  QEmbedLayerNormalization: embedNorm,
  RelativePositionBias: relativeBias,
};
