/** @file Computes a model without inputs in a runtime: what constant folding asks for. */
import type { Model } from "../ir/model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { fromTypedArray, type Tensor, type TypedArray } from "../tensor/tensor.ts";
import { invariant } from "../util/errors.ts";
import { openModel } from "./open-model.ts";

/** The outputs of the model, in order. One thread and no optimizations: the same bytes on every machine of a kind. */
export async function runConstants(model: Model, runtime: Runtime, signal?: AbortSignal): Promise<Tensor[]> {
  const options = { threads: 1, optimization: "disabled", ...(signal && { signal }) } as const;
  const session = await openModel(model, runtime, options);
  try {
    const outputs = await session.run({}, undefined, options);
    return model.graph.outputs.map(({ name }) => {
      const output = outputs[name];
      invariant(output && !Array.isArray(output.data), `constant "${name}" was not computed as numbers`);
      return fromTypedArray(output.dtype, output.dims, output.data as TypedArray);
    });
  } finally {
    await session.release();
  }
}
