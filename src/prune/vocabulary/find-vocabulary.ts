/** @file Where a model looks up its tokens: tables whose rows are picked by the ids of an input, and what else looks at these ids. */
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { TersorError } from "../../util/errors.ts";

export interface Vocabulary {
  /** The input that holds token ids. */
  readonly input: string;
  /** Gather nodes that look ids up in a constant table, all of as many rows. */
  readonly lookups: ReadonlySet<Node>;
  /** Rows of the tables. */
  readonly size: number;
  /** Nodes that compare ids with constants, and which of their inputs is the constant. */
  readonly compared: readonly { readonly node: Node; readonly constant: number }[];
}

/** Operators that pass ids on as they are. */
const carriers = new Set(["Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"]);
const comparisons = new Set(["Equal"]);

/** Names as Hugging Face's exporters give them. */
const usual = /^(decoder_)?input_ids$/;

/** @throws unsupported-op where no input, or more than one, holds token ids, and where ids are computed with */
export function findVocabulary(model: Model): Vocabulary {
  const found = model.graph.inputs.flatMap((input) => {
    const followed = follow(input);
    return followed.lookups.length > 0 ? [{ input, ...followed }] : [];
  });
  const chosen = found.length > 1 ? found.filter(({ input }) => usual.test(input.name)) : found;
  const [one] = chosen;
  const names = found.map(({ input }) => `"${input.name}"`).join(", ");
  if (!one || chosen.length > 1)
    throw new TersorError(
      "unsupported-op",
      `prune: vocabulary: expected one input of token ids (input_ids) that a Gather looks up in a table of weights, got ${names || "none"}.`,
    );
  const [stray] = one.strays;
  if (stray)
    throw new TersorError(
      "unsupported-op",
      `prune: vocabulary: ${stray} computes with the ids of "${one.input.name}": expected that they are only looked up, and compared with constants.`,
    );
  const sizes = new Set(one.lookups.map((node) => node.input(0).tensor?.dims[0]));
  const [size = 0] = sizes;
  if (sizes.size > 1)
    throw new TersorError(
      "unsupported-op",
      `prune: vocabulary: "${one.input.name}" is looked up in tables of ${[...sizes].join(" and ")} rows: expected one number of rows.`,
    );
  return { input: one.input.name, lookups: new Set(one.lookups), size, compared: one.compared };
}

function follow(input: Value) {
  const ids = new Set([input]);
  const lookups: Node[] = [];
  const compared: { node: Node; constant: number }[] = [];
  const strays: Node[] = [];
  for (const value of ids)
    for (const { node, index } of value.uses) {
      const other = node.inputs[1 - index];
      if (node.opType === "Gather" && index === 1 && isTable(node)) lookups.push(node);
      else if (carriers.has(node.opType) && index === 0) ids.add(node.output());
      else if (comparisons.has(node.opType) && other?.tensor) compared.push({ node, constant: 1 - index });
      else if (node.opType !== "Shape") strays.push(node);
    }
  return { lookups, compared, strays };
}

function isTable(node: Node): boolean {
  return node.int("axis", 0) === 0 && node.input(0).tensor?.dims.length === 2;
}
