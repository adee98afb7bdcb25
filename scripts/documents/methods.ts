/** @file docs/methods.md from the tables of methods, ranges, equalizations and criteria. */
import type * as z from "zod";
import { type RangeMethod, rangeMethods } from "../../src/calibrate/range/index.ts";
import { criteria } from "../../src/prune/criteria/index.ts";
import { type WeightCriterion, weightCriteria } from "../../src/prune/weights/saliency.ts";
import { type Equalization, equalizations } from "../../src/quantize/equalize/index.ts";
import { specOptions } from "../../src/quantize/grid/spec.ts";
import { roundingMethods } from "../../src/quantize/learned/reconstruct/index.ts";
import { codeTables, methods, type QuantMethod, type StatsNeed } from "../../src/quantize/methods/index.ts";
import { staticOptions } from "../../src/quantize/static/options.ts";
import { notice, optionsTable, page, paperLink, table } from "./markdown.ts";

const single: readonly (readonly [string, WeightCriterion])[] = Object.entries(weightCriteria);

const needs: Readonly<Record<StatsNeed, string>> = {
  nothing: "nothing",
  hessian: "second moments of the layer's inputs",
  inputMagnitude: "mean magnitudes of the layer's inputs",
};

/** A heading and a table for each entry that has options. */
function options(entries: readonly (readonly [string, z.ZodType])[]): string[] {
  return entries.flatMap(([name, schema]) => {
    const object = schema as z.ZodObject;
    return Object.keys(object.shape).length > 0 ? [`### Options of ${name}`, optionsTable(object)] : [];
  });
}

export function methodsPage(): string {
  const all: readonly QuantMethod<never>[] = Object.values(methods) as unknown as readonly QuantMethod<never>[];
  const ranges: readonly (readonly [string, RangeMethod])[] = Object.entries(rangeMethods);
  const equal: readonly (readonly [string, Equalization])[] = Object.entries(equalizations);
  return page([
    "# Methods",
    notice,
    "What Tersor quantizes and prunes with, from its tables. [Quantization](quantization.md) and [pruning](pruning.md) say which way suits what.",
    "## Codes of weights",
    "`--method`, or `method` of the step `quantize`. What a method needs is gathered on `--calibrate` data; its own options are set as `--method-options JSON`, or `method: { name: 'gptq', actOrder: true }`.",
    table(
      ["method", "what it does", "needs", "paper"],
      all.map((each) => [`\`${each.name}\``, each.summary, needs[each.needs], paperLink(each.paper)]),
    ),
    ...options(all.map((each) => [`\`${each.name}\``, each.options])),
    "## Learned rounding",
    "`--method` too: behind rounding to nearest, which code of the two around a weight is trained on `--calibrate` data. Of 6 bits and fewer, for Conv, MatMul and Gemm.",
    table(
      ["method", "what it does", "paper"],
      Object.entries(roundingMethods).map(([name, each]) => [`\`${name}\``, each.summary, paperLink(each.paper)]),
    ),
    "### Options of the grid",
    "Of every method, for the whole model or layer by layer.",
    optionsTable(specOptions),
    "## Tables of values",
    "Weights as indices into a table instead of multiples of a scale.",
    table(
      ["table", "what it is", "paper"],
      Object.entries(codeTables).map(([name, each]) => [name, each.summary, paperLink(each.paper)]),
    ),
    "## Ranges of activations",
    `\`--ranges\`, or \`ranges\` of the step \`static\` (default \`${staticOptions.parse({}).ranges}\`). One pass over the data serves all, in constant memory.`,
    table(
      ["range", "what it keeps", "paper"],
      ranges.map(([name, { summary, paper }]) => [`\`${name}\``, summary, paperLink(paper)]),
    ),
    "## Equalization and correction",
    "The model computes the same before quantization: scales move to where they do less harm.",
    table(
      ["name", "what it does", "needs", "paper"],
      equal.map(([name, each]) => [name, each.summary, each.needs, paperLink(each.paper)]),
    ),
    ...options(equal.map(([name, each]) => [`the equalization \`${name}\``, each.options])),
    "## What pruning removes first",
    "`--criterion`, or `criterion` of the step `prune`: the least go. What needs activations or gradients gathers them on `--calibrate` data, in constant memory. [Pruning](pruning.md) says which suits what.",
    "### Criteria of channels",
    table(
      ["criterion", "a channel matters by", "needs", "paper"],
      Object.values(criteria).map((each) => [`\`${each.name}\``, each.summary, each.needs, paperLink(each.paper)]),
    ),
    "### Criteria of single weights",
    table(
      ["criterion", "a weight matters by", "needs", "paper"],
      single.map(([name, each]) => [`\`${name}\``, each.summary, each.needs, paperLink(each.paper)]),
    ),
  ]);
}
