/** @file Pass: inputs that always have the same value become constants, and branches that follow from them are taken. */
import type { Model } from "../ir/model.ts";
import { staticShape } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { fromNumbers, type Tensor } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { nearestNames } from "../util/nearest.ts";
import { inlineBranches } from "./inline-branches.ts";
import { edit, type PassResult } from "./pass.ts";

/** Values of inputs by name: one number, or all of the tensor's in order. */
export type FixedInputs = Readonly<Record<string, number | readonly number[]>>;

/** @throws bad-recipe for a name that is no input of the model's, and for values that do not fit its type */
export function fixInputs(model: Model, values: FixedInputs): PassResult {
  const fixed = edit(model, ({ graph }) => {
    for (const [name, value] of Object.entries(values)) {
      const input = graph.inputs.find((each) => each.name === name);
      if (!input) throw unknown(name, graph.inputs);
      input.tensor = tensorOf(input, [value].flat());
      graph.removeInput(input);
    }
    return Object.keys(values).length > 0;
  });
  return fixed.modified ? { model: inlineBranches(fixed.model).model, modified: true } : fixed;
}

function tensorOf({ name, type }: Value, numbers: readonly number[]): Tensor {
  const shape = type?.kind === "tensor" ? type.shape : undefined;
  const dims = staticShape(type) ?? (shape?.length === 1 ? [numbers.length] : undefined);
  const size = dims?.reduce((product, dim) => product * dim, 1);
  if (type?.kind === "tensor" && dims && size === numbers.length && type.dtype !== "string")
    return fromNumbers(type.dtype, dims, numbers);
  const wanted = type?.kind === "tensor" ? `${type.dtype} [${shape?.map((dim) => dim ?? "?") ?? "?"}]` : "no tensor";
  throw new TersorError(
    "bad-recipe",
    `input "${name}": can't be fixed to ${numbers.length} ${numbers.length === 1 ? "number" : "numbers"}: it is ${wanted}. Give as many numbers as it has elements; sizes that are open stay inputs.`,
  );
}

function unknown(name: string, inputs: readonly Value[]): TersorError {
  const names = inputs.map((input) => input.name);
  const near = nearestNames(name, names);
  return new TersorError(
    "bad-recipe",
    `input "${name}": the model has none of this name: expected one of ${names.join(", ")}.${near.length > 0 ? ` Did you mean ${near.join(", ")}?` : ""}`,
  );
}
