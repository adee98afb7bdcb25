/** @file What comes after a cut: whether its outputs are near enough, and what to do where they are not. */
import type { PruneStepReport } from "./prune-report.ts";

/** Below this SQNR, in dB, outputs are another model's: what is left has to learn again. */
const CLOSE = 20;

export function needsTraining({ approach }: PruneStepReport): boolean {
  const sqnr = approach?.judged?.sqnr;
  return sqnr !== undefined && !(sqnr >= CLOSE);
}

/** The report, with what is to be done next in its notes. */
export function advised(report: PruneStepReport): PruneStepReport {
  const { approach, removed = 0, notes = [] } = report;
  if (!approach || removed === 0) return report;
  const { judged } = approach;
  if (!judged) return { ...report, notes: [...notes, unseen] };
  if (!needsTraining(report)) return report;
  const far = `needs training: outputs are ${judged.sqnr.toFixed(1)} dB from the original's, below ${CLOSE}. Run the step distill after it (tersor distill RESULT --teacher ORIGINAL --data SAMPLES)`;
  return { ...report, notes: [...notes, far] };
}

const unseen =
  "nothing looked at outputs: name samples with calibrate, then they decide what goes, weights are solved anew, and the result is judged";
