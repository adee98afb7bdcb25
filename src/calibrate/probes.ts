/** @file Probes: nodes added to a graph that reduce a value to a statistic where it is computed, so that it need not leave the runtime. */
import { attr } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import type { Value } from "../ir/value.ts";
import { float32, int64 } from "../tensor/tensor.ts";

/** What a probe builds on. */
export interface ProbeContext {
  readonly graph: Graph;
  readonly value: Value;
  /** Of ai.onnx. */
  readonly opset: number;
  /** Another quantity of the same value: built once. */
  build(probe: Probe): Value;
}

/** One quantity of a value. Probes of one key are built once, however many collectors need them. */
export interface Probe {
  readonly key: string;
  /** Every element enters a sum: the quantity is finite only where all of them are. */
  readonly isSum?: boolean;
  build(context: ProbeContext): Value;
}

/** Builds probes of one value, each quantity once. */
export function probeBuilder(graph: Graph, value: Value, opset: number): (probe: Probe) => Value {
  const built = new Map<string, Value>();
  const build = (probe: Probe): Value => {
    const known = built.get(probe.key) ?? probe.build({ graph, value, opset, build });
    built.set(probe.key, known);
    return known;
  };
  return build;
}

type Reduction = "ReduceMin" | "ReduceMax" | "ReduceMean" | "ReduceSum" | "ReduceSumSquare";

/** Opset from which the axes of each reduction are an input. */
const axesAsInput: Readonly<Record<Reduction, number>> = {
  ReduceMin: 18,
  ReduceMax: 18,
  ReduceMean: 18,
  ReduceSum: 13,
  ReduceSumSquare: 18,
};

function reduce({ graph, opset }: ProbeContext, opType: Reduction, value: Value, axes?: readonly number[]): Value {
  const name = `${value.name}_${opType}`;
  const asInput = axes !== undefined && opset >= axesAsInput[opType];
  const inputs = asInput ? [value, graph.addInitializer(`${name}_axes`, int64([axes.length], axes))] : [value];
  const attributes = { keepdims: attr.int(0), ...(axes && !asInput && { axes: attr.ints(axes) }) };
  return graph.addNode({ opType, inputs, outputs: [name], attributes }).output();
}

function abs({ graph }: ProbeContext, value: Value): Value {
  return graph.addNode({ opType: "Abs", inputs: [value], outputs: [`${value.name}_Abs`] }).output();
}

function square({ graph }: ProbeContext, value: Value): Value {
  return graph.addNode({ opType: "Mul", inputs: [value, value], outputs: [`${value.name}_square`] }).output();
}

/** The value itself: it is copied out of the runtime at every run. */
export const valueProbe: Probe = { key: "value", build: ({ value }) => value };

/** Elements of a value that a sample of it holds at least, where it has so many; twice as many at most. */
const SAMPLE = 1 << 14;

/**
 * Elements of the value at equal distances, all where it is small, as [elements]. The distance is odd, so that it does
 * not fall in step with rows whose length is a power of two. What leaves the runtime is bounded however large a value is.
 */
export const sampleProbe: Probe = {
  key: "sample",
  build({ graph, value }) {
    const base = `${value.name}_sample`;
    const constant = (name: string, number: number) => graph.addInitializer(`${base}_${name}`, int64([1], [number]));
    const node = (opType: string, inputs: readonly Value[]) =>
      graph.addNode({ opType, inputs, outputs: [`${base}_${opType}`] }).output();
    const flat = node("Reshape", [value, constant("all", -1)]);
    const pairs = node("Div", [node("Shape", [flat]), constant("limit", 2 * SAMPLE)]);
    const [two, one] = [constant("two", 2), constant("one", 1)];
    const step = node("Add", [node("Mul", [pairs, two]), one]);
    const end = constant("end", Number.MAX_SAFE_INTEGER);
    const zero = constant("zero", 0);
    return node("Slice", [flat, zero, end, zero, step]);
  },
};
/** Operators that give nothing below 0. */
const neverNegative = new Set(["Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Abs", "Exp", "Sqrt"]);

export const maxProbe: Probe = { key: "max", build: (context) => reduce(context, "ReduceMax", context.value) };
/** Of what is never negative, 0, which ranges hold anyway: that saves going through it. */
export const minProbe: Probe = {
  key: "min",
  build(context) {
    const { graph, value } = context;
    const { producer } = value;
    if (producer?.domain !== "" || !neverNegative.has(producer.opType)) return reduce(context, "ReduceMin", value);
    const zero = graph.addInitializer(`${value.name}_none`, float32([], [0]));
    const inputs = [context.build(maxProbe), zero];
    return graph.addNode({ opType: "Mul", inputs, outputs: [`${value.name}_least`] }).output();
  },
};
/** Finite where all elements are, but for sums that overflow: one pass, where {@link finiteProbe} takes three. */
export const sumProbe: Probe = { key: "sum", build: (context) => reduce(context, "ReduceSum", context.value) };
/** 0 where all elements are finite, NaN elsewhere: min and max may pass over a NaN, and a plain sum may overflow. */
export const finiteProbe: Probe = {
  key: "finite",
  build(context) {
    const { graph, value } = context;
    const zero = graph.addInitializer(`${value.name}_zero`, float32([], [0]));
    const zeros = graph.addNode({ opType: "Mul", inputs: [value, zero], outputs: [`${value.name}_Mul`] });
    return reduce(context, "ReduceSum", zeros.output());
  },
};

/** The largest |x| of the elements that are finite; 0 where none is. */
export const finiteMagnitudeProbe: Probe = {
  key: "finite magnitude",
  build(context) {
    const { graph, value } = context;
    const constant = (name: string, x: number) => graph.addInitializer(`${value.name}_${name}`, float32([], [x]));
    const node = (opType: string, inputs: readonly Value[]) =>
      graph.addNode({ opType, inputs, outputs: [`${value.name}_${opType}`] }).output();
    const size = abs(context, value);
    const bounded = node("Less", [size, constant("infinity", Number.POSITIVE_INFINITY)]);
    return reduce(context, "ReduceMax", node("Where", [bounded, size, constant("none", 0)]));
  },
};

/** 0 where no element is NaN, NaN elsewhere; infinity is allowed. */
export const nanProbe: Probe = {
  key: "nan",
  build(context) {
    const { graph, value } = context;
    const node = (opType: string, inputs: readonly Value[]) =>
      graph.addNode({ opType, inputs, outputs: [`${value.name}_${opType}`] }).output();
    const zero = graph.addInitializer(`${value.name}_zero`, float32([], [0]));
    const finite = node("Where", [node("IsInf", [value]), zero, value]);
    return reduce(context, "ReduceSum", node("Mul", [finite, zero]));
  },
};

/** Sum of squares per index of `axis`; [channels]. The value must have other axes. */
export function energyProbe(axis: number): Probe {
  return {
    key: `energy of axis ${axis}`,
    build: (context) => reduce(context, "ReduceSumSquare", context.value, otherAxes(context, axis)),
  };
}

/** All axes but one, of a value whose rank must be known. */
function otherAxes({ value }: ProbeContext, axis: number): number[] {
  const rank = value.type?.kind === "tensor" ? (value.type.shape?.length ?? 0) : 0;
  const kept = axis < 0 ? axis + rank : axis;
  return Array.from({ length: rank }, (_, i) => i).filter((i) => i !== kept);
}

/** What each statistic per channel reduces, and how. */
const channelKinds = {
  absmax: { of: abs, by: "ReduceMax" },
  absmean: { of: abs, by: "ReduceMean" },
  mean: { of: (_: ProbeContext, value: Value) => value, by: "ReduceMean" },
  "mean-square": { of: square, by: "ReduceMean" },
} as const;

export type ChannelKind = keyof typeof channelKinds;

/** Per index of `axis`: largest magnitude, mean magnitude, mean, or mean square; [channels]. */
export function channelProbe(kind: ChannelKind, axis: number): Probe {
  return {
    key: `${kind} of axis ${axis}`,
    isSum: kind === "mean",
    build(context) {
      const axes = otherAxes(context, axis);
      const { of, by } = channelKinds[kind];
      const input = of(context, context.value);
      return axes.length === 0 ? input : reduce(context, by, input, axes);
    },
  };
}
