/** @file Gradient rule of Einsum: the gradient of an operand is an Einsum of dy and the other operands. */
import { TersorError } from "../../util/errors.ts";
import type { GradientContext, GradientRules } from "../rule.ts";

interface Equation {
  readonly operands: readonly string[];
  readonly result: string;
}

/** The equation with letters of its own for the axes of an ellipsis, and with its result written out. */
function explicit(equation: string, ranks: readonly number[]): Equation {
  const [left = "", right] = equation.replaceAll(/\s/g, "").split("->");
  const terms = left.split(",");
  const free = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"].filter(
    (letter) => !equation.includes(letter),
  );
  const hidden = terms.map((term, i) => (term.includes("...") ? (ranks[i] ?? 0) - (term.length - 3) : 0));
  const letters = free.slice(0, Math.max(0, ...hidden)).join("");
  // Axes of an ellipsis are aligned at its end.
  const operands = terms.map((term, i) => term.replace("...", letters.slice(letters.length - (hidden[i] ?? 0))));
  const once = [...new Set(left.replaceAll(/[.,]/g, ""))].filter((letter) => left.split(letter).length === 2);
  const result = right === undefined ? letters + once.sort().join("") : right.replace("...", letters);
  return { operands, result };
}

// y = einsum("ij,jk->ik", a, b)    da = einsum("ik,jk->ij", dy, b); axes of a that nothing else has are expanded
function einsum({ op, node, x: inputs, dy: [dy], needs }: GradientContext) {
  const equation = node.string("equation", "");
  const { operands, result } = explicit(
    equation,
    inputs.map((value) => op.rank(value)),
  );
  const repeating = operands.find((term) => new Set(term).size < term.length);
  if (repeating !== undefined)
    throw new TersorError(
      "unsupported-op",
      `${node}: equation "${equation}": the gradient of a diagonal ("${repeating}" repeats an index): expected different indices within an operand. Take the diagonal by Mul with an identity matrix and ReduceSum.`,
    );
  return operands.map((term, i) => {
    if (!needs[i]) return undefined;
    const others = operands.filter((_, j) => j !== i);
    const elsewhere = new Set([...others.join(""), ...result]);
    const shared = [...term].filter((letter) => elsewhere.has(letter)).join("");
    const missing = [...term].flatMap((letter, axis) => (elsewhere.has(letter) ? [] : [axis]));
    const values = inputs.filter((_, j) => j !== i);
    const isSame = others.length === 0 && shared === result;
    const product = isSame ? dy : op.Einsum(dy, ...values, { equation: `${[result, ...others]}->${shared}` });
    return missing.length > 0 ? op.Unsqueeze(product, missing) : product;
  });
}

export const einsums = { Einsum: einsum } satisfies GradientRules;
