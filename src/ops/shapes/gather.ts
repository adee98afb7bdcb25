/** @file Shape rules: elements picked or placed by index, and sizes that depend on data. */
import type { Dim, Shape } from "../../ir/types.ts";
import { multiplyDims, product } from "../symbolic/dim.ts";
import { type ShapeRule, type ShapeRules, unknownShape } from "./call.ts";
import { likeFirst } from "./elementwise.ts";

/** data with `axis` replaced by the shape of the indices. */
export function gatherOf(dataIndex: number, indicesIndex: number, attribute = "axis"): ShapeRule {
  return (call) => {
    const [data, indices] = [call.shape(dataIndex), call.shape(indicesIndex)];
    if (!data || !indices) return [call.out(undefined)];
    const axis = call.axis(call.int(attribute, 0), data.length);
    return [call.out([...data.slice(0, axis), ...indices, ...data.slice(axis + 1)])];
  };
}

/** The last dim of the indices, k long, addresses k dims after the batch dims. */
const gatherNd: ShapeRule = (call) => {
  const [data, indices] = [call.shape(0), call.shape(1)];
  const depth = indices?.at(-1);
  const batch = call.int("batch_dims", 0);
  if (!data || !indices || typeof depth !== "number") return [call.out(undefined)];
  if (batch + depth > data.length) call.fail("last dim of the indices", `up to ${data.length - batch}`, `${depth}`);
  return [call.out([...indices.slice(0, -1), ...data.slice(batch + depth)])];
};

const gatherElements: ShapeRule = (call) => {
  const [data, indices] = [call.shape(0), call.shape(1)];
  if (data && indices && data.length !== indices.length)
    call.fail("rank of the indices", `${data.length}`, `[${indices}]`);
  return [call.out(indices ?? (data && unknownShape(data.length)))];
};

/** One new axis of size depth; -1 (the default) puts it last. */
const oneHot: ShapeRule = (call) => {
  const indices = call.shape(0);
  const depth = call.scalar(1);
  const dtype = call.dtype(2);
  if (!indices) return [call.out(undefined, dtype)];
  const axis = call.axis(call.int("axis", -1), indices.length, 1);
  return [call.out([...indices.slice(0, axis), depth, ...indices.slice(axis)], dtype)];
};

/** Known only from data: [rank, count]. */
const nonZero: ShapeRule = (call) => [call.out([call.rank(0) ?? null, null])];

const compress: ShapeRule = (call) => {
  const shape = call.shape(0);
  const axis = call.node.int("axis");
  const picks = call.numbers(1);
  const count: Dim = picks ? picks.filter((value) => value !== 0).length : null;
  if (axis === undefined) return [call.out([count])];
  if (!shape) return [call.out(undefined)];
  const at = call.axis(axis, shape.length);
  return [call.out(shape.map((dim, i) => (i === at ? count : dim)))];
};

const unique: ShapeRule = (call) => {
  const shape = call.shape(0);
  const axis = call.node.int("axis");
  const count: Shape = [null];
  const at = axis !== undefined && shape ? call.axis(axis, shape.length) : undefined;
  const values = axis === undefined ? count : shape?.map((dim, i) => (i === at ? null : dim));
  // For every element (or slice along the axis) where it went in the output.
  const inverse: Shape = [axis === undefined ? (shape ? product(shape) : null) : (shape?.[at ?? 0] ?? null)];
  return [
    call.out(values, call.dtype(0)),
    call.out(count, "int64"),
    call.out(inverse, "int64"),
    call.out(count, "int64"),
  ];
};

/** The n-grams' counts: [c] → [size], [n, c] → [n, size]. */
const tfIdf: ShapeRule = (call) => {
  const shape = call.shape(0);
  const indexes = call.node.ints("ngram_indexes") ?? [];
  const size = indexes.reduce((a, b) => Math.max(a, b), -1) + 1;
  return [call.out(shape && [...shape.slice(0, -1), size])];
};

export const gathers: ShapeRules = {
  Gather: gatherOf(0, 1),
  GatherElements: gatherElements,
  GatherND: gatherNd,
  Scatter: likeFirst,
  ScatterElements: likeFirst,
  ScatterND: likeFirst,
  TensorScatter: likeFirst,
  ReverseSequence: likeFirst,
  OneHot: oneHot,
  NonZero: nonZero,
  Compress: compress,
  Unique: unique,
  // [selected, 3]: batch, class, box.
  NonMaxSuppression: (call) => [call.out([null, 3])],
  TfIdfVectorizer: tfIdf,
  StringSplit: (call) => {
    const shape = call.shape(0);
    return [call.out(shape && [...shape, null], "string"), call.out(shape, "int64")];
  },
  // Strings in `stopwords` are dropped: [c] or [1, c].
  StringNormalizer: (call) => {
    const shape = call.shape(0);
    const drops = call.node.get("stopwords", "strings") !== undefined;
    return [call.out(drops ? shape?.map((dim, i) => (i === shape.length - 1 ? null : dim)) : shape)];
  },
  ImageDecoder: (call) => [call.out([null, null, call.node.string("pixel_format", "RGB") === "Grayscale" ? 1 : 3])],
};

export const contribGathers: ShapeRules = {
  GatherND: (call) => {
    const [data, indices] = [call.shape(0), call.shape(1)];
    const depth = indices?.at(-1);
    if (!data || !indices || typeof depth !== "number") return [call.out(undefined)];
    return [call.out([...indices.slice(0, -1), ...data.slice(depth)])];
  },
  // Codes below a byte are packed along the last axis of data when it is uint8.
  GatherBlockQuantized: (call) => {
    const [data, indices] = [call.shape(0), call.shape(1)];
    const scales = call.dtype(2);
    if (!data || !indices) return [call.out(undefined, scales)];
    const axis = call.axis(call.int("gather_axis", 0), data.length);
    const perByte = call.dtype(0) === "uint8" ? 8 / call.int("bits", 4) : 1;
    const full = data.map((dim, i) => (i === data.length - 1 ? multiplyDims(dim, perByte) : dim));
    return [call.out([...full.slice(0, axis), ...indices, ...full.slice(axis + 1)], scales)];
  },
  TorchEmbedding: (call) => {
    const [weight, indices] = [call.shape(0), call.shape(1)];
    return [call.out(indices && [...indices, weight?.[1] ?? null])];
  },
  Unique: (call) => [call.out([null], call.dtype(0)), call.out(call.shape(0), "int64"), call.out([null], "int64")],
};
