/** @file Which outputs of a model a training is about, where nobody names them: of its losses, and of the metric that judges. */
import type { Dataset, Sample } from "../../data/dataset.ts";
import { type ChosenMetric, outputTypes, settleMetric } from "../../evaluate/choose-metric.ts";
import type { Model } from "../../ir/model.ts";
import { plausibleOutput } from "../../ops/plausible-output.ts";
import { splitTarget } from "../../train/emit-losses.ts";
import type { LossSettings } from "../../train/loss-rule.ts";

interface Validation {
  readonly data: Dataset;
  readonly metric: ChosenMetric;
}

/** Losses with the output that they are of: the most plausible one where none is named, which is said where there are several. */
export function withOutputs(losses: readonly LossSettings[], model: Model, sample: Sample | undefined) {
  const typeOf = outputTypes(model);
  const notes = new Set<string>();
  const loss = losses.map((each): LossSettings => {
    if (each.output !== undefined) return each;
    const label = each.target === "label" ? sample?.label : undefined;
    const found = plausibleOutput(model.graph, typeOf, label);
    if (found?.note) notes.add(found.note);
    return found ? { ...each, output: found.value.name } : each;
  });
  return { loss, notes: [...notes] };
}

/** The validation, judged on the output that the first loss on labels is of, else the first loss. */
export function judgedOn(
  { validation, first }: { readonly validation?: Validation | undefined; readonly first: Sample | undefined },
  model: Model,
  losses: readonly LossSettings[],
): { readonly validation: Validation | undefined; readonly notes: readonly string[] } {
  if (!validation || !first) return { validation, notes: [] };
  const { output } = losses.find(({ target }) => target === "label") ?? losses[0] ?? {};
  const { metric, notes } = settleMetric(validation.metric, model, first, output);
  return { validation: { ...validation, metric }, notes };
}

/** A loss that takes a softmax itself is compared with what the teacher has in front of its own: a softmax of probabilities is nearly flat. */
export function afterLogits(loss: LossSettings, teacher: Model | undefined): LossSettings {
  const [kind, name = ""] = splitTarget(loss.target);
  if (loss.name !== "kl" || kind !== "teacher") return loss;
  const producer = teacher?.graph.find(name)?.producer;
  const isSoftmax = producer?.domain === "" && producer.opType === "Softmax";
  return isSoftmax ? { ...loss, target: `teacher:${producer.input(0)?.name}` } : loss;
}
