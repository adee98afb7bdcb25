/** @file What a model's graph says of padding: which values have a place for each position that its attention mask is about. */
import { isAttentionMask, type Positions } from "../data/padding.ts";
import type { Graph } from "../ir/graph.ts";
import type { TensorType, ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { product, sameDim } from "../ops/symbolic/dim.ts";

/** The input over [batch, sequence] that says which positions are real. */
export function maskInput(graph: Graph): Value | undefined {
  return graph.inputs.find(({ name, type }) => {
    const tensor = tensorOf(type);
    return tensor !== undefined && isAttentionMask(name, tensor.dtype, tensor.shape?.length ?? 0);
  });
}

/** Whether the axes of a type are those of the mask, apart or joined; undefined where that does not follow from both. */
export function followsMask(type: ValueType | undefined, mask: ValueType | undefined): Positions {
  const [shape, of] = [tensorOf(type)?.shape, tensorOf(mask)?.shape];
  if (!shape || !of) return undefined;
  const all = product(of);
  if (typeof all === "string" && sameDim(shape[0] ?? null, all) && of[0] !== 1) return "joined";
  if (shape.length < 2) return false;
  const [axis, wanted] = [shape[1], of[1]];
  if (typeof axis === "string" && axis === wanted) return true;
  // A fixed size where the sequence's is open is no sequence.
  if (typeof axis === "number" && typeof wanted === "string") return false;
  return undefined;
}

function tensorOf(type: ValueType | undefined): TensorType | undefined {
  return type?.kind === "tensor" ? type : undefined;
}
