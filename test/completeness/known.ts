/** @file What is known to be untrue, each with its reason. An entry that no row shows any more fails the test: it has to go. */
import type { Row } from "./rows.ts";

export interface Known {
  readonly plan: string;
  readonly when: (row: Row) => boolean;
  readonly fault: RegExp;
  readonly reason: string;
}

const learned = ({ method }: Row) => method === "adaround" || method === "brecq";

export const known: readonly Known[] = [
  {
    plan: "weights",
    when: ({ sequential, format }) => sequential === true && format === "matmul-nbits",
    fault: /was read before its turn/,
    reason: "rounding in the order of layers, written as MatMulNBits, asks for statistics that are not there yet",
  },
  {
    plan: "weights",
    when: ({ model }) => model === "silero-half",
    fault: /^bad-model: .*Infer shapes first/,
    reason: "statistics of layers whose input has no known width end the run, in place of leaving these layers out",
  },
  {
    plan: "weights",
    when: (row) => learned(row) && row.model === "silero-half",
    fault: /^shape-mismatch: input "state"/,
    reason: "samples are joined along the first axis of every input, which is not the batch of a state",
  },
  {
    plan: "static",
    when: ({ model }) => model === "silero-half",
    fault: /^bad-model: .*Infer shapes first/,
    reason: "as above, for gptq",
  },
  {
    plan: "static",
    when: (row) => learned(row) && row.activations === "int8",
    fault: /^runtime-failed: .*does not match y_zero_point/,
    reason: "the part that is trained takes activations for uint8",
  },
  {
    plan: "static",
    when: (row) => learned(row) && row.model === "silero-half",
    fault: /^shape-mismatch: input "state"/,
    reason: "as above, for samples that are joined",
  },
  {
    plan: "channels",
    when: ({ model }) => model === "silero-v5",
    fault: /^runtime-failed: .*ort_value_name_idx_map/,
    reason: "the graph of gradients through branches does not load in ONNX Runtime",
  },
  {
    plan: "zeros",
    when: ({ model, criterion }) =>
      model === "silero-v5" && (criterion === "taylor" || criterion === "fisher" || criterion === "obd"),
    fault: /^runtime-failed: .*ort_value_name_idx_map/,
    reason: "the graph of gradients through branches does not load in ONNX Runtime",
  },
  ...["dynamic", "equalized"].map((plan) => ({
    plan,
    when: ({ model }: Row) => model === "stories",
    fault: /tok_embeddings\.weight\): bytesAfter 35328, in the file 34816/,
    reason: "zero points of a table whose rows are looked up are counted, but are not written where zero is the middle",
  })),
];
