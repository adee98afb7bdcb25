/** @file Training of quantized models: their weights are opened for it, and integers again afterwards. */
import type { Model } from "../../ir/model.ts";
import { freeze } from "../../quantize/learned/qat/freeze.ts";
import { type Thawed, thaw } from "../../quantize/learned/qat/thaw.ts";
import type { ModelLike } from "../model-like.ts";
import type { StepContext } from "../step.ts";

/** What a report says of a quantized model that was trained. */
export interface QuantizedTraining {
  /** Integer weights that were trained. */
  readonly weights: number;
  /** How many of them began as the float weights that they were rounded from. */
  readonly fromOriginal: number;
  /** How many weights have codes of each type. */
  readonly codes: Readonly<Record<string, number>>;
  readonly scales: "fixed" | "learned";
}

export interface OpenedModel {
  readonly thawed: Thawed;
  /** Names of constants that must not train. */
  readonly fixed: readonly string[];
  readonly about: QuantizedTraining;
  readonly notes: readonly string[];
  /** The quantized model with what was trained. */
  close(trained: Model): Promise<Model>;
}

/** A model by path, or the one that the recipe began with: "original". */
export function modelNamed(name: ModelLike, ctx: StepContext): Promise<Model> {
  return name === "original" ? Promise.resolve(ctx.original) : ctx.model(name);
}

/** Opens a quantized model for training; undefined for a float one. @param teacher where weights may have come from, as may the recipe's original */
export function openQuantized(
  model: Model,
  { scales, prunedZeros }: { readonly scales: "fixed" | "learned"; readonly prunedZeros: boolean },
  teacher: Model | undefined,
  ctx: StepContext,
): OpenedModel | undefined {
  const originals = [teacher, ctx.original].filter((each) => each !== undefined && each !== model);
  const thawed = thaw(model, { scales, prunedZeros, originals: originals as Model[] });
  if (!thawed) return undefined;
  const codes: Record<string, number> = {};
  for (const { slot } of thawed.weights) {
    const dtype = slot.nodes[0]?.opType === "MatMulNBits" ? `${slot.range[1]}` : (slot.codes.tensor?.dtype ?? "");
    const name = packed[dtype] ?? dtype;
    codes[name] = (codes[name] ?? 0) + 1;
  }
  const fromOriginal = thawed.weights.filter(({ isOriginal }) => isOriginal).length;
  return {
    thawed,
    fixed: thawed.fixed,
    about: { weights: thawed.weights.length, fromOriginal, codes, scales },
    notes: thawed.left.length > 0 ? [`integers that stay as they are: ${thawed.left.join(", ")}`] : [],
    close: (trained) => freeze(thawed, trained, (part) => ctx.evaluate(part)),
  };
}

/** Types of packed codes by the largest one. */
const packed: Readonly<Record<string, string>> = { 3: "uint2", 15: "uint4", 255: "uint8" };
