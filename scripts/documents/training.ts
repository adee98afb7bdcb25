/** @file docs/training-options.md from the tables of losses, optimizers and options of training. */
import * as z from "zod";
import { trainingInputs } from "../../src/recipe/steps/finetune.ts";
import { augmentOptions } from "../../src/train/augment.ts";
import { losses } from "../../src/train/loss.ts";
import { lossOptions } from "../../src/train/loss-rule.ts";
import { optimizerOptions, optimizers } from "../../src/train/optimizer.ts";
import { trainOptions } from "../../src/train/options.ts";
import { scheduleOptions } from "../../src/train/schedule.ts";
import { notice, optionsTable, page, table } from "./markdown.ts";

const targets = {
  classes: "class indices",
  sequence: "texts, or class indices one after the other",
  like: "numbers of the same shape",
  own: "numbers of a shape of their own",
};

const parts: readonly (readonly [string, z.ZodObject])[] = [
  ["Loss", lossOptions],
  ["Optimizer", optimizerOptions],
  ["Schedule", scheduleOptions],
  ["Augmentation", augmentOptions],
];

export function trainingPage(): string {
  return page([
    "# Options of training",
    notice,
    "Of the steps `finetune` and `distill`, and of `fit` in the library. [Training](training.md) says how they go together.",
    "## Losses",
    table(
      ["loss", "target", "what is made small"],
      Object.entries(losses).map(([name, { target, summary }]) => [`\`${name}\``, targets[target], summary]),
    ),
    "## Optimizers",
    table(
      ["optimizer", "kept for every weight", "what moves a weight"],
      Object.entries(optimizers).map(([name, { state, summary }]) => [`\`${name}\``, state.join(", "), summary]),
    ),
    "## Options",
    optionsTable(trainOptions),
    "Of the steps alone:",
    optionsTable(z.strictObject(trainingInputs)),
    ...parts.flatMap(([title, schema]) => [`### ${title}`, optionsTable(schema)]),
  ]);
}
