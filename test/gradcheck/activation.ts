/** @file Cases of the gradient check: activation functions and the softmax family. */
import type { Cases } from "./gradcheck.ts";

const wide: readonly [number, number] = [-4, 4];

export const activations: Cases = {
  Relu: ["(T[9] x) => (y) { y = Relu(x) }"],
  LeakyRelu: [{ text: "(T[9] x) => (y) { y = LeakyRelu<alpha = 0.3>(x) }", dtype: "float" }],
  PRelu: [
    { text: "(T[2,3,4] x, T[3,1] slope) => (y) { y = PRelu(x, slope) }", dtype: "float" },
    { text: "(T[2,3,4] x, T[1] slope) => (y) { y = PRelu(x, slope) }", dtype: "float" },
  ],
  Elu: [{ text: "(T[9] x) => (y) { y = Elu<alpha = 0.5>(x) }", dtype: "float" }],
  Celu: [{ text: "(T[9] x) => (y) { y = Celu<alpha = 2.0>(x) }", dtype: "float" }],
  Selu: [{ text: "(T[9] x) => (y) { y = Selu(x) }", dtype: "float" }],
  ThresholdedRelu: [{ text: "(T[9] x) => (y) { y = ThresholdedRelu<alpha = 0.3>(x) }", dtype: "float" }],
  Shrink: [{ text: "(T[9] x) => (y) { y = Shrink<lambd = 0.3, bias = 0.1>(x) }", dtype: "float" }],
  Sigmoid: ["(T[9] x) => (y) { y = Sigmoid(x) }"],
  HardSigmoid: [{ text: "(T[9] x) => (y) { y = HardSigmoid<alpha = 0.4>(x) }", dtype: "float", range: wide }],
  HardSwish: [{ text: "(T[19] x) => (y) { y = HardSwish(x) }", dtype: "float", range: wide }],
  Tanh: ["(T[9] x) => (y) { y = Tanh(x) }"],
  Softplus: [{ text: "(T[9] x) => (y) { y = Softplus(x) }", dtype: "float" }],
  Softsign: [{ text: "(T[9] x) => (y) { y = Softsign(x) }", dtype: "float" }],
  Mish: [
    { text: "(T[9] x) => (y) { y = Mish(x) }", dtype: "float" },
    { text: "(T[3,7] x) => (y) { y = Mish(x) }", dtype: "float", range: [-4, 8] },
  ],
  Swish: [
    {
      text: `<ir_version: 11, opset_import: ["": 24]> g (T[9] x) => (y) { y = Swish<alpha = 1.5>(x) }`,
      dtype: "float",
    },
  ],
  Gelu: [
    { text: "(T[9] x) => (y) { y = Gelu(x) }", dtype: "float", range: wide },
    { text: `(T[9] x) => (y) { y = Gelu<approximate = "tanh">(x) }`, dtype: "float", range: wide },
  ],
  Softmax: ["(T[2,3,4] x) => (y) { y = Softmax(x) }", "(T[2,3,4] x) => (y) { y = Softmax<axis = 1>(x) }"],
  LogSoftmax: ["(T[2,3,4] x) => (y) { y = LogSoftmax(x) }", "(T[2,3,4] x) => (y) { y = LogSoftmax<axis = 0>(x) }"],
};
