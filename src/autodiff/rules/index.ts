/**
 * @file The table of gradient rules: one row per operator.
 *
 * A file of this folder exports one table, `export const linalg = { MatMul: … } satisfies GradientRules`, and stands in the list of
 * its domain below. Rules read the newest form of an operator: models are raised to opset 21 at least before a rule sees them.
 */
import type { Node } from "../../ir/node.ts";
import type { GradientRule, GradientRules } from "../rule.ts";
import { activations } from "./activation.ts";
import { contrib } from "./contrib.ts";
import { convs } from "./conv.ts";
import { einsums } from "./einsum.ts";
import { elementwise } from "./elementwise.ts";
import { indexOps } from "./index-ops.ts";
import { linalg } from "./linalg.ts";
import { losses } from "./loss.ts";
import { norms } from "./norm.ts";
import { pools } from "./pool.ts";
import { quantization } from "./quantize.ts";
import { recurrents } from "./recurrent.ts";
import { reduces } from "./reduce.ts";
import { resizes } from "./resize.ts";
import { shapes } from "./shape.ts";

const tables: ReadonlyMap<string, ReadonlyMap<string, GradientRule>> = new Map([
  [
    "",
    merged(
      resizes,
      einsums,
      recurrents,
      indexOps,
      elementwise,
      losses,
      quantization,
      shapes,
      norms,
      pools,
      convs,
      activations,
      linalg,
      reduces,
    ),
  ],
  ["com.microsoft", merged(contrib)],
]);

/** Operators whose outputs do not change with their inputs, or only by jumps: gradients end there. */
const constantAlmostEverywhere = new Set([
  "And",
  "ArgMax",
  "ArgMin",
  "Bernoulli",
  "BitShift",
  "BitwiseAnd",
  "BitwiseNot",
  "BitwiseOr",
  "BitwiseXor",
  "Ceil",
  "Constant",
  "ConstantOfShape",
  "Equal",
  "EyeLike",
  "Floor",
  "Greater",
  "GreaterOrEqual",
  "Hardmax",
  "IsInf",
  "IsNaN",
  "Less",
  "LessOrEqual",
  "Multinomial",
  "NonMaxSuppression",
  "NonZero",
  "Not",
  "Or",
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
  "Range",
  "Round",
  "Shape",
  "Sign",
  "Size",
  "Xor",
]);

function merged(...families: readonly GradientRules[]): ReadonlyMap<string, GradientRule> {
  return new Map(families.flatMap((family) => Object.entries(family)));
}

/** The rule of an operator, undefined when there is none. `domain` "" is ai.onnx. */
export function gradientRule(domain: string, opType: string): GradientRule | undefined {
  return tables.get(domain)?.get(opType);
}

/** Operators with a rule, by domain. */
export function opsWithGradientRule(domain: string): readonly string[] {
  return [...(tables.get(domain)?.keys() ?? [])].sort();
}

/** Whether the gradients of an operator's inputs are zero wherever they exist. */
export function isConstantAlmostEverywhere({ domain, opType }: Pick<Node, "domain" | "opType">): boolean {
  return domain === "" && constantAlmostEverywhere.has(opType);
}
