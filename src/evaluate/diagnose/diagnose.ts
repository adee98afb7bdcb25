/** @file Why a changed model is worse than the original: the causes, worst first, from both models and data. */
import { batches } from "../../data/batch.ts";
import { type Dataset, take } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { throwIfAborted } from "../../runtime/abort.ts";
import type { Session } from "../../runtime/runtime.ts";
import type { Target } from "../../targets/target.ts";
import { targetNamed } from "../../targets/targets.ts";
import type { LayerFidelity } from "../layer-fidelity.ts";
import { type Cause, LEAST, type Severity, severityOf } from "./cause.ts";
import { causes } from "./causes.ts";
import { type Evidence, examine } from "./evidence.ts";
import { inputStatistics } from "./inputs.ts";
import { type Fault, finiteWatch, type OriginalRun } from "./non-finite.ts";

export interface DiagnoseOptions {
  /** Loads a model into a runtime; sessions are released at the end. */
  readonly open: (model: Model) => Promise<Session>;
  /** Lets go of what was kept for a model that was opened. */
  readonly discard?: ((model: Model) => void) | undefined;
  /** Samples that the ranges were found on: shows whether they were prepared like the data. */
  readonly calibration?: Dataset | undefined;
  /** Where the model is to run; "any" by default. */
  readonly target?: Target | undefined;
  /** What was measured of the layers; makes estimates firmer. */
  readonly layers?: readonly LayerFidelity[] | undefined;
  /** Some output was NaN or infinite: look for the first node that gives such. Found out from `layers` too. */
  readonly broken?: boolean | undefined;
  /** Look at the first samples only; default 64. */
  readonly samples?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Samples that are run: statistics settle soon. */
const SAMPLES = 64;
/** Samples whose inputs are looked at, which costs little. */
const INPUTS = 512;

/**
 * Finds out what a changed model (quantized, in float16) loses where, on data: causes of the whole model and of its layers,
 * worst first. Values are matched by name.
 * @throws runtime-failed, shape-mismatch, bad-data and aborted as running does
 */
export async function diagnose(
  original: Model,
  changed: Model,
  data: Dataset,
  options: DiagnoseOptions,
): Promise<readonly Cause[]> {
  const { open, calibration, layers = [], samples = SAMPLES, signal } = options;
  const target = options.target ?? targetNamed("any");
  const judged = take(data, samples);
  const examination = examine(original, changed, target);
  const run = async <T>(model: Model, use: (session: Session) => Promise<T>): Promise<T> => {
    throwIfAborted(signal, "diagnosis");
    const session = await open(model);
    try {
      return await use(session);
    } finally {
      await session.release();
      options.discard?.(model);
    }
  };
  const measured = await run(examination.model, (session) =>
    examination.measure(session, batchesFor(session, judged), layers),
  );
  const isBroken = options.broken || layers.some(({ own, accumulated }) => !(own > -1e3) || !(accumulated > -1e3));
  const faults: Fault[] = [];
  if (isBroken) {
    const find = (model: Model, which: Fault["model"], before?: OriginalRun) => {
      const watch = finiteWatch(model, which);
      return run(watch.model, (session) => watch.find(session, batchesFor(session, judged), before));
    };
    const before = await find(original, "original");
    const fault = before.fault ?? (await find(changed, "changed", before)).fault;
    if (fault) faults.push(fault);
  }
  return causesOf({
    ...measured,
    judged: calibration ? await inputStatistics(take(data, INPUTS)) : new Map(),
    calibrated: calibration && (await inputStatistics(take(calibration, INPUTS))),
    synthetic: data.synthetic ?? false,
    faults,
  });
}

function batchesFor({ inputs }: Session, data: Dataset) {
  const size = inputs[0]?.dims[0];
  const fixed = typeof size === "number" && size > 1 && inputs.every(({ dims }) => dims[0] === size) ? size : 1;
  return batches(data, { size: fixed, pad: "split", last: "fill" });
}

const rank: Readonly<Record<Severity, number>> = { severe: 0, warning: 1, note: 2 };

/** Asks every row of the table. Worst first; what follows from another cause comes after it. */
export function causesOf(evidence: Evidence): readonly Cause[] {
  const found = causes.flatMap((row, order) =>
    row
      .test(evidence)
      .filter(({ noise, severity }) => noise > LEAST || severity !== undefined)
      .map(({ value, layer, noise, what, severity }) => ({
        order,
        cause: {
          kind: row.kind,
          title: row.title,
          severity: severity ?? severityOf(noise),
          noise,
          ...(layer !== undefined && { layer }),
          value,
          message: `${what}. ${row.advice}`,
        } satisfies Cause,
      })),
  );
  const severe = new Set(found.filter(({ cause }) => cause.severity === "severe").map(({ cause }) => cause.kind));
  const explained = new Set(causes.filter(({ kind }) => severe.has(kind)).flatMap(({ explains = [] }) => explains));
  const follows = ({ kind }: Cause) => (explained.has(kind) ? 1 : 0);
  return found
    .toSorted(
      (a, b) =>
        rank[a.cause.severity] - rank[b.cause.severity] ||
        follows(a.cause) - follows(b.cause) ||
        compare(b.cause.noise, a.cause.noise) ||
        a.order - b.order,
    )
    .map(({ cause }) => cause);
}

const compare = (a: number, b: number) => (a === b ? 0 : a - b);
