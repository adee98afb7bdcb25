/** @file Channel rules: operators that move, repeat and look up elements. */
import type { Dim } from "../../../ir/types.ts";
import { append } from "../../../util/append.ts";
import type { ChannelRule, ChannelRules, NodeCut } from "../channel-rule.ts";
import { type Channels, type Link, mapped, type Port, present, type RuleContext, same } from "../port.ts";
import { broadcastLinks } from "./elementwise.ts";

const transpose: ChannelRule = {
  link(context) {
    const { node } = context;
    const rank = context.rank(node.inputs[0]) ?? 0;
    const perm = node.ints("perm") ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
    return { links: perm.flatMap((from, to) => same(context.in(0, from), context.out(0, to))) };
  },
};

/** Ties axes one after another, passing over those that were put in or taken out. */
function skipping(context: RuleContext, skipped: readonly number[] | null | undefined, from: "in" | "out"): Channels {
  const [x, y] = [context.node.inputs[0], context.node.outputs[0]];
  const [long, short] = from === "in" ? [x, y] : [y, x];
  const rank = context.rank(long) ?? 0;
  const gone = new Set(skipped?.map((axis) => (axis < 0 ? axis + rank : axis)));
  const rest = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => !gone.has(axis));
  if (skipped === null || rest.length !== context.rank(short)) return { links: [] };
  return { links: rest.flatMap((axis, i) => same(context.port(long, axis), context.port(short, i))) };
}

const squeeze: ChannelRule = {
  link(context) {
    const given = context.axes("axes", 1);
    const ones = context.shape(context.node.inputs[0])?.flatMap((dim, axis) => (dim === 1 ? [axis] : []));
    return skipping(context, given === undefined ? ones : given, "in");
  },
  // A cut may leave one channel: axes that were found by their size are written out.
  fix(cut) {
    const { node, opset } = cut;
    if (node.attributes.has("axes") || node.inputs[1]) return;
    const ones = cut.before(node.inputs[0]).flatMap((dim, axis) => (dim === 1 ? [axis] : []));
    if (opset >= 13) cut.setInts(1, ones);
    else cut.setAttribute("axes", ones);
  },
};

const unsqueeze: ChannelRule = { link: (context) => skipping(context, context.axes("axes", 1), "out") };

/** Runs of axes of two shapes with equal products, as short as can be. Ends where a size is not a number and not the same. */
function blocks(x: readonly Dim[], y: readonly Dim[]): { readonly x: number[]; readonly y: number[] }[] {
  const found: { x: number[]; y: number[] }[] = [];
  let [i, j] = [0, 0];
  while (i < x.length && j < y.length) {
    const block = { x: [i], y: [j] };
    let [left, right] = [x[i++] as Dim, y[j++] as Dim];
    if (left !== right || left === null) {
      while (left !== right) {
        if (typeof left !== "number" || typeof right !== "number" || left === 0 || right === 0) return found;
        if (left < right) {
          const next = x[i];
          if (typeof next !== "number") return found;
          left *= next;
          block.x.push(i++);
        } else {
          const next = y[j];
          if (typeof next !== "number") return found;
          right *= next;
          block.y.push(j++);
        }
      }
      if (left === null) return found;
    }
    found.push(block);
  }
  return found;
}

/** The same from the end. */
function blocksFromEnd(x: readonly Dim[], y: readonly Dim[]) {
  return blocks(x.toReversed(), y.toReversed()).map((block) => ({
    x: block.x.map((axis) => x.length - 1 - axis).reverse(),
    y: block.y.map((axis) => y.length - 1 - axis).reverse(),
  }));
}

/** Axes of a value that are merged into, or split from, one of another: any of them may be cut, the others are then whole. */
function choicesOf(many: readonly (Port | undefined)[], one: Port | undefined): Link[][] {
  const sizes = many.map((port) => port?.size ?? 0);
  return many.flatMap((port, at) => {
    if (!port || port.size === 1) return [];
    const inner = sizes.slice(at + 1).reduce((product, size) => product * size, 1);
    return [mapped(one, port, (index) => Math.floor(index / inner) % port.size)];
  });
}

/** Combinations of one answer for each block. Blocks with several answers are few: each shape has one, rarely two. */
function combined(answers: readonly (readonly Link[][])[]): Link[][] {
  return answers.reduce<Link[][]>(
    (all, block) => all.flatMap((links) => (block.length > 0 ? block.map((own) => [...links, ...own]) : [links])),
    [[]],
  );
}

const reshape: ChannelRule = {
  link(context) {
    const [x, y] = [context.node.inputs[0], context.node.outputs[0]];
    const [dimsX, dimsY] = [context.shape(x), context.shape(y)];
    if (!dimsX || !dimsY) return undefined;
    const front = blocks(dimsX, dimsY);
    const seen = new Set(front.flatMap((block) => block.x));
    const seenY = new Set(front.flatMap((block) => block.y));
    const back = blocksFromEnd(dimsX, dimsY).filter(
      (block) => !block.x.some((axis) => seen.has(axis)) && !block.y.some((axis) => seenY.has(axis)),
    );
    const answers = [...front, ...back].map((block): Link[][] => {
      const xs = block.x.filter((axis) => dimsX[axis] !== 1).map((axis) => context.port(x, axis));
      const ys = block.y.filter((axis) => dimsY[axis] !== 1).map((axis) => context.port(y, axis));
      if (xs.length === 1 && ys.length === 1) return [same(...xs, ...ys)];
      if (ys.length === 1) return choicesOf(xs, ys[0]);
      if (xs.length === 1) return choicesOf(ys, xs[0]);
      return [];
    });
    return combined(answers).map((links) => ({ links }));
  },
  fix(cut) {
    const [x, before, after] = [
      cut.after(cut.node.inputs[0]),
      cut.before(cut.node.output()),
      cut.after(cut.node.output()),
    ];
    const copies = cut.node.int("allowzero", 0) === 0;
    const given = cut.node.ints("shape") ?? cut.integers(1);
    const changed = after.flatMap((dim, axis): [number, number][] => {
      const isCopied = copies && given?.[axis] === 0 && x[axis] === dim;
      return typeof dim === "number" && dim !== before[axis] && given?.[axis] !== -1 && !isCopied ? [[axis, dim]] : [];
    });
    // A size that was copied from an axis that is gone, or is another now, is written out.
    cut.patchInts("shape", 1, new Map(changed));
  },
};

const flatten: ChannelRule = { link: reshape.link };

/** What is repeated to a size may have any size. */
const expand: ChannelRule = {
  link(context) {
    const { node } = context;
    const [x, y] = [node.inputs[0], node.outputs[0]];
    const [rankX, rankY] = [context.rank(x) ?? 0, context.rank(y) ?? 0];
    const free = Array.from({ length: rankY }, (_, axis) => {
      const own = context.shape(x)?.[axis - rankY + rankX] ?? 1;
      return own === 1 ? present(context.port(y, axis)) : [];
    });
    return { links: broadcastLinks(context, [x], y), free: free.flat() };
  },
  fix: (cut) => patchSizes(cut, 1),
};

/** Writes sizes of the output that a cut changed into the input that gives them, aligned at the last axis. */
function patchSizes(cut: NodeCut, input: number): void {
  const [before, after] = [cut.before(cut.node.output()), cut.after(cut.node.output())];
  const given = cut.integers(input);
  const shift = after.length - (given?.length ?? after.length);
  const changed = after.flatMap((dim, axis): [number, number][] =>
    typeof dim === "number" && dim !== before[axis] && axis >= shift && given?.[axis - shift] !== 1
      ? [[axis - shift, dim]]
      : [],
  );
  cut.patch(input, new Map(changed));
}

const constantOfShape: ChannelRule = {
  link(context) {
    const rank = context.rank(context.node.output()) ?? 0;
    return {
      links: [],
      free: Array.from({ length: rank }, (_, axis) => context.out(0, axis)).flatMap((port) => present(port)),
    };
  },
  fix: (cut) => patchSizes(cut, 0),
};

const tile: ChannelRule = {
  link(context) {
    const rank = context.rank(context.node.inputs[0]) ?? 0;
    const links = Array.from({ length: rank }, (_, axis) => {
      const x = context.in(0, axis);
      return x ? mapped(context.out(0, axis), x, (i) => i % x.size) : [];
    });
    return { links: links.flat() };
  },
};

/** Rows of a table: its other axes are channels; the looked-up axis is where the indices are constant. */
const gather: ChannelRule = {
  link(context) {
    const { node } = context;
    const [data, indices] = [node.inputs[0], node.inputs[1]];
    const [rank, rankIndices] = [context.rank(data) ?? 0, context.rank(indices) ?? 0];
    const given = node.int("axis", 0);
    const axis = given < 0 ? given + rank : given;
    const [links, made]: [Link[], Port[]] = [[], []];
    for (let other = 0; other < rank; other++) {
      if (other === axis) continue;
      const port = context.port(data, other);
      append(links, same(port, context.out(0, other < axis ? other : other + rankIndices - 1)));
      if (data?.tensor) append(made, present(port));
    }
    for (let i = 0; i < rankIndices; i++) append(links, same(context.in(1, i), context.out(0, axis + i)));
    const known = indices?.tensor && rankIndices === 1 ? context.integers(1) : undefined;
    const size = context.port(data, axis)?.size ?? 0;
    if (known?.every((index) => index !== null))
      append(
        links,
        mapped(context.out(0, axis), context.port(data, axis), (i) => wrapped(known[i] ?? 0, size)),
      );
    return { links, made };
  },
  fix(cut) {
    const { node } = cut;
    const rank = cut.before(node.inputs[0]).length;
    const axis = node.int("axis", 0);
    const at = axis < 0 ? axis + rank : axis;
    const kept = cut.kept(node.inputs[0], at);
    const known = cut.integers(1);
    if (!kept || !known) return;
    const size = Number(cut.before(node.inputs[0])[at]);
    const rows = cut.kept(node.output(), at) ?? known.map((_, i) => i);
    cut.setInts(
      1,
      rows.map((row) => kept.indexOf(wrapped(known[row] ?? 0, size))),
    );
  },
};

function wrapped(index: number, size: number): number {
  return index < 0 ? index + size : index;
}

/** x [n, c · b², h, w] to [n, c, h · b, w · b]: the b² channels that make up one go together. */
const depthToSpace: ChannelRule = {
  link(context) {
    const { node } = context;
    const [x, y] = [context.in(0, 1), context.out(0, 1)];
    const square = node.int("blocksize", 1) ** 2;
    const isColumnFirst = node.string("mode", "DCR") === "CRD";
    const map = (c: number) => (isColumnFirst ? Math.floor(c / square) : c % (y?.size ?? 1));
    return { links: [...same(context.in(0, 0), context.out(0, 0)), ...mapped(x, y, map)] };
  },
};

const spaceToDepth: ChannelRule = {
  link(context) {
    const [x, y] = [context.in(0, 1), context.out(0, 1)];
    return {
      links: [...same(context.in(0, 0), context.out(0, 0)), ...mapped(y, x, (c) => c % (x?.size ?? 1))],
    };
  },
};

/** Shape arithmetic goes on with the old sizes; what takes a shape is told the new one. */
const shape: ChannelRule = {
  link(context) {
    if (context.node.output().isOutput) return undefined;
    const rank = context.rank(context.node.inputs[0]) ?? 0;
    return {
      links: [],
      free: Array.from({ length: rank }, (_, axis) => context.in(0, axis)).flatMap((port) => present(port)),
    };
  },
  fix(cut) {
    const before = cut.before(cut.node.inputs[0]);
    const after = cut.after(cut.node.inputs[0]);
    const rank = before.length;
    const wrap = (axis: number) => Math.min(Math.max(axis < 0 ? axis + rank : axis, 0), rank);
    const start = wrap(cut.node.int("start", 0));
    const end = wrap(cut.node.int("end", rank));
    const changed = before
      .slice(start, end)
      .flatMap((dim, i): [number, number][] => (typeof dim === "number" && dim !== after[start + i] ? [[i, dim]] : []));
    if (changed.length > 0) cut.patchOutput(new Map(changed));
  },
};

/** Axes that keep their size; those that are resized are whole. */
const resize: ChannelRule = {
  link(context) {
    const { node } = context;
    if (node.string("coordinate_transformation_mode", "") === "tf_crop_and_resize") return undefined;
    const rank = context.rank(node.inputs[0]) ?? 0;
    const scales = context.integers(context.opset < 11 ? 1 : 2);
    const axes = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => (scales?.[axis] ?? 1) === 1);
    return { links: axes.flatMap((axis) => same(context.in(0, axis), context.out(0, axis))) };
  },
  fix(cut) {
    const { node } = cut;
    if (!node.inputs[3]) return;
    const axes = node.ints("axes");
    const [before, after] = [cut.before(node.output()), cut.after(node.output())];
    const changed = after.flatMap((dim, axis): [number, number][] => {
      const at = axes ? axes.map((each) => (each < 0 ? each + after.length : each)).indexOf(axis) : axis;
      return typeof dim === "number" && dim !== before[axis] && at >= 0 ? [[at, dim]] : [];
    });
    cut.patch(3, new Map(changed));
  },
};

export const shapeRules: ChannelRules = {
  Transpose: transpose,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Reshape: reshape,
  Flatten: flatten,
  Expand: expand,
  ConstantOfShape: constantOfShape,
  Tile: tile,
  Gather: gather,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  Shape: shape,
  Resize: resize,
  Upsample: { link: resize.link },
};
