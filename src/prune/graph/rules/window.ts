/** @file Channel rules: pooling and reductions. */
import type { Node } from "../../../ir/node.ts";
import { append } from "../../../util/append.ts";
import type { ChannelRule, ChannelRules, NodeCut } from "../channel-rule.ts";
import { type Link, type Port, present, same } from "../port.ts";

/** Every channel by itself: x [n, c, …], y [n, c, …]. Indices of maxima count through all channels. */
const pool: ChannelRule = {
  link(context) {
    if (context.node.outputs.length > 1) return undefined;
    return { links: [0, 1].flatMap((axis) => same(context.in(0, axis), context.out(0, axis))) };
  },
};

/** Axes that a reduction reduces, counted from the front; undefined where they are not known. */
function reducedAxes(node: Node, rank: number, given: readonly number[] | undefined | null): number[] | undefined {
  if (given === null) return undefined;
  if (!given && node.int("noop_with_empty_axes", 0) !== 0) return [];
  const axes = given?.length ? given : Array.from({ length: rank }, (_, axis) => axis);
  return axes.map((axis) => (axis < 0 ? axis + rank : axis));
}

/** What is reduced is whole; with `summed`, zeros do not count, and it may be cut. */
const reduce = (summed: boolean, fix?: ChannelRule["fix"]): ChannelRule => ({
  link(context) {
    const { node } = context;
    const rank = context.rank(node.inputs[0]) ?? 0;
    const found = reducedAxes(node, rank, context.axes("axes", 1));
    if (!found) return undefined;
    const reduced = new Set(found);
    const keep = node.int("keepdims", 1) !== 0;
    const [links, gone]: [Link[], Port[]] = [[], []];
    let to = 0;
    for (let axis = 0; axis < rank; axis++) {
      if (reduced.has(axis)) {
        if (summed) append(gone, present(context.in(0, axis)));
        if (keep) to++;
      } else append(links, same(context.in(0, axis), context.out(0, to++)));
    }
    return { links, summed: gone };
  },
  ...(fix && { fix }),
});

/** A mean goes on to count what was cut, as zeros. */
const mean = reduce(true, (cut) => {
  const [before, after] = [cut.before(cut.node.inputs[0]), cut.after(cut.node.inputs[0])];
  const axes = reducedAxes(cut.node, before.length, cut.node.ints("axes") ?? (cut.node.inputs[1] && known(cut)));
  const share = (axes ?? []).reduce((product, axis) => {
    const [all, left] = [before[axis], after[axis]];
    return typeof all === "number" && typeof left === "number" ? (product * left) / all : product;
  }, 1);
  if (share !== 1) cut.scaleOutput(share);
});

function known(cut: NodeCut): number[] | null {
  const axes = cut.integers(1);
  return axes?.every((axis) => axis !== null) ? [...axes] : null;
}

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
    ["ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp"].map((name) => [name, reduce(false)]),
  ),
  ReduceMean: mean,
  ArgMax: search,
  ArgMin: search,
  TopK: search,
};
