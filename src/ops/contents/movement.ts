/** @file Elements of small tensors through operators that make, move, pick and sum them. */
import type { Attribute } from "../../ir/attribute.ts";
import { toSafeNumber } from "../../ir/node.ts";
import type { Dim } from "../../ir/types.ts";
import { own } from "../../util/own.ts";
import type { Call, Contents } from "../shapes/call.ts";
import { shapeRange } from "../shapes/generate.ts";
import { reducedAxes } from "../shapes/reduce.ts";
import { permuted } from "../shapes/reshape.ts";
import { sliceAxes } from "../shapes/window.ts";
import { addDims, maxDim, minDim, multiplyDims, product } from "../symbolic/dim.ts";
import type { ContentRule, ContentRules } from "./rule.ts";
import { at, build, contentsOf, contentsOfTensor, fitted } from "./tensor.ts";

/** Contents by attribute of Constant. */
const constants: Readonly<Record<string, (attribute: Attribute) => Contents | undefined>> = {
  value: (a) => ("value" in a && a.type === "tensor" ? contentsOfTensor(a.value) : undefined),
  value_int: (a) => ("value" in a && a.type === "int" ? contentsOf("int64", [], [toSafeNumber(a.value)]) : undefined),
  value_float: (a) => ("value" in a && a.type === "float" ? contentsOf("float32", [], [a.value]) : undefined),
  value_ints: (a) =>
    "value" in a && a.type === "ints" ? contentsOf("int64", [a.value.length], a.value.map(toSafeNumber)) : undefined,
  value_floats: (a) =>
    "value" in a && a.type === "floats" ? contentsOf("float32", [a.value.length], a.value) : undefined,
};

const constant: ContentRule = (call) => {
  for (const [name, attribute] of call.node.attributes) {
    const contents = own(constants, name)?.(attribute);
    if (contents) return [contents];
  }
  return [];
};

const shapeOp: ContentRule = (call) => {
  const shape = call.shape(0);
  if (!shape) return [];
  const dims = shape.slice(...shapeRange(call, shape.length));
  return [contentsOf("int64", [dims.length], dims)];
};

const size: ContentRule = (call) => {
  const shape = call.shape(0);
  return [shape && contentsOf("int64", [], [product(shape)])];
};

/** The same elements in the same order. */
const sameOrder: ContentRule = (call, [type]) => {
  const [input] = call.contents;
  return [input && type?.dims && contentsOf(input.dtype, type.dims, input.values)];
};

/** Each element of the output is one of input 0, at an index computed from its own. */
function moved(
  source: (call: Call, input: Contents) => ((index: readonly number[]) => readonly number[]) | undefined,
): ContentRule {
  return (call, [type]) => {
    const [input] = call.contents;
    const from = input && source(call, input);
    if (!input || !from || !type?.dims) return [];
    const values = build(type.dims, (index) => at(input, from(index)));
    return [values && contentsOf(input.dtype, type.dims, values)];
  };
}

const transpose = moved((call, { dims }) => {
  const axes = permuted(
    call,
    dims.map((_, i) => i),
    call.node.ints("perm"),
  );
  const place = dims.map((_, i) => axes.indexOf(i));
  return (index) => place.map((from) => index[from] ?? 0);
});

const tile = moved((call, { dims }) =>
  call.opset < 6 ? undefined : (index) => index.map((i, axis) => i % (dims[axis] ?? 1)),
);

const slice = moved((call, { dims }) => {
  const slices = sliceAxes(call, dims.length);
  if (!slices?.every(({ start }) => typeof start === "number")) return undefined;
  const starts = dims.map(() => 0);
  const steps = dims.map(() => 1);
  for (const { axis, start, step } of slices) {
    const dim = dims[axis] ?? 0;
    const first = (start as number) < 0 ? (start as number) + dim : (start as number);
    starts[axis] = Math.min(Math.max(first, 0), step > 0 ? dim : dim - 1);
    steps[axis] = step;
  }
  return (index) => index.map((i, axis) => (starts[axis] ?? 0) + i * (steps[axis] ?? 1));
});

const gather: ContentRule = (call, [type]) => {
  const [data, indices] = call.contents;
  if (!data || !indices || !type?.dims) return [];
  const axis = call.axis(call.int("axis", 0), data.dims.length);
  const width = indices.dims.length;
  const values = build(type.dims, (index) => {
    const pick = at(indices, index.slice(axis, axis + width));
    if (typeof pick !== "number") return null;
    const dim = data.dims[axis] ?? 0;
    if (pick < -dim || pick >= dim) call.fail("index", `${-dim} to ${dim - 1}`, `${pick}`);
    const from = [...index.slice(0, axis), pick < 0 ? pick + dim : pick, ...index.slice(axis + width)];
    return at(data, from);
  });
  return [values && contentsOf(data.dtype, type.dims, values)];
};

/** Parts that are not known are filled with unknown elements. */
const concat: ContentRule = (call, [type]) => {
  if (!type?.dims) return [];
  const axis = call.axis(call.int("axis", 1), type.dims.length);
  const parts = call.node.inputs.map((_, i) => ({ contents: call.contents[i], length: call.shape(i)?.[axis] }));
  const values = build(type.dims, (index) => {
    let from = index[axis] ?? 0;
    for (const { contents, length } of parts) {
      if (typeof length !== "number") return null;
      if (from < length)
        return contents
          ? at(
              contents,
              index.map((i, a) => (a === axis ? from : i)),
            )
          : null;
      from -= length;
    }
    return null;
  });
  return [values && contentsOf(type.dtype, type.dims, values)];
};

const split: ContentRule = (call, outputs) => {
  const [input] = call.contents;
  if (!input) return [];
  const axis = call.axis(call.int("axis", 0), input.dims.length);
  let start = 0;
  return outputs.map((type) => {
    const offset = start;
    if (!type?.dims) return undefined;
    start += type.dims[axis] ?? 0;
    const values = build(type.dims, (index) =>
      at(
        input,
        index.map((i, a) => (a === axis ? i + offset : i)),
      ),
    );
    return values && contentsOf(input.dtype, type.dims, values);
  });
};

/** Folds along the axes; `start` is the result of an empty one (null: the type's bound, left unknown). */
function reduction(start: Dim, step: (a: Dim, b: Dim) => Dim): ContentRule {
  return (call, [type]) => {
    const [input] = call.contents;
    const axes = input && reducedAxes(call, input.dims.length);
    if (!input || !axes || !type?.dims) return [];
    const folded = new Set(axes);
    const kept = input.dims.map((dim, i) => (folded.has(i) ? 1 : dim));
    const over = input.dims.map((dim, i) => (folded.has(i) ? dim : 1));
    const values = build(kept, (index) => {
      const base = [...index];
      const items = build(over, (offset) =>
        at(
          input,
          base.map((i, axis) => i + (offset[axis] ?? 0)),
        ),
      ) ?? [null];
      const [first, ...others] = items;
      return fitted(input.dtype, first === undefined ? start : others.reduce(step, first));
    });
    return [values && contentsOf(input.dtype, type.dims, values)];
  };
}

const range: ContentRule = (call, [type]) => {
  const [start, delta] = [call.scalar(0), call.has(2) ? call.scalar(2) : 1];
  if (!type?.dims || start === null || delta === null) return [];
  const values = build(type.dims, ([i = 0]) => fitted(type.dtype, addDims(start, multiplyDims(i, delta))));
  return [values && contentsOf(type.dtype, type.dims, values)];
};

const filled: ContentRule = (call, [type]) => {
  const value = call.node.tensor("value");
  const fill = value ? (contentsOfTensor(value)?.values[0] ?? null) : 0;
  const values = type?.dims && build(type.dims, () => fill);
  return [values && type?.dims && contentsOf(type.dtype, type.dims, values)];
};

/** [rank, count] indices of the elements that are not 0. */
const nonZero: ContentRule = (call) => {
  const [input] = call.contents;
  if (!input?.values.every((value) => typeof value === "number")) return [];
  const found = (build(input.dims, (index) => (at(input, index) !== 0 ? [...index] : undefined)) ?? []).filter(
    (index) => index !== undefined,
  );
  const values = input.dims.flatMap((_, axis) => found.map((index) => index[axis] ?? 0));
  return [contentsOf("int64", [input.dims.length, found.length], values)];
};

/** Only plain replacement; the last of several updates of one element wins. */
const scatterNd: ContentRule = (call) => {
  const [data, indices, updates] = call.contents;
  if (!data || !indices || !updates || call.node.string("reduction", "none") !== "none") return [];
  const depth = indices.dims.at(-1) ?? 0;
  const width = product(data.dims.slice(depth)) as number;
  const values = [...data.values];
  for (let i = 0; i * depth < indices.values.length; i++) {
    let flat = 0;
    for (let axis = 0; axis < depth; axis++) {
      const [dim, index] = [data.dims[axis] ?? 0, indices.values[i * depth + axis]];
      if (typeof index !== "number") return [];
      flat = flat * dim + (index < 0 ? index + dim : index);
    }
    for (let j = 0; j < width; j++) values[flat * width + j] = updates.values[i * width + j] ?? null;
  }
  return [contentsOf(data.dtype, data.dims, values)];
};

const pass = (call: Call): readonly (Contents | undefined)[] => [call.contents[0]];

export const movement: ContentRules = {
  Constant: constant,
  Shape: shapeOp,
  Size: size,
  Identity: pass,
  Squeeze: sameOrder,
  Unsqueeze: sameOrder,
  Reshape: sameOrder,
  Flatten: sameOrder,
  Expand: moved(() => (index) => index),
  Transpose: transpose,
  Tile: tile,
  Slice: slice,
  Gather: gather,
  Concat: concat,
  Split: split,
  ReduceSum: reduction(0, addDims),
  ReduceProd: reduction(1, multiplyDims),
  ReduceMin: reduction(null, minDim),
  ReduceMax: reduction(null, maxDim),
  Range: range,
  ConstantOfShape: filled,
  NonZero: nonZero,
  ScatterND: scatterNd,
};
