/** @file Layers that build ONNX: `nn.build([nn.conv2d(32, 3), nn.relu(), …], { input: [1, 32, 32] })`. */
export {
  type ActivationName,
  activation,
  batchNorm,
  dropout,
  elu,
  embedding,
  flatten,
  gelu,
  hardSigmoid,
  hardSwish,
  type LinearOptions,
  layerNorm,
  leakyRelu,
  linear,
  mish,
  relu,
  selu,
  sigmoid,
  silu,
  softmax,
  softplus,
  tanh,
} from "./basic.ts";
export { type BuildOptions, build, residual, sequential } from "./compose.ts";
export {
  avgPool,
  type ConvOptions,
  conv1d,
  conv2d,
  depthwiseConv2d,
  globalAvgPool,
  globalMaxPool,
  maxPool,
  type PerAxis,
  type WindowOptions,
} from "./convolution.ts";
export { type Fans, type Init, type InitializerName, initializers } from "./init.ts";
export { type Layer, LayerGraph } from "./layer.ts";
export {
  type AttentionOptions,
  gru,
  lstm,
  multiHeadAttention,
  poolSteps,
  positions,
  type RecurrentOptions,
  type TransformerOptions,
  transformerEncoderBlock,
} from "./sequence.ts";
