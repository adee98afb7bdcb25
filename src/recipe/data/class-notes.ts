/** @file What to say of classes that sub-folders number: their order, and whether the model has more. */
import type { Dataset } from "../../data/dataset.ts";
import { outputTypes } from "../../evaluate/choose-metric.ts";
import type { Model } from "../../ir/model.ts";

/** Names that are shown; the report has all. */
const SHOWN = 10;

/** @param output whose last axis are the classes; nothing is compared where there is none */
export function classNotes({ classes }: Dataset, model: Model | undefined, output: string | undefined): string[] {
  if (!classes) return [];
  const shown = classes.slice(0, SHOWN).map((name, index) => `${index} ${name}`);
  const more = classes.length > SHOWN ? `, … ${classes.length} in all` : "";
  const notes = [`classes are numbered by the data's sub-folders: ${shown.join(", ")}${more}`];
  const asText = [...classes].sort();
  if (classes.every((name) => /^\d+$/.test(name)) && asText.some((name, i) => name !== classes[i]))
    notes.push(
      `their names are numbers, in order of value: torchvision and Keras order them as text (${asText.slice(0, 3).join(", ")}, …): for a model trained so, name them in its order with the data option "classes"`,
    );
  const value = model?.graph.outputs.find(({ name }) => name === output) ?? model?.graph.outputs[0];
  const type = model && value && outputTypes(model)(value);
  const width = type?.kind === "tensor" && (type.shape?.length ?? 0) > 1 ? type.shape?.at(-1) : undefined;
  if (typeof width === "number" && width > classes.length && classes.length > 1)
    notes.push(
      `the data has ${classes.length} sub-folders and output "${value?.name}" has ${width} classes: if a folder is missing, all behind it have other numbers than in training: name all classes with the data option "classes"`,
    );
  return notes;
}
