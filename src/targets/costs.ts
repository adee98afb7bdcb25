/**
 * @file What layers cost on a kind of machine, in float32 and in integers: counted, never timed, so that what is decided by it is the same
 * everywhere. Fitted to measured chains of layers by bench/kernel-costs.mjs (one thread, ONNX Runtime 1.30).
 */
import * as z from "zod";

const linear = z.strictObject({
  node: z.number().min(0).describe("microseconds of a node"),
  macs: z.number().min(0).describe("microseconds of a million multiply-accumulates"),
  outputs: z.number().min(0).describe("microseconds of a thousand elements of the result"),
  weights: z.number().min(0).describe("microseconds of a thousand weights"),
  taps: z
    .number()
    .min(0)
    .describe("microseconds of a thousand pairs of a place of the result and a place of the kernel"),
});

const layer = z.strictObject({
  float: linear,
  integer: linear.describe("between integer layers"),
  dynamic: linear.describe("between floats, its input quantized as it comes"),
});

/** Layers whose costs are known. */
export const costedKernels = ["Conv", "Conv depthwise", "MatMul", "Gemm"] as const;
export type CostedKernel = (typeof costedKernels)[number];

export const machineCosts = z.strictObject({
  machine: z.string().describe("what was measured"),
  layers: z.record(z.enum(costedKernels), layer),
  conversion: linear
    .pick({ node: true, outputs: true })
    .describe("of going between integers and floats, the change of layout included"),
  decoded: z
    .record(z.enum(["Conv", "Conv depthwise", "MatMul", "Gemm"]), z.number().positive())
    .describe("time of a float layer with integer weights, which are decoded at every run, as a share of float32's"),
});
export type MachineCosts = z.output<typeof machineCosts>;

/** Sizes of one layer. */
export interface LayerSize {
  readonly macs: number;
  readonly outputs: number;
  readonly weights: number;
  readonly taps: number;
}

/** Microseconds of a layer. */
export function layerCost(
  { layers }: MachineCosts,
  kernel: CostedKernel,
  form: "float" | "integer" | "dynamic",
  { macs, outputs, weights, taps }: LayerSize,
): number {
  const cost = layers[kernel][form];
  return (
    cost.node + (cost.macs * macs) / 1e6 + (cost.outputs * outputs + cost.weights * weights + cost.taps * taps) / 1e3
  );
}

/** Microseconds of QuantizeLinear or DequantizeLinear on so many elements. */
export function conversionCost({ conversion }: MachineCosts, elements: number): number {
  return conversion.node + (conversion.outputs * elements) / 1e3;
}

const line = (node: number, macs: number, outputs: number, weights: number, taps: number) => ({
  ...{ node, macs, outputs, weights, taps },
});

/**
 * Convolutions lose the blocked layout that constant weights are packed into. MatMul becomes MatMulNBits, which decodes as it goes; Gemm does
 * not, and at one row decoding is all there is.
 */
const decoded = { Conv: 1.6, "Conv depthwise": 7, MatMul: 1, Gemm: 10 };

export const avx512Vnni: MachineCosts = {
  machine: "x86-64 with AVX-512 and VNNI, onnxruntime-node",
  layers: {
    Conv: {
      float: line(1.6, 10.2, 0.25, 0.12, 2.3),
      integer: line(2.4, 1.96, 0.35, 0.07, 2.4),
      dynamic: line(6.9, 18, 0.75, 0.08, 1.5),
    },
    "Conv depthwise": {
      float: line(2.1, 17.3, 0.15, 1.8, 0.17),
      integer: line(2.4, 10.9, 0.37, 0.93, 1.77),
      dynamic: line(7.6, 186, 0.96, 52, 0),
    },
    MatMul: {
      float: line(2.1, 11.3, 0.17, 0.09, 0),
      integer: line(2.4, 2.75, 0.49, 0.03, 0),
      dynamic: line(2.8, 3.1, 0.67, 0.03, 0),
    },
    Gemm: {
      float: line(2.3, 11.1, 0.35, 0.1, 0),
      integer: line(2.5, 2.7, 0.7, 0.04, 0),
      dynamic: line(2.8, 2.9, 0.78, 0.03, 0),
    },
  },
  conversion: { node: 0.4, outputs: 0.6 },
  decoded,
};

/** That machine's, scaled to single kernels measured on AVX2: 64 channels of 56x56 by 3x3, depthwise too, and 128 rows of 1024x1024. */
export const avx2: MachineCosts = {
  machine: "x86-64 with AVX2 and no VNNI, onnxruntime-node",
  layers: {
    Conv: {
      float: line(1.6, 23, 0.4, 0.12, 4.5),
      integer: line(2.4, 11, 0.7, 0.07, 4.7),
      dynamic: line(6.9, 21, 1.5, 0.08, 3),
    },
    "Conv depthwise": {
      float: line(2.1, 65, 0.4, 1.8, 0.3),
      integer: line(2.4, 34, 0.8, 0.93, 3.9),
      dynamic: line(7.6, 370, 1.9, 52, 0),
    },
    MatMul: {
      float: line(2.1, 29, 0.17, 0.09, 0),
      integer: line(2.4, 11, 0.8, 0.03, 0),
      dynamic: line(2.8, 11.5, 1, 0.03, 0),
    },
    Gemm: {
      float: line(2.3, 29, 0.35, 0.1, 0),
      integer: line(2.5, 11, 0.9, 0.04, 0),
      dynamic: line(2.8, 11.5, 1.1, 0.03, 0),
    },
  },
  conversion: { node: 0.4, outputs: 1.25 },
  decoded,
};

/** Gemm with transB, as most exporters write it: its integer kernel turns the weights at every run. */
export const wasmSimd: MachineCosts = {
  machine: "WebAssembly with SIMD, onnxruntime-web",
  layers: {
    Conv: {
      float: line(3, 96, 0.12, 0, 2.8),
      integer: line(4.2, 42.7, 3.7, 0.13, 3.3),
      dynamic: line(10.4, 54.2, 2.8, 0, 2.6),
    },
    "Conv depthwise": {
      float: line(22.7, 341, 0, 0, 0),
      integer: line(0, 1060, 3.1, 0, 0.56),
      dynamic: line(8.1, 441, 3, 90, 0),
    },
    MatMul: {
      float: line(3, 107, 0.4, 0.05, 0),
      integer: line(3.5, 39.7, 5, 0.11, 0),
      dynamic: line(4.4, 45, 4, 0.09, 0),
    },
    Gemm: {
      float: line(2.8, 105, 0.1, 0.05, 0),
      integer: line(5, 33, 3.6, 0.6, 0),
      dynamic: line(4.3, 45, 4, 0.09, 0),
    },
  },
  conversion: { node: 5.5, outputs: 0.72 },
  decoded,
};
