/** @file Cases of the gradient check: recurrent layers. ONNX Runtime computes them in float32 only. */
import type { Case, Cases } from "./gradcheck.ts";

interface Layer {
  readonly directions?: 1 | 2;
  readonly attributes?: string;
  readonly outputs?: string;
  readonly lengths?: string;
  readonly peepholes?: boolean;
  readonly bias?: boolean;
  readonly states?: boolean;
  readonly steps?: number;
}

/** Three inputs, four hidden, a batch of two; four steps unless given. */
function layer(opType: "LSTM" | "GRU" | "RNN", gates: number, options: Layer = {}): Case {
  const {
    directions: d = 1,
    attributes = "",
    outputs = "y, h",
    lengths,
    bias = true,
    states = true,
    steps = 4,
  } = options;
  const isLstm = opType === "LSTM";
  const inputs = [
    `T[${steps},2,3] x`,
    `T[${d},${gates * 4},3] w`,
    `T[${d},${gates * 4},4] r`,
    ...(bias ? [`T[${d},${gates * 8}] b`] : []),
    ...(states ? [`T[${d},2,4] h0`, ...(isLstm ? [`T[${d},2,4] c0`] : [])] : []),
    ...(options.peepholes ? [`T[${d},12] p`] : []),
  ];
  const constants = lengths ? ` <int32[2] n = {${lengths}}>` : "";
  const args = [
    "x, w, r",
    bias ? "b" : '""',
    lengths ? "n" : '""',
    states ? "h0" : '""',
    ...(isLstm ? [states ? "c0" : '""', options.peepholes ? "p" : '""'] : []),
  ];
  const direction = d === 2 ? ', direction = "bidirectional"' : "";
  const called = `${opType}<hidden_size = 4${direction}${attributes}>(${args.join(", ")})`;
  const results = outputs.split(", ").filter((name) => name !== '""');
  return {
    text: `(${inputs.join(", ")}) => (${results.join(", ")})${constants} { ${outputs} = ${called} }`,
    dtype: "float",
  };
}

const lstm = (options?: Layer) => layer("LSTM", 4, options);
const gru = (options?: Layer) => layer("GRU", 3, options);
const rnn = (options?: Layer) => layer("RNN", 1, options);
const reverse = ', direction = "reverse"';
const after = ", linear_before_reset = 1";

export const recurrents: Cases = {
  LSTM: [
    lstm({ outputs: "y, h, c" }),
    lstm({ outputs: '"", h', bias: false, states: false }),
    lstm({ attributes: reverse, outputs: "y, h, c", lengths: "2, 4" }),
    lstm({ directions: 2, outputs: "y, h, c", lengths: "4, 3" }),
    lstm({ peepholes: true, outputs: "y, h, c" }),
    lstm({ peepholes: true, directions: 2, outputs: "y, h, c", lengths: "4, 2" }),
    lstm({ steps: 1, outputs: '"", "", c' }),
    lstm({ steps: 70, directions: 2, outputs: "y, h, c", lengths: "70, 66" }),
    lstm({ attributes: ', activations = ["HardSigmoid", "Softsign", "Elu"]', outputs: "y, h, c" }),
    lstm({ attributes: ", input_forget = 1", outputs: "y, h, c" }),
    // A step that crosses no bound.
    { ...lstm({ attributes: ", clip = 1.0" }), step: 3e-3 },
  ],
  GRU: [
    gru(),
    gru({ attributes: after }),
    gru({ bias: false, states: false, outputs: '"", h' }),
    gru({ bias: false, states: false, attributes: after, outputs: "y" }),
    gru({ directions: 2, lengths: "2, 4" }),
    gru({ directions: 2, lengths: "4, 3", attributes: after }),
    gru({ attributes: reverse, lengths: "3, 4" }),
    gru({ attributes: reverse + after, steps: 70 }),
    gru({ attributes: ', activations = ["Sigmoid", "ScaledTanh"], activation_alpha = [1.5], activation_beta = [0.5]' }),
  ],
  RNN: [
    rnn(),
    rnn({ directions: 2, lengths: "2, 4" }),
    rnn({ attributes: `${reverse}, activations = ["Softsign"]`, steps: 70, lengths: "70, 3" }),
    rnn({ attributes: ', activations = ["Affine"], activation_alpha = [0.5], activation_beta = [0.1]', bias: false }),
  ],
};
