/** @file Layers with windows: convolutions and pools. */
import type { Value } from "../ir/value.ts";
import type { Init } from "./init.ts";
import type { Layer, LayerGraph } from "./layer.ts";

/** One number for all spatial axes, or one for each. */
export type PerAxis = number | readonly number[];

export interface WindowOptions {
  readonly stride?: PerAxis;
  /** Zeros at both ends of each axis; "same": the output has the input's size, divided by the stride. */
  readonly padding?: PerAxis | "same";
}

export interface ConvOptions extends WindowOptions {
  readonly dilation?: PerAxis;
  readonly groups?: number;
  /** Default true. */
  readonly bias?: boolean;
  readonly init?: Init;
}

const forms: Readonly<Record<number, string>> = { 1: "[N, C, L]", 2: "[N, C, H, W]" };

/** The attributes that all windows have, checked against what they go over. */
function windowOf(graph: LayerGraph, x: Value, options: WindowOptions & { kernel: PerAxis; dilation?: PerAxis }) {
  const sizes = graph.op.symbolicShape(x).slice(2);
  const perAxis = (value: PerAxis): readonly number[] => {
    if (typeof value === "number") return sizes.map(() => value);
    if (value.length === sizes.length) return value;
    throw graph.misfit(
      x,
      `${sizes.length} numbers for as many axes, got [${value}]`,
      "Give one for each, or one for all.",
    );
  };
  const { stride = 1, padding = 0, dilation = 1 } = options;
  const [kernel, strides, dilations] = [perAxis(options.kernel), perAxis(stride), perAxis(dilation)];
  const reach = kernel.map((size, i) => (size - 1) * (dilations[i] ?? 1));
  const [begin, end] =
    padding === "same"
      ? [reach.map((pad) => Math.floor(pad / 2)), reach.map((pad) => Math.ceil(pad / 2))]
      : [perAxis(padding), perAxis(padding)];
  const lacks = (dim: unknown, i: number) =>
    typeof dim === "number" && dim + (begin[i] ?? 0) + (end[i] ?? 0) <= (reach[i] ?? 0);
  if (sizes.some(lacks))
    throw graph.misfit(
      x,
      `room for a kernel that reaches over [${reach.map((size) => size + 1)}]`,
      "Use fewer pools, padding or a smaller kernel.",
    );
  // ONNX' pads: the beginnings of all axes, then the ends.
  return { kernel_shape: kernel, strides, pads: [...begin, ...end], dilations };
}

interface ConvPlan extends ConvOptions {
  readonly rank: number;
  readonly kernel: PerAxis;
  /** Channels out and groups, from the channels in. */
  channels(inputs: number): { readonly out: number; readonly groups: number };
}

function emitConv(graph: LayerGraph, x: Value, plan: ConvPlan): Value {
  const { rank, bias = true, init = "default" } = plan;
  graph.expectRank(x, [forms[rank] ?? ""], `Use a convolution of as many dimensions, or another order of layers.`);
  const inputs = graph.size(x, 1);
  const { out, groups } = plan.channels(inputs);
  if (inputs % groups !== 0 || out % groups !== 0)
    throw graph.misfit(
      x,
      `channels in and out that ${groups} groups divide, got ${inputs} and ${out}`,
      "Change groups.",
    );
  const window = windowOf(graph, x, plan);
  const kernel = window.kernel_shape;
  const area = kernel.reduce((product, size) => product * size, 1);
  const fans = { in: (inputs / groups) * area, out: (out / groups) * area };
  const w = graph.parameter("weight", [out, inputs / groups, ...kernel], init, fans);
  const b = bias ? graph.parameter("bias", [out], "default", fans) : undefined;
  return graph.op.Conv(x, w, ...(b ? [b] : []), { ...window, group: groups });
}

function conv(rank: number, out: number, kernel: PerAxis, options: ConvOptions): Layer {
  const channels = () => ({ out, groups: options.groups ?? 1 });
  return { kind: "conv", build: (graph, x) => emitConv(graph, x, { ...options, rank, kernel, channels }) };
}

/** Convolution over [N, C, L]: `out` channels, weight [out, C / groups, kernel]. */
export function conv1d(out: number, kernel: number, options: ConvOptions = {}): Layer {
  return conv(1, out, kernel, options);
}

/** Convolution over [N, C, H, W]: `out` channels, weight [out, C / groups, kernel, kernel]. */
export function conv2d(out: number, kernel: PerAxis, options: ConvOptions = {}): Layer {
  return conv(2, out, kernel, options);
}

/** Each channel of [N, C, H, W] on its own: `multiplier` channels out for each, 1 by default. */
export function depthwiseConv2d(
  kernel: PerAxis,
  { multiplier = 1, ...options }: Omit<ConvOptions, "groups"> & { readonly multiplier?: number } = {},
): Layer {
  const channels = (inputs: number) => ({ out: inputs * multiplier, groups: inputs });
  return { kind: "depthwise", build: (graph, x) => emitConv(graph, x, { ...options, rank: 2, kernel, channels }) };
}

function pool(
  kind: string,
  opType: string,
  kernel: PerAxis,
  options: WindowOptions,
  more: Record<string, number>,
): Layer {
  return {
    kind,
    build: (graph, x) => {
      graph.expectRank(x, Object.values(forms), "Pools go over channels of lines or images.");
      const { dilations: _, ...window } = windowOf(graph, x, { stride: kernel, ...options, kernel });
      return graph.op.emit(opType, [x, { ...window, ...more }])[0] as Value;
    },
  };
}

/** Maximum of each window of [N, C, …]; the stride is the kernel by default. */
export function maxPool(kernel: PerAxis, options: WindowOptions = {}): Layer {
  return pool("maxpool", "MaxPool", kernel, options, {});
}

/** Mean of each window of [N, C, …], padding counted; the stride is the kernel by default. */
export function avgPool(kernel: PerAxis, options: WindowOptions = {}): Layer {
  return pool("avgpool", "AveragePool", kernel, options, { count_include_pad: 1 });
}

function globalPool(kind: string, opType: string): Layer {
  return {
    kind,
    build: (graph, x) => {
      graph.expectRank(x, Object.values(forms), "Use poolSteps() for [N, steps, features].");
      return graph.op.emit(opType, [x])[0] as Value;
    },
  };
}

/** Mean of each channel: [N, C, …] to [N, C, 1, …]. */
export function globalAvgPool(): Layer {
  return globalPool("globalpool", "GlobalAveragePool");
}

/** Maximum of each channel: [N, C, …] to [N, C, 1, …]. */
export function globalMaxPool(): Layer {
  return globalPool("globalpool", "GlobalMaxPool");
}
