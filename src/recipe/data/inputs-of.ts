/** @file What a model wants to be fed, from its graph: no runtime is needed to open data for it. */
import type { InputInfo } from "../../data/fit-input.ts";
import type { Model } from "../../ir/model.ts";

/** Inputs that are tensors and have no default. */
export function inputsOf({ graph }: Model): InputInfo[] {
  return graph.inputs.flatMap(({ name, type, isConstant }) =>
    type?.kind === "tensor" && !isConstant ? [{ name, dtype: type.dtype, dims: type.shape ?? [] }] : [],
  );
}
