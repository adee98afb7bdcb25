/** @file What the fidelity of a model's outputs means: worth keeping, useless, or broken. */
import type { Fidelity } from "../../evaluate/fidelity.ts";

/**
 * kept: every output has the floor; useless: one has less, on real samples; low: as useless, on made-up inputs or where it was asked
 * for so; unchanged: no layer was quantized; broken: NaN or infinity where there was none; refused: the runtime does not load it.
 */
export type Verdict = "kept" | "useless" | "low" | "unchanged" | "broken" | "refused";

const failures: ReadonlySet<string> = new Set(["useless", "unchanged", "broken", "refused"] satisfies Verdict[]);

/** Whether a verdict ends a command with exit code 1. */
export function isFailure(verdict: string | undefined): boolean {
  return verdict !== undefined && failures.has(verdict);
}

export interface MeasuredOutputs {
  readonly verdict: Verdict;
  /** The output that keeps least; absent where none can be told. */
  readonly output?: string;
  /** dB, to a hundredth: what differs by less is the processor's rounding. */
  readonly sqnr?: number;
  readonly broken?: number;
}

/**
 * @param outputs names of those that are floats: the SQNR of whole numbers says nothing
 * @param floor in dB
 */
export function verdictOf(
  fidelity: Readonly<Record<string, Fidelity>>,
  outputs: ReadonlySet<string>,
  floor: number,
): MeasuredOutputs {
  // Of an output that is zero throughout no ratio can be told.
  const told = Object.entries(fidelity).filter(
    ([name, { broken, maxRelativeError }]) =>
      outputs.has(name) && (broken > 0 || maxRelativeError !== Number.POSITIVE_INFINITY),
  );
  const broken = told.reduce((sum, [, each]) => sum + each.broken, 0);
  const worst = told.reduce<(typeof told)[number] | undefined>(
    (least, each) => (least && least[1].sqnr <= each[1].sqnr ? least : each),
    undefined,
  );
  if (!worst) return { verdict: "kept" };
  const [output, { sqnr: exact }] = worst;
  const sqnr = roundDb(exact);
  const verdict = broken > 0 ? "broken" : sqnr >= floor ? "kept" : "useless";
  return { verdict, output, sqnr, ...(broken > 0 && { broken }) };
}

/** dB to a hundredth. */
export function roundDb(db: number): number {
  return Number.isFinite(db) ? Math.round(db * 100) / 100 : db;
}
