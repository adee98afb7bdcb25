/** @file What a training says of itself: the report of the steps that train. */
import type { Dataset, Sample } from "../../data/dataset.ts";
import type { ChosenMetric } from "../../evaluate/choose-metric.ts";
import type { EpochRecord, fit } from "../../train/fit.ts";
import { nanNotes } from "../data/nan-note.ts";
import type { StepReport } from "../step.ts";
import type { QuantizedTraining } from "../training/quantized-training.ts";

export interface TrainReport extends StepReport {
  readonly data: { readonly name: string; readonly samples?: number; readonly classes?: readonly string[] };
  /** The metric before and after, on data that was not trained on. */
  readonly validation?: {
    readonly data: string;
    readonly samples?: number;
    readonly metric: Pick<ChosenMetric, "name" | "unit" | "higherIsBetter" | "output">;
    readonly before: number;
    readonly after: number;
    readonly epoch: number;
  };
  readonly history: readonly EpochRecord[];
  readonly trained: readonly string[];
  readonly withoutGradient: readonly string[];
  readonly diverged?: string;
  /** Present where the model is quantized. */
  readonly quantized?: QuantizedTraining;
}

export interface DataParts {
  /** Its first sample shows what labels are like. */
  readonly first: Sample | undefined;
  readonly training: Dataset;
  readonly validation?: { readonly data: Dataset; readonly metric: ChosenMetric } | undefined;
}

export function reportOf(
  result: Awaited<ReturnType<typeof fit>>,
  { training, validation }: DataParts,
  more: readonly string[] = [],
): TrainReport {
  const { history, best, before, trained, withoutGradient, diverged } = result;
  const notes = [
    ...(best?.epoch === 0 && history.length > 0
      ? ["no epoch was better than the model as it was: its weights are unchanged"]
      : []),
    ...(withoutGradient.length > 0
      ? [`no gradient reaches ${withoutGradient.join(", ")}: they stayed as they were`]
      : []),
    ...(diverged === undefined ? [] : [diverged]),
    ...nanNotes(result.unanswered ?? new Map(), "of the validation, the model"),
    ...more,
  ];
  const about = ({ name, size, classes }: Dataset) => {
    return { name, ...(size !== undefined && { samples: size }), ...(classes && { classes }) };
  };
  return {
    data: about(training),
    ...(validation &&
      before !== undefined && {
        validation: {
          data: validation.data.name,
          ...(validation.data.size !== undefined && { samples: validation.data.size }),
          metric: {
            name: validation.metric.name,
            unit: validation.metric.unit,
            higherIsBetter: validation.metric.higherIsBetter,
            ...(validation.metric.output !== undefined && { output: validation.metric.output }),
          },
          before,
          after: best?.value ?? before,
          epoch: best?.epoch ?? 0,
        },
      }),
    history,
    trained,
    withoutGradient,
    ...(diverged !== undefined && { diverged }),
    notes,
  };
}
