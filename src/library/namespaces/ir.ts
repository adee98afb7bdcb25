/** @file Models, graphs and tensors: reading, changing, printing and writing them. */
export {
  type Attribute,
  type AttributeReference,
  type AttributeType,
  type AttributeValue,
  attr,
  isReference,
  type SparseTensor,
} from "../../ir/attribute.ts";
export { Graph, type NodeSpec, type Position } from "../../ir/graph.ts";
export { type FunctionDef, Model, nestedGraphs } from "../../ir/model.ts";
export type { Node } from "../../ir/node.ts";
export { type DecodeOptions, decodeModel } from "../../ir/serde/decode-model.ts";
export { type EncodedData, type EncodedModel, type EncodeOptions, encodeModel } from "../../ir/serde/encode-model.ts";
export { hashTensor, type ParseOptions, type PrintOptions, parse, print } from "../../ir/text/index.ts";
export { type Dim, type Shape, type TensorType, tensorType, typeToString, type ValueType } from "../../ir/types.ts";
export type { Use, Value } from "../../ir/value.ts";
export { checkModel, type ModelProblem, validateModel } from "../../ops/check-model.ts";
export { type Cost, costOf, type ModelCost, modelCost } from "../../ops/cost.ts";
export type { EncodedMessage } from "../../proto/encode.ts";
export { chunksOfMessage, toBlob, writeTo } from "../../proto/write.ts";
export { type DType, type DTypeInfo, dtypeInfo, dtypes, isDType } from "../../tensor/dtype.ts";
export { type HostTensor, hostTensor, numbersOf } from "../../tensor/host-tensor.ts";
export {
  elementCount,
  float32,
  fromNumbers,
  fromTypedArray,
  int64,
  stringTensor,
  Tensor,
  type TypedArray,
} from "../../tensor/tensor.ts";
export { BlobSource, openBlob } from "../../util/blob-source.ts";
export { type ByteSink, type ByteSource, MemorySink, MemorySource, readAll } from "../../util/bytes.ts";
export { type ErrorCode, TersorError } from "../../util/errors.ts";
