/** @file The form of a model that is cut: weights are initializers, and constants that layers happen to share are their own. */
import type { Model } from "../../ir/model.ts";
import { convertOpset } from "../../passes/convert-opset/convert-opset.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";

/** Constants of up to this many elements (biases, scales, shapes) are copied for each use; larger ones stay tied. */
const SMALL = 1 << 12;

/** A copy of the model that may be cut in place. Weights that are listed as inputs too can no longer be overridden. */
export function prepared(model: Model): Model {
  const copy = exposeWeights(model).model.clone();
  for (const input of copy.graph.inputs) if (input.isConstant) copy.graph.removeInput(input);
  copy.irVersion = Math.max(copy.irVersion, 4);
  for (const graph of copy.graphs())
    for (const value of graph.initializers) {
      const { tensor } = value;
      if (!tensor || tensor.size > SMALL || tensor.size < 2 || tensor.dims.length > 1) continue;
      for (const use of [...value.uses].slice(1))
        use.node.setInput(use.index, use.node.graph.addInitializer(value.name, tensor));
    }
  return copy;
}

/** Operator set that second moments are taken in: Slice, Pad and Unsqueeze have their axes as inputs. */
const GRAM_OPSET = 13;

/** The model, in an operator set in which second moments can be taken of it. */
export function withGramOpset(model: Model): Model {
  return model.opset < GRAM_OPSET ? convertOpset(model, GRAM_OPSET).model : model;
}
