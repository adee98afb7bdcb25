/** @file Channel rules: operators that pick and put elements by indices, or move them within some axes: the other axes are channels. */
import type { ChannelRule, ChannelRules } from "../channel-rule.ts";
import { type Link, type RuleContext, same } from "../port.ts";
import { allAxesBut } from "./layers.ts";

/** Ties the other axes of all inputs that are numbered like the output. */
function others(context: RuleContext, inputs: readonly number[], isOwn: (axis: number) => boolean): Link[] {
  const rank = context.rank(context.node.output()) ?? 0;
  return Array.from({ length: rank }, (_, axis) =>
    isOwn(axis) ? [] : same(context.out(0, axis), ...inputs.map((input) => context.in(input, axis))),
  ).flat();
}

function axisOf(context: RuleContext, fallback: number): number {
  const axis = context.node.int("axis", fallback);
  return axis < 0 ? axis + (context.rank(context.node.inputs[0]) ?? 0) : axis;
}

/** Indices may cover the beginning of an axis: then it is whole. */
const byElement = (inputs: readonly number[]): ChannelRule => ({
  link(context) {
    const axis = axisOf(context, 0);
    const isCovered = (at: number) => inputs.every((input) => context.in(input, at)?.size === context.in(0, at)?.size);
    return { links: others(context, inputs, (at) => at === axis || !isCovered(at)) };
  },
});

/** data [batch…, looked up…, rest…], indices [batch…, …, k], what is picked or put [batch…, …, rest…]. */
const byVector = (picked: "output" | number): ChannelRule => ({
  link(context) {
    const { node } = context;
    const [data, indices] = [context.shape(node.inputs[0]), context.shape(node.inputs[1])];
    const depth = indices?.at(-1);
    if (!data || !indices || typeof depth !== "number") return undefined;
    const batch = node.int("batch_dims", 0);
    const rest = data.length - batch - depth;
    const value = picked === "output" ? node.outputs[0] : node.inputs[picked];
    const links = Array.from({ length: rest }, (_, i) => {
      const at = data.length - 1 - i;
      const copy = picked === "output" ? undefined : context.out(0, at);
      return same(context.in(0, at), context.port(value, -1 - i), copy);
    });
    return { links: links.flat() };
  },
});

/** x [n, c, …], y [n or boxes, c, …]. */
const sampled = (isBatched: boolean): ChannelRule => ({
  link(context) {
    const batch = isBatched ? same(context.in(0, 0), context.out(0, 0), context.in(1, 0)) : [];
    return { links: [...batch, ...same(context.in(0, 1), context.out(0, 1))] };
  },
});

/** Matrices are in the last two axes. */
const trilu: ChannelRule = { link: (context) => allAxesBut(context, (axis, rank) => axis >= rank - 2) };

const reverseSequence: ChannelRule = {
  link(context) {
    const { node } = context;
    const own = [node.int("time_axis", 0), node.int("batch_axis", 1)];
    return allAxesBut(context, (axis) => own.includes(axis));
  },
};

const meanVariance: ChannelRule = {
  link(context) {
    const own = context.node.ints("axes") ?? [0, 2, 3];
    return allAxesBut(context, (axis, rank) => own.includes(axis) || own.includes(axis - rank));
  },
};

export const indexedRules: ChannelRules = {
  GatherElements: byElement([0, 1]),
  ScatterElements: byElement([0, 1, 2]),
  Scatter: byElement([0, 1, 2]),
  GatherND: byVector("output"),
  ScatterND: byVector(2),
  GridSample: sampled(true),
  RoiAlign: sampled(false),
  Trilu: trilu,
  ReverseSequence: reverseSequence,
  MeanVarianceNormalization: meanVariance,
};
