/** @file Shape rules: quantization, and operators on quantized tensors. */
import type { Call, ShapeRule, ShapeRules } from "./call.ts";
import { broadcastOf, likeFirst, shapeOfFirst } from "./elementwise.ts";
import { dtypeAttribute } from "./generate.ts";
import { fusedMatmul, gemmShape, matmulOf, projected } from "./linalg.ts";
import { reduced } from "./reduce.ts";
import { concatenated } from "./reshape.ts";

/** The type of the zero point, or the one asked for; uint8 when neither is there. */
const quantize: ShapeRule = (call) => [
  call.out(call.shape(0), call.has(2) ? call.dtype(2) : dtypeAttribute(call, "output_dtype", "uint8")),
];

/** The type of the scale, from opset 23 on another one may be asked for. */
const dequantize: ShapeRule = (call) => [call.out(call.shape(0), dtypeAttribute(call, "output_dtype", call.dtype(1)))];

const dynamicQuantize: ShapeRule = (call) => [
  call.out(call.shape(0), "uint8"),
  call.out([], "float32"),
  call.out([], "uint8"),
];

export const quantization: ShapeRules = {
  QuantizeLinear: quantize,
  DequantizeLinear: dequantize,
  DynamicQuantizeLinear: dynamicQuantize,
};

/** The last dim becomes attribute N. */
const projectedToN: ShapeRule = (call) => {
  const shape = call.shape(0);
  const k = call.node.int("K");
  if (shape && k !== undefined) call.equal("last dim of input 0", k, shape.at(-1));
  return [call.out(projected(shape, call.int("N", 0)), call.dtype(0))];
};

/** Inputs come in threes after the output's scale and zero point: tensor, scale, zero point. */
const qlinearConcat: ShapeRule = (call) => {
  const shapes = call.node.inputs.flatMap((_, i) => (i >= 2 && (i - 2) % 3 === 0 ? [call.shape(i)] : []));
  return [call.out(concatenated(call, shapes, call.int("axis", 0)), call.dtype(1))];
};

/** Axes are an attribute only: input 1 is a scale. */
const reduceByAttribute: ShapeRule = (call: Call) => {
  const shape = call.shape(0);
  const axes = call.node.ints("axes") ?? [];
  if (!shape) return [call.out(undefined)];
  return [
    call.out(
      reduced(
        shape,
        axes.map((axis) => call.axis(axis, shape.length)),
        call.flag("keepdims", true),
      ),
    ),
  ];
};

/** uint8 or int8 where a zero point of the output is given, else float32. */
const qgemm: ShapeRule = (call) => [call.out(gemmShape(call, 0, 3), call.has(8) ? call.dtype(8) : "float32")];

export const contribQuantization: ShapeRules = {
  QuantizeLinear: quantize,
  DequantizeLinear: dequantize,
  DynamicQuantizeMatMul: matmulOf(0, 1),
  MatMulIntegerToFloat: matmulOf(0, 1),
  MatMulInteger16: matmulOf(0, 1),
  MatMulNBits: projectedToN,
  MatMulBnb4: projectedToN,
  MatMulFpQ4: (call) => [call.out(projected(call.shape(0), call.values(2)?.[1] ?? null))],
  QGemm: qgemm,
  QLinearAdd: broadcastOf(0, 3),
  QLinearMul: broadcastOf(0, 3),
  QLinearWhere: broadcastOf(0, 1, 4),
  QLinearConcat: qlinearConcat,
  QLinearLeakyRelu: likeFirst,
  QLinearSigmoid: likeFirst,
  QLinearSoftmax: likeFirst,
  QLinearReduceMean: reduceByAttribute,
  ReduceSumInteger: reduceByAttribute,
  MulInteger: broadcastOf(0, 2),
  FusedMatMul: fusedMatmul,
  FusedMatMulActivation: fusedMatmul,
  TransposeMatMul: fusedMatmul,
  FusedGemm: (call) => [call.out(gemmShape(call, 0, 1))],
  GemmFastGelu: matmulOf(0, 1),
  GemmFloat8: (call) => [call.out(gemmShape(call, 0, 1), dtypeAttribute(call, "dtype", "float32"))],
  SparseToDenseMatMul: matmulOf(0, 1),
  QOrderedMatMul: matmulOf(0, 2),
  QOrderedGelu: likeFirst,
  QOrderedLayerNormalization: likeFirst,
  QuantizeWithOrder: shapeOfFirst,
  DequantizeWithOrder: (call) => [call.out(call.shape(0), dtypeAttribute(call, "to", "float32"))],
};
