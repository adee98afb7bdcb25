/** @file Channel rules: pooling and reductions. */
import type { ChannelRule, ChannelRules } from "../channel-rule.ts";
import { type Link, type Port, present, same } from "../port.ts";

/** Every channel by itself: x [n, c, …], y [n, c, …]. Indices of maxima count through all channels. */
const pool: ChannelRule = {
  link(context) {
    if (context.node.outputs.length > 1) return undefined;
    return { links: [0, 1].flatMap((axis) => same(context.in(0, axis), context.out(0, axis))) };
  },
};

/** What is reduced is whole; with `summed`, zeros do not count, and it may be cut. */
const reduce = (summed: boolean): ChannelRule => ({
  link(context) {
    const { node } = context;
    const rank = context.rank(node.inputs[0]) ?? 0;
    const given = context.axes("axes", 1);
    if (given === null) return undefined;
    if (given === undefined && node.int("noop_with_empty_axes", 0) !== 0)
      return {
        links: Array.from({ length: rank }, (_, axis) => same(context.in(0, axis), context.out(0, axis))).flat(),
      };
    const all = Array.from({ length: rank }, (_, axis) => axis);
    const reduced = new Set((given?.length ? given : all).map((axis) => (axis < 0 ? axis + rank : axis)));
    const keep = node.int("keepdims", 1) !== 0;
    const [links, gone]: [Link[], Port[]] = [[], []];
    let to = 0;
    for (const axis of all) {
      if (reduced.has(axis)) {
        if (summed) gone.push(...present(context.in(0, axis)));
        if (keep) to++;
      } else links.push(...same(context.in(0, axis), context.out(0, to++)));
    }
    return { links, summed: gone };
  },
});

/** One axis is searched. */
const search: ChannelRule = {
  link(context) {
    const { node } = context;
    const rank = context.rank(node.inputs[0]) ?? 0;
    const given = node.int("axis", node.opType === "TopK" ? -1 : 0);
    const axis = given < 0 ? given + rank : given;
    const keep = node.opType === "TopK" || node.int("keepdims", 1) !== 0;
    const others = Array.from({ length: rank }, (_, other) => other).filter((other) => other !== axis);
    return {
      links: node.outputs.flatMap((output) =>
        others.flatMap((other) =>
          same(context.in(0, other), context.port(output, keep || other < axis ? other : other - 1)),
        ),
      ),
    };
  },
};

export const windowRules: ChannelRules = {
  ...Object.fromEntries(
    ["AveragePool", "MaxPool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"].map((name) => [
      name,
      pool,
    ]),
  ),
  ...Object.fromEntries(["ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"].map((name) => [name, reduce(true)])),
  ...Object.fromEntries(
    ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp"].map((name) => [
      name,
      reduce(false),
    ]),
  ),
  ArgMax: search,
  ArgMin: search,
  TopK: search,
};
