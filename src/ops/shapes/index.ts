/** @file The table of shape rules: one row per operator. */
import { attentions, contribAttentions } from "./attention.ts";
import type { ShapeRule, ShapeRules } from "./call.ts";
import { contrib } from "./contrib.ts";
import { contribControl, control } from "./control.ts";
import { contribConv, conv } from "./conv.ts";
import { elementwise } from "./elementwise.ts";
import { contribGathers, gathers } from "./gather.ts";
import { contribGenerate, generate } from "./generate.ts";
import { linalg } from "./linalg.ts";
import { contribQuantization, quantization } from "./quantization.ts";
import { contribRecurrents, recurrents } from "./recurrent.ts";
import { reduces } from "./reduce.ts";
import { reshapes } from "./reshape.ts";
import { sequences } from "./sequence.ts";
import { windows } from "./window.ts";

const tables: ReadonlyMap<string, ReadonlyMap<string, ShapeRule>> = new Map([
  [
    "",
    merged(
      elementwise,
      linalg,
      conv,
      reshapes,
      windows,
      reduces,
      gathers,
      generate,
      recurrents,
      control,
      sequences,
      quantization,
      attentions,
    ),
  ],
  [
    "com.microsoft",
    merged(
      contrib,
      contribConv,
      contribGathers,
      contribGenerate,
      contribRecurrents,
      contribControl,
      contribQuantization,
      contribAttentions,
    ),
  ],
]);

function merged(...families: readonly ShapeRules[]): ReadonlyMap<string, ShapeRule> {
  return new Map(families.flatMap((family) => Object.entries(family)));
}

/** The rule of an operator, undefined when there is none. `domain` "" is ai.onnx. */
export function shapeRule(domain: string, opType: string): ShapeRule | undefined {
  return tables.get(domain)?.get(opType);
}

/** Operators with a rule, by domain. */
export function opsWithShapeRule(domain: string): readonly string[] {
  return [...(tables.get(domain)?.keys() ?? [])].sort();
}
