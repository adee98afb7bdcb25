/**
 * @file X^T X of what a layer multiplies its weights with: the second moments that GPTQ needs. The product is taken inside
 * the graph, on rows of a matrix product or on the patches of a convolution; only [k, k] numbers leave the runtime.
 */
import { attr } from "../ir/attribute.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import { int64 } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { type Collector, floats } from "./collector.ts";
import type { Probe, ProbeContext } from "./probes.ts";

export interface Gram {
  /** [groups, k, k], in the order in which the weight stores its inputs; summed over all rows or patches seen. */
  readonly sums: Float64Array;
  readonly groups: number;
  readonly k: number;
}

/** Sums over runs, in float64. */
function gramOf(probe: Probe): Collector<Gram> {
  let sums = new Float64Array(0);
  let dims: readonly number[] = [];
  return {
    name: "gram",
    needs: [probe],
    add([seen]) {
      const numbers = floats(seen);
      dims = seen?.dims ?? dims;
      if (sums.length !== numbers.length) sums = new Float64Array(numbers.length);
      for (let i = 0; i < numbers.length; i++) sums[i] = (sums[i] as number) + (numbers[i] as number);
    },
    result() {
      const [groups = 1, k = 0] = dims.slice(-3);
      return { sums, groups, k };
    },
  };
}

/** Of the rows along the last axis: the input of a MatMul or Gemm with the weight on the right. */
export function gramOfRows(): Collector<Gram> {
  return gramOf({
    key: "gram of rows",
    build(context) {
      const build = builder(context, "gram");
      const type = context.value.type;
      const width = type?.kind === "tensor" ? type.shape?.at(-1) : undefined;
      const k = typeof width === "number" ? width : undefined;
      if (k === undefined)
        throw new TersorError(
          "bad-model",
          `value "${context.value.name}": its last dim is not known: expected a number. Infer shapes first.`,
        );
      const rows = build("Reshape", [context.value, build.ints([1, -1, k])]);
      const turned = build("Transpose", [rows], { perm: attr.ints([0, 2, 1]) });
      return build("MatMul", [turned, rows]);
    },
  });
}

/** Geometry of a convolution, as its node has it. */
interface Window {
  readonly groups: number;
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Begins, then ends. */
  readonly pads: readonly number[];
}

/**
 * Of the patches that a Conv reads, [channels / groups · kernel] numbers each, in the order of its weight.
 * @throws unsupported-op where the padding depends on sizes that are not known
 */
export function gramOfPatches(conv: Node): Collector<Gram> {
  const window = windowOf(conv);
  return gramOf({
    key: `gram of patches ${JSON.stringify(window)}`,
    build: (context) => buildPatches(context, window),
  });
}

function windowOf(conv: Node): Window {
  const dims = conv.inputs[1]?.type?.kind === "tensor" ? (conv.inputs[1].type.shape ?? []) : [];
  const kernel = conv.ints("kernel_shape") ?? dims.slice(2).map(Number);
  const ones = kernel.map(() => 1);
  const [strides, dilations] = [conv.ints("strides") ?? ones, conv.ints("dilations") ?? ones];
  const auto = conv.string("auto_pad", "NOTSET");
  const groups = conv.int("group", 1);
  const shared = { groups, kernel, strides, dilations };
  if (auto === "NOTSET") return { ...shared, pads: conv.ints("pads") ?? [...kernel, ...kernel].map(() => 0) };
  if (auto === "VALID") return { ...shared, pads: [...kernel, ...kernel].map(() => 0) };
  if (strides.some((stride) => stride !== 1))
    throw new TersorError(
      "unsupported-op",
      `${conv}: auto_pad ${auto} with strides [${strides}]: its padding depends on the size. Give pads.`,
    );
  const total = kernel.map((size, axis) => (size - 1) * (dilations[axis] as number));
  const less = total.map((pad) => Math.floor(pad / 2));
  const more = total.map((pad, axis) => pad - (less[axis] as number));
  return { ...shared, pads: auto === "SAME_UPPER" ? [...less, ...more] : [...more, ...less] };
}

/** Every place of the kernel as a strided slice of the padded input, put together to [N, groups, k, places]. */
function buildPatches(context: ProbeContext, { groups, kernel, strides, dilations, pads }: Window): Value {
  const build = builder(context, "patches");
  const spatial = kernel.length;
  const axes = kernel.map((_, axis) => axis + 2);
  const begins = [0, 0, ...pads.slice(0, spatial)];
  const padded = pads.some((pad) => pad > 0)
    ? build("Pad", [context.value, build.ints([...begins, 0, 0, ...pads.slice(spatial)])])
    : context.value;
  const last = kernel.map((size, axis) => (size - 1) * (dilations[axis] as number));
  const slices = placesOf(kernel).map((place) => {
    const starts = place.map((at, axis) => at * (dilations[axis] as number));
    // From the end, so that every slice has as many places as the convolution, whatever the size.
    const ends = starts.map((start, axis) => start - (last[axis] as number) || Number.MAX_SAFE_INTEGER);
    const slice = build("Slice", [padded, build.ints(starts), build.ints(ends), build.ints(axes), build.ints(strides)]);
    return build("Unsqueeze", [slice, build.ints([2])]);
  });
  const stacked = build("Concat", slices, { axis: attr.int(2) });
  const channels = channelsOf(context.value);
  const k = (channels / groups) * slices.length;
  const patches = build("Reshape", [stacked, build.ints([0, groups, k, -1])]);
  const turned = build("Transpose", [patches], { perm: attr.ints([0, 1, 3, 2]) });
  return build("ReduceSum", [build("MatMul", [patches, turned]), build.ints([0])], { keepdims: attr.int(0) });
}

function channelsOf(value: Value): number {
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

function builder({ graph, value }: ProbeContext, hint: string) {
  const base = `${value.name}_${hint}`;
  const build = (opType: string, inputs: readonly Value[], attributes = {}) =>
    graph.addNode({ opType, inputs, outputs: [`${base}_${opType}`], attributes }).output();
  return Object.assign(build, {
    ints: (numbers: readonly number[]) => graph.addInitializer(`${base}_ints`, int64([numbers.length], numbers)),
  });
}
