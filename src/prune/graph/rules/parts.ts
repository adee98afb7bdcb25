/** @file Channel rules: operators that join, split, slice and pad. */

import { append } from "../../../util/append.ts";
import type { ChannelRule, ChannelRules, NodeCut } from "../channel-rule.ts";
import { type Link, mapped, same } from "../port.ts";

/** Indices of each input follow those of the inputs before it. */
const concat: ChannelRule = {
  link(context) {
    const { node } = context;
    const axis = node.int("axis", 1);
    const rank = context.rank(node.output()) ?? 0;
    const joined = axis < 0 ? axis + rank : axis;
    const links: Link[] = [];
    let offset: number | undefined = 0;
    for (const input of node.inputs) {
      for (let other = 0; other < rank; other++)
        if (other !== joined) append(links, same(context.port(input, other), context.out(0, other)));
      const port = context.port(input, joined);
      const start: number | undefined = offset;
      if (start !== undefined)
        append(
          links,
          mapped(port, context.out(0, joined), (i) => i + start),
        );
      offset = port && start !== undefined ? start + port.size : undefined;
    }
    return { links };
  },
};

const split: ChannelRule = {
  link(context) {
    const { node } = context;
    const axis = node.int("axis", 0);
    const rank = context.rank(node.inputs[0]) ?? 0;
    const cutAxis = axis < 0 ? axis + rank : axis;
    const links: Link[] = [];
    let offset: number | undefined = 0;
    for (const output of node.outputs) {
      if (!output) return undefined;
      for (let other = 0; other < rank; other++)
        if (other !== cutAxis) append(links, same(context.in(0, other), context.port(output, other)));
      const port = context.port(output, cutAxis);
      const start: number | undefined = offset;
      if (start !== undefined)
        append(
          links,
          mapped(port, context.in(0, cutAxis), (i) => i + start),
        );
      offset = port && start !== undefined ? start + port.size : undefined;
    }
    return { links };
  },
  fix(cut) {
    const { node } = cut;
    const rank = cut.after(node.inputs[0]).length;
    const axis = node.int("axis", 0);
    const sizes = node.outputs.map((output) => cut.after(output)[axis < 0 ? axis + rank : axis]);
    if (!sizes.every((size) => typeof size === "number")) return;
    node.attributes.delete("num_outputs");
    if (cut.opset >= 13) cut.setInts(1, sizes);
    else cut.setAttribute("split", sizes);
  },
};

/** Start, end and step of every axis that a Slice names; undefined where they can't be followed. */
function sliced(
  integers: (input: number) => readonly (number | null)[] | undefined,
  node: NodeCut["node"],
  rank: number,
) {
  const isOld = node.attributes.has("starts");
  const starts = isOld ? node.ints("starts") : integers(1);
  const ends = isOld ? node.ints("ends") : integers(2);
  const named = isOld ? node.ints("axes") : node.inputs[3] ? integers(3) : undefined;
  const steps = isOld || !node.inputs[4] ? undefined : integers(4);
  const isKnown = starts && ends && (isOld || !node.inputs[3] || named) && (isOld || !node.inputs[4] || steps);
  if (!isKnown) return undefined;
  return starts.map((start, at) => {
    const axis = named ? named[at] : at;
    const step = steps ? (steps[at] ?? null) : 1;
    return {
      at,
      axis: axis === null || axis === undefined ? null : axis < 0 ? axis + rank : axis,
      start,
      end: ends[at] ?? null,
      step,
    };
  });
}

/** The first index that a slice takes of an axis of `size`. */
function firstOf(start: number, size: number, step: number): number {
  const from = start < 0 ? start + size : start;
  return step > 0 ? Math.min(Math.max(from, 0), size) : Math.min(Math.max(from, -1), size - 1);
}

const slice: ChannelRule = {
  link(context) {
    const { node } = context;
    const [x, y] = [node.inputs[0], node.outputs[0]];
    const rank = context.rank(x) ?? 0;
    const rows = sliced((input) => context.integers(input), node, rank);
    if (!rows || rows.some(({ axis }) => axis === null)) return undefined;
    const links: Link[] = [];
    for (let axis = 0; axis < rank; axis++) {
      const [from, to] = [context.port(y, axis), context.port(x, axis)];
      const row = rows.find((each) => each.axis === axis);
      if (!row) append(links, same(from, to));
      else if (to && row.start !== null && row.end !== null && (row.step === 1 || row.step === -1)) {
        const first = firstOf(row.start, to.size, row.step);
        const step = row.step;
        append(
          links,
          mapped(from, to, (i) => first + i * step),
        );
      }
    }
    return { links };
  },
  fix(cut) {
    const { node } = cut;
    const [before, y] = [cut.before(node.inputs[0]), cut.after(node.output())];
    const rows = sliced((input) => cut.integers(input), node, before.length) ?? [];
    const [starts, ends] = [new Map<number, number>(), new Map<number, number>()];
    for (const { at, axis, start, step } of rows) {
      const kept = axis === null ? undefined : cut.kept(node.inputs[0], axis);
      if (axis === null || !kept || start === null || step === null) continue;
      const first = firstOf(start, Number(before[axis]), step);
      const count = Number(y[axis]);
      const place = kept.filter((index) => (step > 0 ? index < first : index <= first)).length - (step > 0 ? 0 : 1);
      starts.set(at, place);
      ends.set(at, step > 0 ? place + count : place - count < 0 ? -1 - kept.length : place - count);
    }
    cut.patchInts("starts", 1, starts);
    cut.patchInts("ends", 2, ends);
  },
};

/** Padding of every axis, [begin, end]; undefined where it is not known. */
function padding(
  integers: (input: number) => readonly (number | null)[] | undefined,
  node: NodeCut["node"],
  rank: number,
):
  | {
      readonly rows: readonly {
        readonly axis: number;
        readonly begin: number;
        readonly end: number;
        readonly at: number;
      }[];
      readonly count: number;
    }
  | undefined {
  const pads = node.ints("pads") ?? node.ints("paddings") ?? integers(1);
  const axes = node.inputs[3] ? integers(3) : Array.from({ length: rank }, (_, axis) => axis);
  if (!pads || !axes) return undefined;
  const rows = axes.map((axis, at) => ({
    axis: axis === null ? -1 : axis < 0 ? axis + rank : axis,
    begin: pads[at] ?? Number.NaN,
    end: pads[at + axes.length] ?? Number.NaN,
    at,
  }));
  return rows.some(({ axis }) => axis < 0) ? undefined : { rows, count: axes.length };
}

/** What is padded with a constant may be cut inside of the padding as well. */
const pad: ChannelRule = {
  link(context) {
    const { node } = context;
    const rank = context.rank(node.inputs[0]) ?? 0;
    const found = padding((input) => context.integers(input), node, rank);
    if (!found) return undefined;
    const isConstant = node.string("mode", "constant") === "constant";
    const links: Link[] = [];
    for (let axis = 0; axis < rank; axis++) {
      const { begin, end } = found.rows.find((row) => row.axis === axis) ?? { begin: 0, end: 0 };
      const [x, y] = [context.in(0, axis), context.out(0, axis)];
      if (begin === 0 && end === 0) append(links, same(x, y));
      else if (isConstant && begin >= 0 && end >= 0)
        append(
          links,
          mapped(x, y, (i) => i + begin),
        );
    }
    return { links };
  },
  fix(cut) {
    const { node } = cut;
    const before = cut.before(node.inputs[0]);
    const found = padding((input) => cut.integers(input), node, before.length);
    const pads = new Map<number, number>();
    for (const { axis, begin, end, at } of found?.rows ?? []) {
      const kept = cut.kept(node.output(), axis);
      if (!kept || (begin === 0 && end === 0)) continue;
      const size = Number(before[axis]);
      pads.set(at, kept.filter((index) => index < begin).length);
      pads.set(at + (found?.count ?? 0), kept.filter((index) => index >= begin + size).length);
    }
    cut.patchInts(node.attributes.has("paddings") ? "paddings" : "pads", 1, pads);
  },
};

export const partRules: ChannelRules = {
  Concat: concat,
  Split: split,
  Slice: slice,
  Pad: pad,
};
