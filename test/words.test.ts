/** @file One vocabulary: what several steps have is one word for one thing, and flags are the options' names. */
import { expect, test } from "vitest";
import type * as z from "zod";
import { words } from "../scripts/documents/words.ts";
import { camelCase } from "../src/cli/args.ts";
import { commands } from "../src/cli/commands.ts";
import { titleOf } from "../src/recipe/recipe.ts";
import { steps } from "../src/recipe/steps.ts";

/** distill is finetune with a teacher, and shares its options by construction. */
const own = steps.filter(({ name }) => name !== "distill");
const uses = new Map<string, { title: string; field: z.ZodType }[]>();
for (const step of own)
  for (const [option, field] of Object.entries(step.options.shape))
    uses.set(option, [...(uses.get(option) ?? []), { title: titleOf(step), field: field as z.ZodType }]);
const shared = [...uses].filter(([, each]) => each.length > 1);

test("every option that several steps have is in the table of words, and nothing else is", () => {
  const names = shared.map(([option]) => option);
  expect(names.filter((name) => !(name in words))).toEqual([]);
  expect(Object.keys(words).filter((word) => !uses.has(word))).toEqual([]);
});

/** What values an option takes: numbers, truth values, or others. */
function kindOf(field: z.ZodType): string {
  for (const [kind, value] of [
    ["boolean", true],
    ["number", 4],
  ] as const)
    if (field.safeParse(value).success) return kind;
  return "other";
}

test.each(shared)("%s takes the same kind of value in every step", (_, each) => {
  expect([...new Set(each.map(({ field }) => kindOf(field)))]).toHaveLength(1);
});

/** Flags that are no option of a step: of the command itself, of the data, or of what a command puts together. */
const ofCommands = new Set(
  "output externalData dryRun check simplify workers dataOptions skipBad json text dynamic float16 equalize maxDrop minSqnr fitLatency asAsked layout dtypes sparse width depth weightDecay warmup shrink shrinkBlocks model schema".split(
    " ",
  ),
);

/** Flags that stand for part of an option, or for a step of their own, and what. */
const parts: Readonly<Record<string, string>> = {
  "prune --finetune-epochs": "finetune.epochs",
  "prune --finetune-rate": "finetune.rate",
  "prune --finetune-batch": "finetune.batchSize",
  "prune --finetune-samples": "finetune.samples",
  "prune --finetune-options": "the rest of finetune",
  "distill --shrink": "the step shrink: width",
  "distill --shrink-blocks": "the step shrink: depth",
  "distill --fresh": "the step shrink: weights fresh",
};

test("every flag is named after its option, or says by its name that it switches one off", () => {
  const options = new Set(steps.flatMap((step) => Object.keys(step.options.shape)));
  const odd = commands.flatMap(({ name, groups }) =>
    groups.flatMap(({ flags }) =>
      flags.flatMap((flag) => {
        const option = flag.option ?? camelCase(flag.name);
        const spelled = camelCase(flag.name.replace(/^no-/, ""));
        const isNamed = option === spelled || flag.sets === false;
        const isKnown = options.has(option) || ofCommands.has(option);
        return (isNamed && isKnown) || parts[`${name} --${flag.name}`] ? [] : [`${name} --${flag.name}: ${option}`];
      }),
    ),
  );
  expect(odd).toEqual([]);
});
