/** @file From what a model gives, scores or probabilities, to logarithms of probabilities. */
import type { Emitter } from "../autodiff/emitter.ts";
import type { Value } from "../ir/value.ts";

/** A prediction that is a probability already is taken back to its logits where the graph has them. */
export function logitsOf(y: Value, opType: "Softmax" | "Sigmoid"): Value | undefined {
  const { producer } = y;
  return producer?.domain === "" && producer.opType === opType ? producer.input(0) : undefined;
}

/** log softmax of logits, or the logarithm of what is no logits but probabilities already: never below the least positive. */
export function logProbabilities(op: Emitter, y: Value, axis: number, temperature = 1): Value {
  const logits = logitsOf(y, "Softmax") ?? y;
  const scaled = temperature === 1 ? logits : op.Mul(logits, 1 / temperature);
  return op.emit("LogSoftmax", [scaled, { axis }])[0] as Value;
}
