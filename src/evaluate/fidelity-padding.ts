/** @file What a model's graph says of padding: which values have a place for each position that its attention mask is about. */
import { isAttentionMask } from "../data/padding.ts";
import type { Graph } from "../ir/graph.ts";
import type { TensorType, ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";

/** The input over [batch, sequence] that says which positions are real. */
export function maskInput(graph: Graph): Value | undefined {
  return graph.inputs.find(({ name, type }) => {
    const tensor = tensorOf(type);
    return tensor !== undefined && isAttentionMask(name, tensor.dtype, tensor.shape?.length ?? 0);
  });
}

/** Whether the axes of a type are [batch, sequence, …] as those of the mask; undefined where that does not follow from both. */
export function followsMask(type: ValueType | undefined, mask: ValueType | undefined): boolean | undefined {
  const [shape, of] = [tensorOf(type)?.shape, tensorOf(mask)?.shape];
  if (!shape || !of) return undefined;
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
