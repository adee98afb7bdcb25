/** @file The form of a model that is cut: weights are initializers, and constants that layers happen to share are their own. */
import type { Model } from "../ir/model.ts";
import { constantToInitializer } from "../passes/constant-to-initializer.ts";
import { unlistInitializers } from "../passes/constants.ts";

/** Constants of up to this many elements (biases, scales, shapes) are copied for each use; larger ones stay tied. */
const SMALL = 1 << 12;

/** A copy of the model that may be cut in place. */
export function prepared(model: Model): Model {
  const copy = constantToInitializer(model).model.clone();
  unlistInitializers(copy);
  for (const graph of copy.graphs())
    for (const value of graph.initializers) {
      const { tensor } = value;
      if (!tensor || tensor.size > SMALL || tensor.size < 2 || tensor.dims.length > 1 || value.isInput) continue;
      for (const use of [...value.uses].slice(1))
        use.node.setInput(use.index, use.node.graph.addInitializer(value.name, tensor));
    }
  return copy;
}
