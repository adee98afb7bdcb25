/** @file Pass: writes the type and shape of every value, as far as it can be known without running the model. */
import type { Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import { typeToString, type ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { type InferOptions, infer } from "../ops/infer.ts";
import type { PassResult } from "./pass.ts";

export type { InferOptions } from "../ops/infer.ts";

export interface InferShapesResult extends PassResult {
  /** Nodes of operators that have no shape rule. */
  readonly unknown: readonly Node[];
  /** Values whose type in the file was not what inference found. */
  readonly contradictions: readonly Value[];
}

/**
 * Types the values of the graph and its subgraphs. With `inputShapes` the inputs are given these sizes as well: then the
 * result takes no others. Values of the result's lists belong to the result.
 * @throws as {@link infer}.
 */
export function inferShapes(model: Model, options: InferOptions = {}): InferShapesResult {
  const copy = model.clone();
  const { types, unknown, contradictions } = infer(copy, options);
  const fixed = new Set(options.inputShapes ? [] : copy.graph.inputs);
  let modified = false;
  for (const graph of copy.graphs())
    for (const value of graph.values) {
      const type = types.get(value);
      if (!type || value.isConstant || fixed.has(value) || typeToString(type) === typeToString(value.type)) continue;
      value.type = type;
      modified = true;
    }
  return { model: modified ? copy : model, modified, unknown, contradictions };
}

/** Types of the values of a model and its subgraphs, without a copy of it. @throws as {@link infer}. */
export function inferTypes(model: Model, options: InferOptions = {}): ReadonlyMap<Value, ValueType> {
  return infer(model, options).types;
}
