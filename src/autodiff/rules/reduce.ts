/** @file Gradient rules: reductions. */
import type { Value } from "../../ir/value.ts";
import type { GradientContext, GradientRules } from "../rule.ts";

/** The axes that a reduction runs over, counted from the front. */
function axesOf({ op, node, x: [x, axes] }: GradientContext): readonly number[] {
  const given = axes ? op.integers(axes) : [];
  if (given.length > 0) return given.map((axis) => op.axis(x, axis));
  if (node.int("noop_with_empty_axes", 0) === 1) return [];
  return Array.from({ length: op.rank(x) }, (_, i) => i);
}

/** A value of the output's shape with the reduced axes put back, so that it broadcasts with x. */
function kept(context: GradientContext, value: Value | undefined): Value | undefined {
  const { op, node } = context;
  const axes = axesOf(context);
  return axes.length === 0 || node.int("keepdims", 1) === 1
    ? value
    : op.Unsqueeze(
        value,
        [...axes].sort((a, b) => a - b),
      );
}

export const reduces = {
  // y = sum x    dx = dy, expanded
  ReduceSum: (context) => [kept(context, context.dy[0])],
} satisfies GradientRules;
