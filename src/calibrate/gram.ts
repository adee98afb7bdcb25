/**
 * @file X^T X of what a layer multiplies its weights with: the second moments that GPTQ needs. The product is taken inside
 * the graph, on rows of a matrix product or on the patches of a convolution; only [k, k] numbers leave the runtime.
 */
import { attr } from "../ir/attribute.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import type { HostTensor } from "../tensor/host-tensor.ts";
import { int64 } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { type Collector, floats, scalar } from "./collector.ts";
import type { Probe, ProbeContext } from "./probes.ts";

export interface Gram {
  /** [groups, k, k], in the order in which the weight stores its inputs; summed over all rows or patches seen. */
  readonly sums: Float64Array;
  /** (X' - X)^T X of the same dims, X' being what the layer reads in another model; only of {@link Unfolding.shiftedFrom}. */
  readonly shift?: Float64Array | undefined;
  readonly groups: number;
  readonly k: number;
  /** Rows that were summed over, where they can be counted: of matrix products. */
  readonly rows?: number | undefined;
}

/** How a layer reads a value: as the rows of a matrix, or the patches of a convolution. */
export interface Unfolding {
  readonly key: string;
  /** a^T b of the two values as they are unfolded, [groups, k, k]; `a` is like `b`. */
  product(context: ProbeContext, a: Value, b: Value): Value;
  /** The number of rows of the value, as a float; absent for patches, of which there are many. */
  count?(context: ProbeContext): Value;
}

/** Sums of X^T X over runs, in float64. */
export function gramOf(unfolding: Unfolding): Collector<Gram> {
  const sums = sumOf();
  const { key, count } = unfolding;
  let rows = 0;
  return {
    name: "gram",
    needs: [productProbe(unfolding), ...(count ? [{ key: `count of ${key}`, build: count }] : [])],
    add([seen, counted]) {
      sums.add(seen);
      if (counted) rows += scalar(counted);
    },
    result: () => ({ sums: sums.numbers, ...sums.size, ...(count && { rows }) }),
  };
}

/** The same with the shift against another value of the graph that is like it: what the layer read before the model was changed. */
export function gramWithShift(unfolding: Unfolding, original: string): Collector<Gram> {
  const [sums, shift] = [sumOf(), sumOf()];
  return {
    name: "gram and shift",
    needs: [productProbe(unfolding), shiftProbe(unfolding, original)],
    add([seen, shifted]) {
      sums.add(seen);
      shift.add(shifted);
    },
    result: () => ({ sums: sums.numbers, shift: shift.numbers, ...sums.size }),
  };
}

/** Adds up [.., groups, k, k]. */
function sumOf() {
  let sums = new Float64Array(0);
  let dims: readonly number[] = [];
  return {
    add(seen: HostTensor | undefined) {
      const numbers = floats(seen);
      dims = seen?.dims ?? dims;
      if (sums.length !== numbers.length) sums = new Float64Array(numbers.length);
      for (let i = 0; i < numbers.length; i++) sums[i] = (sums[i] as number) + (numbers[i] as number);
    },
    get numbers() {
      return sums;
    },
    get size() {
      const [groups = 1, k = 0] = dims.slice(-3);
      return { groups, k };
    },
  };
}

const productProbe = ({ key, product }: Unfolding): Probe => ({
  key: `gram of ${key}`,
  build: (context) => product(context, context.value, context.value),
});

const shiftProbe = ({ key, product }: Unfolding, original: string): Probe => ({
  key: `shift of ${key} from ${original}`,
  build(context) {
    const { graph, value } = context;
    const inputs = [graph.find(original), value];
    const difference = graph.addNode({ opType: "Sub", inputs, outputs: [`${value.name}_shift`] }).output();
    return product(context, difference, value);
  },
});

/** The rows along the last axis: the input of a MatMul or Gemm with the weight on the right. */
export const rows = rowsOf(undefined);

/** The same of a value whose type may not tell its width: that of the weight does. */
export function rowsOf(width: number | undefined): Unfolding {
  return {
    key: "rows",
    product(context, a, b) {
      const build = builder(context, "gram");
      const k = widthOf(context.value, width);
      const unfold = (value: Value) => build("Reshape", [value, build.ints([1, -1, k])]);
      const right = unfold(b);
      const turned = build("Transpose", [a === b ? right : unfold(a)], { perm: attr.ints([0, 2, 1]) });
      return build("MatMul", [turned, right]);
    },
    count(context) {
      const build = builder(context, "rows");
      const size = build("Cast", [build("Size", [context.value])], { to: attr.int(1) });
      return build("Div", [size, build("Cast", [build.ints([widthOf(context.value, width)])], { to: attr.int(1) })]);
    },
  };
}

function widthOf({ name, type }: Value, width: number | undefined): number {
  const last = type?.kind === "tensor" ? type.shape?.at(-1) : undefined;
  if (typeof last === "number") return last;
  if (width !== undefined) return width;
  throw new TersorError(
    "bad-model",
    `value "${name}": its last dim is not known: expected a number. Infer shapes first.`,
  );
}

/** Geometry of a convolution, as its node has it. */
export interface Window {
  readonly groups: number;
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Begins, then ends; below zero, what is left out there. Or as much as gives ceil(size / stride) places, an odd one at the begin or the end. */
  readonly pads: readonly number[] | "SAME_UPPER" | "SAME_LOWER";
  /** Of the value, as the weight has them; absent where the value's type tells. */
  readonly channels?: number;
  /** The last place of the kernel comes first. */
  readonly isTurned?: boolean;
}

/** The patches that a Conv reads, [channels / groups · kernel] numbers each, in the order of its weight. */
export function patches(conv: Node): Unfolding {
  const window = windowOf(conv);
  return {
    key: `patches ${JSON.stringify(window)}`,
    product: (context, a, b) => productOfPatches(context, window, a, b),
  };
}

/** a^T b of the patches of two values, [groups, k, k]. */
export function productOfPatches(context: ProbeContext, window: Window, a: Value, b: Value): Value {
  const build = builder(context, "gram");
  const left = unfold(context, window, a);
  const right = a === b ? left : unfold(context, window, b);
  const turned = build("Transpose", [right], { perm: attr.ints([0, 1, 3, 2]) });
  return build("ReduceSum", [build("MatMul", [left, turned]), build.ints([0])], { keepdims: attr.int(0) });
}

function windowOf(conv: Node): Window {
  const dims = conv.inputs[1]?.type?.kind === "tensor" ? (conv.inputs[1].type.shape ?? []) : [];
  const kernel = conv.ints("kernel_shape") ?? dims.slice(2).map(Number);
  const ones = kernel.map(() => 1);
  const [strides, dilations] = [conv.ints("strides") ?? ones, conv.ints("dilations") ?? ones];
  const auto = conv.string("auto_pad", "NOTSET");
  const groups = conv.int("group", 1);
  const [, perGroup] = dims;
  const channels = typeof perGroup === "number" ? { channels: perGroup * groups } : {};
  const shared = { groups, kernel, strides, dilations, ...channels };
  if (auto === "NOTSET") return { ...shared, pads: conv.ints("pads") ?? [...kernel, ...kernel].map(() => 0) };
  if (auto === "VALID") return { ...shared, pads: [...kernel, ...kernel].map(() => 0) };
  if (auto !== "SAME_UPPER" && auto !== "SAME_LOWER")
    throw new TersorError(
      "bad-model",
      `${conv}: auto_pad: expected NOTSET, VALID, SAME_UPPER or SAME_LOWER, got "${auto}".`,
    );
  if (strides.some((stride) => stride !== 1)) return { ...shared, pads: auto };
  const total = kernel.map((size, axis) => (size - 1) * (dilations[axis] as number));
  const less = total.map((pad) => Math.floor(pad / 2));
  const more = total.map((pad, axis) => pad - (less[axis] as number));
  return { ...shared, pads: auto === "SAME_UPPER" ? [...less, ...more] : [...more, ...less] };
}

/** Every place of the kernel as a strided slice of the padded value, put together to [N, groups, k, places]. */
function unfold(context: ProbeContext, window: Window, value: Value): Value {
  const { groups, kernel, strides, dilations, pads, isTurned = false } = window;
  const build = builder(context, "patches");
  const axes = kernel.map((_, axis) => axis + 2);
  const padding = typeof pads === "string" ? samePadding(context, window, pads, value) : fixedPadding(context, pads);
  const padded = padding ? build("Pad", [value, padding]) : value;
  const last = kernel.map((size, axis) => (size - 1) * (dilations[axis] as number));
  const places = placesOf(kernel);
  const slices = (isTurned ? places.toReversed() : places).map((place) => {
    const starts = place.map((at, axis) => at * (dilations[axis] as number));
    // From the end, so that every slice has as many places as the convolution, whatever the size.
    const ends = starts.map((start, axis) => start - (last[axis] as number) || Number.MAX_SAFE_INTEGER);
    const slice = build("Slice", [padded, build.ints(starts), build.ints(ends), build.ints(axes), build.ints(strides)]);
    return build("Unsqueeze", [slice, build.ints([2])]);
  });
  const stacked = build("Concat", slices, { axis: attr.int(2) });
  const channels = window.channels ?? channelsOf(context.value);
  const k = (channels / groups) * slices.length;
  return build("Reshape", [stacked, build.ints([0, groups, k, -1])]);
}

/** What Pad takes for all axes; undefined where nothing is added. */
function fixedPadding(context: ProbeContext, pads: readonly number[]): Value | undefined {
  const spatial = pads.length / 2;
  const all = [0, 0, ...pads.slice(0, spatial), 0, 0, ...pads.slice(spatial)];
  return all.some((pad) => pad !== 0) ? builder(context, "pads").ints(all) : undefined;
}

/** The same of the sizes that the value has when it is there. */
function samePadding(context: ProbeContext, window: Window, pads: "SAME_UPPER" | "SAME_LOWER", value: Value): Value {
  const { kernel, strides, dilations } = window;
  const build = builder(context, "pads");
  const shape = build("Shape", [value]);
  const sizes = build("Slice", [shape, build.ints([2]), build.ints([Number.MAX_SAFE_INTEGER])]);
  const steps = build.ints(strides);
  const reach = build.ints(kernel.map((size, axis) => (size - 1) * (dilations[axis] as number) + 1));
  const lastPlace = build("Mul", [build("Div", [build("Sub", [sizes, build.ints([1])]), steps]), steps]);
  const total = build("Max", [build("Sub", [build("Add", [lastPlace, reach]), sizes]), build.ints([0])]);
  const less = build("Div", [total, build.ints([2])]);
  const more = build("Sub", [total, less]);
  const none = build.ints([0, 0]);
  const [begin, end] = pads === "SAME_UPPER" ? [less, more] : [more, less];
  return build("Concat", [none, begin, none, end], { axis: attr.int(0) });
}

export function channelsOf(value: Value): number {
  const channels = value.type?.kind === "tensor" ? value.type.shape?.[1] : undefined;
  if (typeof channels === "number") return channels;
  throw new TersorError("bad-model", `value "${value.name}": its number of channels is not known. Infer shapes first.`);
}

/** Every index into a kernel, the last axis running fastest. */
function placesOf(kernel: readonly number[]): number[][] {
  return kernel.reduce<number[][]>(
    (places, size) => places.flatMap((place) => Array.from({ length: size }, (_, at) => [...place, at])),
    [[]],
  );
}

export function builder({ graph, value }: ProbeContext, hint: string) {
  const base = `${value.name}_${hint}`;
  const build = (opType: string, inputs: readonly Value[], attributes = {}) =>
    graph.addNode({ opType, inputs, outputs: [`${base}_${opType}`], attributes }).output();
  return Object.assign(build, {
    ints: (numbers: readonly number[]) => graph.addInitializer(`${base}_ints`, int64([numbers.length], numbers)),
  });
}
