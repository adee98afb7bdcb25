/** @file What the terminal shows of the steps of a recipe. */
import type { BoundReport } from "../../recipe/bound/run-bound.ts";
import type { FitLatencyReport } from "../../recipe/judge/fit-latency.ts";
import type { JudgedReport } from "../../recipe/judge/judge.ts";
import type { StepRecord } from "../../recipe/run-steps.ts";
import type { CompareReport } from "../../recipe/steps/compare.ts";
import type { PruneStepReport } from "../../recipe/steps/prune-report.ts";
import type { TrainReport } from "../../recipe/steps/train-report.ts";
import { boundText } from "./bound-text.ts";
import { compareText } from "./compare-text.ts";
import { judgedText } from "./judged-text.ts";
import { pruneText } from "./prune-text.ts";
import { type QuantizeStepReport, quantizeText } from "./quantize-text.ts";
import type { Palette } from "./render.ts";
import { fitLatencyText } from "./speed-text.ts";
import { trainText } from "./train-text.ts";

/** By step; a step without a row says what it has to say in its notes. */
const texts: Readonly<Record<string, (report: never, width: number, colors: Palette) => string>> = {
  finetune: trainText satisfies (report: TrainReport, width: number, colors: Palette) => string,
  distill: trainText satisfies (report: TrainReport, width: number, colors: Palette) => string,
  prune: pruneText satisfies (report: PruneStepReport, width: number, colors: Palette) => string,
  quantize: quantizeText satisfies (report: QuantizeStepReport, width: number, colors: Palette) => string,
  static: quantizeText satisfies (report: QuantizeStepReport, width: number, colors: Palette) => string,
  dynamic: quantizeText satisfies (report: QuantizeStepReport, width: number, colors: Palette) => string,
  float16: quantizeText satisfies (report: QuantizeStepReport, width: number, colors: Palette) => string,
  compare: compareText satisfies (report: CompareReport, width: number, colors: Palette) => string,
};

/** What a report has unless the step was left out, as in a dry run. */
const partOf: Readonly<Record<string, string>> = {
  compare: "fidelity",
  static: "layers",
  finetune: "history",
  distill: "history",
};

/** Empty for a step that has nothing to show. */
export function stepText({ step, report }: StepRecord, width: number, colors: Palette): string {
  const shown = partOf[step];
  const isComplete = shown === undefined || shown in report;
  const text = isComplete ? texts[step] : undefined;
  const bound = report.bound as BoundReport | undefined;
  const fit = report.fitLatency as FitLatencyReport | undefined;
  const judged = report.judged as JudgedReport | undefined;
  const parts = [
    text?.(report as never, width, colors),
    bound && boundText(bound, width, colors),
    fit && fitLatencyText(fit, colors),
    judged && judgedText(judged, width, colors),
  ];
  if (text) return parts.filter((part) => part !== undefined).join("\n\n");
  return (report.notes ?? []).join("\n");
}
