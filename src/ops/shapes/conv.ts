/** @file Shape rules: convolution, pooling and other windows over spatial dims. */
import type { Dim, Shape } from "../../ir/types.ts";
import {
  addDims,
  atLeast,
  ceilDivideDims,
  floorDivideDims,
  minDim,
  multiplyDims,
  subtractDims,
} from "../symbolic/dim.ts";
import { type Call, type ShapeRule, type ShapeRules, unknownShape } from "./call.ts";

/** Strides, dilations and padding of a window over `rank` spatial dims, as the attributes say. */
export interface Window {
  readonly kernel: readonly Dim[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** begin of each dim, then end of each dim. */
  readonly pads: readonly number[];
  readonly autoPad: string;
}

/** @throws bad-model for lists of a wrong length or strides that are not positive. */
export function windowOf(call: Call, kernel: readonly Dim[]): Window {
  const rank = kernel.length;
  const list = (name: string, count: number, fallback: number, least: number) => {
    const values = call.node.ints(name) ?? Array.from({ length: count }, () => fallback);
    if (values.length !== count || values.some((value) => value < least))
      call.fail(`attribute "${name}"`, `${count} numbers from ${least}`, `[${values}]`, "bad-model");
    return values;
  };
  return {
    kernel,
    strides: list("strides", rank, 1, 1),
    dilations: list("dilations", rank, 1, 1),
    pads: list("pads", 2 * rank, 0, Number.MIN_SAFE_INTEGER),
    autoPad: call.node.string("auto_pad", "NOTSET"),
  };
}

/** Spatial dims that a window gives: one per position. `ceilMode` counts a last window that begins inside input or left padding. */
export function windowed(spatial: readonly Dim[], window: Window, ceilMode = false): Dim[] {
  const { kernel, strides, dilations, pads, autoPad } = window;
  return spatial.map((dim, i) => {
    const stride = strides[i] ?? 1;
    const [begin, end] = [pads[i] ?? 0, pads[i + kernel.length] ?? 0];
    const reach = addDims(multiplyDims(dilations[i] ?? 1, subtractDims(kernel[i] ?? null, 1)), 1);
    if (autoPad.startsWith("SAME")) return ceilDivideDims(dim, stride);
    const padded = autoPad === "VALID" ? dim : addDims(dim, begin + end);
    const span = subtractDims(padded, reach);
    if (!ceilMode) return addDims(floorDivideDims(span, stride), 1);
    const count = addDims(ceilDivideDims(span, stride), 1);
    const room = addDims(dim, autoPad === "VALID" ? 0 : begin);
    // The last window must not begin beyond: (count - 1)·stride < dim + begin.
    const most = addDims(floorDivideDims(subtractDims(room, 1), stride), 1);
    return atLeast(most, count) ? count : minDim(count, most);
  });
}

interface ConvLayout {
  readonly x: number;
  readonly w: number;
  readonly b?: number;
  readonly channelsLast?: boolean;
}

/** x [n, c, …spatial], w [m, c/group, …kernel] → [n, m, …]; with channels last only x and y move their channels. */
export function convShape(call: Call, { x, w, channelsLast = false }: ConvLayout): Shape | undefined {
  const [data, weight] = [call.shape(x), call.shape(w)];
  if (!data) return weight && unknownShape(weight.length);
  if (data.length < 3) call.fail(`rank of input ${x}`, "at least 3", `[${data}]`);
  const rank = data.length - 2;
  if (weight && weight.length !== data.length) call.fail("rank of the weight", `${data.length}`, `[${weight}]`);
  const kernel = kernelOf(call, rank, weight?.slice(2));
  const channels = channelsLast ? data.at(-1) : data[1];
  const perGroup = weight?.[1] ?? null;
  call.equal("input channels", multiplyDims(perGroup, call.int("group", 1)), channels);
  const m = weight?.[0] ?? null;
  const spatial = windowed(channelsLast ? data.slice(1, -1) : data.slice(2), windowOf(call, kernel));
  for (const dim of spatial)
    if (typeof dim === "number" && dim < 0) call.fail("spatial dims", "at least the kernel's reach", `[${data}]`);
  return channelsLast ? [data[0] ?? null, ...spatial, m] : [data[0] ?? null, m, ...spatial];
}

function kernelOf(call: Call, rank: number, fromWeight: readonly Dim[] | undefined): readonly Dim[] {
  const kernel = call.node.ints("kernel_shape") ?? fromWeight ?? unknownShape(rank);
  if (kernel.length !== rank) call.fail('attribute "kernel_shape"', `${rank} numbers`, `[${kernel}]`);
  kernel.forEach((dim, i) => {
    call.equal("kernel_shape against the weight", fromWeight?.[i], dim);
  });
  return kernel;
}

export function convOf(layout: ConvLayout): ShapeRule {
  return (call) => [call.out(convShape(call, layout))];
}

/** y = stride·(x − 1) + output_padding + reach − pads; `output_shape` says it outright. w [c, m/group, …kernel]. */
export const convTranspose: ShapeRule = (call) => {
  const [data, weight] = [call.shape(0), call.shape(1)];
  if (!data) return [call.out(weight && unknownShape(weight.length))];
  const rank = data.length - 2;
  if (weight && weight.length !== data.length) call.fail("rank of the weight", `${data.length}`, `[${weight}]`);
  call.equal("input channels", weight?.[0], data[1]);
  const kernel = kernelOf(call, rank, weight?.slice(2));
  const { strides, dilations, pads, autoPad } = windowOf(call, kernel);
  const given = call.node.ints("output_shape");
  const extra = call.node.ints("output_padding") ?? [];
  const spatial = data.slice(2).map((dim, i): Dim => {
    const stated = given && (given.length === data.length ? given[i + 2] : given[i]);
    if (stated !== undefined) return stated;
    const stride = strides[i] ?? 1;
    if (autoPad.startsWith("SAME")) return multiplyDims(dim, stride);
    const reach = addDims(multiplyDims(dilations[i] ?? 1, subtractDims(kernel[i] ?? null, 1)), 1);
    const padding = autoPad === "VALID" ? 0 : (pads[i] ?? 0) + (pads[i + rank] ?? 0);
    const full = addDims(addDims(multiplyDims(stride, subtractDims(dim, 1)), reach), extra[i] ?? 0);
    return subtractDims(full, padding);
  });
  return [call.out([data[0] ?? null, multiplyDims(weight?.[1] ?? null, call.int("group", 1)), ...spatial])];
};

/** Pads come as an input: [2·rank], all begins then all ends. */
const convTransposeDynamicPads: ShapeRule = (call) => {
  const pads = call.numbers(2);
  const shape = call.shape(0);
  if (!pads) return [call.out(shape && unknownShape(shape.length))];
  const [type] = convTranspose(call);
  if (type?.kind !== "tensor" || !type.shape) return [type];
  const rank = type.shape.length - 2;
  return [
    call.out(
      type.shape.map((dim, i) => (i < 2 ? dim : subtractDims(dim, (pads[i - 2] ?? 0) + (pads[i - 2 + rank] ?? 0)))),
    ),
  ];
};

/** Spatial dims pooled by a window; batch and channels stay. */
export function poolShape(call: Call, channelsLast = false): Shape | undefined {
  const data = call.shape(0);
  const kernel = call.node.ints("kernel_shape");
  if (!kernel) call.fail('attribute "kernel_shape"', "the window's size", "nothing", "bad-model");
  if (!data) return unknownShape(kernel.length + 2);
  if (data.length !== kernel.length + 2) call.fail("rank of input 0", `${kernel.length + 2}`, `[${data}]`);
  const spatial = windowed(
    channelsLast ? data.slice(1, -1) : data.slice(2),
    windowOf(call, kernel),
    call.flag("ceil_mode"),
  );
  const [n, c] = [data[0] ?? null, (channelsLast ? data.at(-1) : data[1]) ?? null];
  return channelsLast ? [n, ...spatial, c] : [n, c, ...spatial];
}

/** Every spatial dim becomes 1. */
export function globallyPooled(shape: Shape | undefined, channelsLast = false): Shape | undefined {
  return shape?.map((dim, i) => (i === 0 || i === (channelsLast ? shape.length - 1 : 1) ? dim : 1));
}

const pool: ShapeRule = (call) => [call.out(poolShape(call))];
const globalPool: ShapeRule = (call) => [call.out(globallyPooled(call.shape(0)))];

const maxPool: ShapeRule = (call) => {
  const shape = poolShape(call);
  return [call.out(shape), call.out(shape, "int64")];
};

const maxUnpool: ShapeRule = (call) => {
  const data = call.shape(0);
  const stated = call.values(2);
  if (stated) return [call.out(stated)];
  const kernel = call.node.ints("kernel_shape");
  if (!data || !kernel || call.has(2)) return [call.out(data && unknownShape(data.length))];
  const { strides, pads } = windowOf(call, kernel);
  const spatial = data.slice(2).map((dim, i) => {
    const full = addDims(multiplyDims(subtractDims(dim, 1), strides[i] ?? 1), kernel[i] ?? 1);
    return subtractDims(full, (pads[i] ?? 0) + (pads[i + kernel.length] ?? 0));
  });
  return [call.out([...data.slice(0, 2), ...spatial])];
};

/** Columns back to an image: [n, c·∏block, l] → [n, c, …image]. */
const col2im: ShapeRule = (call) => {
  const image = call.values(1);
  const block = call.values(2);
  const data = call.shape(0);
  if (!image) return [call.out(undefined)];
  const columns = block?.reduce<Dim>(multiplyDims, 1) ?? null;
  return [call.out([data?.[0] ?? null, floorDivideDims(data?.[1] ?? null, columns), ...image])];
};

/** Regions of interest: [rois, c, height, width]. */
const roiAlign: ShapeRule = (call) => [
  call.out([
    call.shape(1)?.[0] ?? null,
    call.shape(0)?.[1] ?? null,
    call.int("output_height", 1),
    call.int("output_width", 1),
  ]),
];

const maxRoiPool: ShapeRule = (call) => {
  const [height = null, width = null] = call.node.ints("pooled_shape") ?? [];
  return [call.out([call.shape(1)?.[0] ?? null, call.shape(0)?.[1] ?? null, height, width])];
};

/** x [n, c, …in], grid [n, …out, r] → [n, c, …out]. */
const gridSample: ShapeRule = (call) => {
  const [data, grid] = [call.shape(0), call.shape(1)];
  if (!grid) return [call.out(data && unknownShape(data.length))];
  return [call.out([call.equal("batch", grid[0], data?.[0]), data?.[1] ?? null, ...grid.slice(1, -1)])];
};

/** theta [n, 2, 3] or [n, 3, 4], size [n, c, (d,) h, w] → [n, (d,) h, w, 2 or 3]. */
const affineGrid: ShapeRule = (call) => {
  const size = call.values(1);
  return [call.out(size && [size[0] ?? null, ...size.slice(2), size.length - 2])];
};

export const conv: ShapeRules = {
  Conv: convOf({ x: 0, w: 1 }),
  ConvInteger: convOf({ x: 0, w: 1 }),
  QLinearConv: convOf({ x: 0, w: 3 }),
  DeformConv: convOf({ x: 0, w: 1 }),
  ConvTranspose: convTranspose,
  AveragePool: pool,
  LpPool: pool,
  MaxPool: maxPool,
  MaxUnpool: maxUnpool,
  GlobalAveragePool: globalPool,
  GlobalMaxPool: globalPool,
  GlobalLpPool: globalPool,
  MaxRoiPool: maxRoiPool,
  RoiAlign: roiAlign,
  GridSample: gridSample,
  AffineGrid: affineGrid,
  Col2Im: col2im,
};

export const contribConv: ShapeRules = {
  FusedConv: convOf({ x: 0, w: 1 }),
  NhwcConv: convOf({ x: 0, w: 1, channelsLast: true }),
  NhwcFusedConv: convOf({ x: 0, w: 1, channelsLast: true }),
  QLinearConv: (call) => [call.out(convShape(call, { x: 0, w: 3, channelsLast: call.flag("channels_last") }))],
  ConvTransposeWithDynamicPads: convTransposeDynamicPads,
  NhwcMaxPool: (call) => [call.out(poolShape(call, true))],
  MaxpoolWithMask: pool,
  QLinearAveragePool: (call) => [call.out(poolShape(call, call.flag("channels_last")))],
  QLinearGlobalAveragePool: (call) => [call.out(globallyPooled(call.shape(0), call.flag("channels_last")))],
  GridSample: gridSample,
  CropAndResize: (call) => {
    const [height = null, width = null] = call.values(3) ?? [];
    return [call.out([call.shape(1)?.[0] ?? null, call.shape(0)?.[1] ?? null, height, width])];
  },
};
