/** @file How much memory a model makes a runtime take, as far as its shapes tell: a file of a kilobyte may ask for terabytes. */
import type { Model } from "../ir/model.ts";
import { staticShape, type ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { byteSize } from "../tensor/dtype.ts";
import { TersorError } from "../util/errors.ts";
import { infer } from "./infer.ts";

/** Limits in bytes. Real models fold some megabytes, and have no value of gigabytes for one sample. */
export const memoryLimits = {
  /** Of everything that is computed from constants alone: runtimes do that as they load a model, and keep it. */
  folded: 2 ** 31,
  /** Of one value. */
  value: 2 ** 33,
} as const;

const checked = new WeakSet<Model>();

/** To be called before a model goes to a runtime, which has no limit itself. @throws limit-exceeded naming the value */
export function checkMemory(model: Model): void {
  if (checked.has(model)) return;
  const types = typesOf(model);
  const bytes = (value: Value) => bytesOf(types.get(value) ?? value.type);
  let folded = 0;
  const constants = new Set<Value>();
  const isConstant = (value: Value | undefined) => !value || value.isConstant || constants.has(value);
  for (const graph of model.graphs())
    for (const node of graph.nodes) {
      const isFolded = node.opType !== "Constant" && node.subgraphs().length === 0 && node.inputs.every(isConstant);
      for (const output of node.outputs) {
        if (!output) continue;
        const size = bytes(output);
        if (size > memoryLimits.value) throw tooLarge(`value "${output.name}"`, size, memoryLimits.value);
        if (isFolded || node.opType === "Constant") constants.add(output);
        if (isFolded) folded += size;
        if (folded > memoryLimits.folded)
          throw tooLarge(
            `value "${output.name}", with what is computed from constants before it`,
            folded,
            memoryLimits.folded,
          );
      }
    }
  checked.add(model);
}

/** What is wrong with shapes, the runtime says. */
function typesOf(model: Model): ReadonlyMap<Value, ValueType> {
  try {
    return infer(model).types;
  } catch (error) {
    if (error instanceof TersorError && error.code !== "internal") return new Map();
    throw error;
  }
}

function tooLarge(subject: string, bytes: number, limit: number): TersorError {
  return new TersorError(
    "limit-exceeded",
    `${subject}: too large to run: expected at most ${limit} bytes, got ${bytes}. Give smaller sizes where the model leaves them open (--shapes); a model that is larger by itself is not run.`,
  );
}

function bytesOf(type: ValueType | undefined): number {
  const shape = staticShape(type);
  if (!shape || type?.kind !== "tensor" || type.dtype === "string") return 0;
  return byteSize(
    type.dtype,
    shape.reduce((product, dim) => product * dim, 1),
  );
}
