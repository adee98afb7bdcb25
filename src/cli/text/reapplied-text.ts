/** @file What came of the decisions of an earlier run, as a person reads it. */
import type { ReapplyReport } from "../../recipe/reapply/reapply.ts";
import { type Palette, plural, printable } from "./render.ts";

const NAMED = 8;

/** `38 of 40 decisions re-applied (36 by name, 2 by structure)`, then what was not, and why. */
export function reappliedText(report: ReapplyReport | undefined, colors: Palette): string {
  if (!report) return "";
  const { decisions, byName, byStructure, lost, fresh } = report;
  const line = `${byName + byStructure} of ${plural(decisions, "decision")} re-applied (${byName} by name, ${byStructure} by structure)`;
  const more = (count: number) => (count > NAMED ? [`  … ${count - NAMED} more: --json has them`] : []);
  return [
    colors.bold(line),
    ...(lost.length > 0 ? [colors.yellow("Not re-applied:")] : []),
    ...lost.slice(0, NAMED).map(({ layer, reason }) => `  ${printable(layer)}: ${printable(reason)}`),
    ...more(lost.length),
    ...(fresh.length > 0
      ? [`New, and so without an earlier decision: ${fresh.slice(0, NAMED).map(printable).join(", ")}`]
      : []),
    ...(fresh.length > 0 ? more(fresh.length) : []),
  ].join("\n");
}
