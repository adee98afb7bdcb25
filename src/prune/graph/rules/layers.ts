/** @file Channel rules: layers with weights, products of computed values, normalization. */
import { attr } from "../../../ir/attribute.ts";
import type { Value } from "../../../ir/value.ts";
import { einsumTerms } from "../../../ops/shapes/linalg.ts";
import { append } from "../../../util/append.ts";
import type { ChannelRule, ChannelRules } from "../channel-rule.ts";
import { type Channels, type Link, mapped, type Port, present, type RuleContext, same } from "../port.ts";
import { storedConstant } from "../stored-constant.ts";
import { broadcastLinks } from "./elementwise.ts";

/** The axis of a weight, where it is a constant, or a constant in another form: as it is stored. */
export function ofWeight(port: Port | undefined): Port[] {
  const stored = port && storedConstant(port.value);
  return port && stored ? [{ ...port, value: stored.value }] : [];
}

/** The operand to put zeros into: the constant one. */
function operand(a: Port | undefined, b: Port | undefined): Port[] {
  return a && b ? [b.value.tensor ? b : a] : [];
}

/**
 * x [n, c, …], w [m, c / group, …], b [m], y [n, m, …]. With groups, either the same channels of every group go, or whole groups do.
 * @param z input that is added to the output
 */
const conv = (z?: number): ChannelRule => ({
  link(context) {
    const { node } = context;
    const group = node.int("group", 1);
    const [x, w0, w1, y] = [context.in(0, 1), context.in(1, 0), context.in(1, 1), context.out(0, 1)];
    const added = z === undefined ? [] : broadcastLinks(context, [node.inputs[z]], node.output());
    const outputs = [...same(context.in(0, 0), context.out(0, 0)), ...same(w0, context.in(2, 0), y), ...added];
    const made = ofWeight(w0);
    if (!x || !w0 || !w1) return undefined;
    if (group === 1) return { links: [...outputs, ...same(x, w1)], made, summed: operand(x, w1) };
    const perGroup = w0.size / group;
    const whole: Channels = {
      links: [
        ...outputs,
        ...mapped(x, w0, (c) => Math.floor(c / w1.size) * perGroup),
        ...mapped(w0, w0, (m) => Math.floor(m / perGroup) * perGroup),
      ],
      made,
    };
    if (w1.size === 1) return { ...whole, free: [w1] };
    const local: Channels = {
      links: [...outputs, ...mapped(w0, w0, (m) => m % perGroup), ...mapped(x, w1, (c) => c % w1.size)],
      made,
      summed: [w1],
    };
    return [local, whole];
  },
  fix(cut) {
    const { node } = cut;
    if (node.int("group", 1) === 1) return;
    const channels = cut.after(node.inputs[0])[1];
    const perGroup = cut.after(node.inputs[1])[1];
    node.attributes.set("group", attr.int(Number(channels) / Number(perGroup)));
  },
});

/** x [n, c, …], w [c, m / group, …], b [m], y [n, m, …]. */
const convTranspose: ChannelRule = {
  link(context) {
    const group = context.node.int("group", 1);
    const [x, w0, w1, y] = [context.in(0, 1), context.in(1, 0), context.in(1, 1), context.out(0, 1)];
    if (!x || !w0 || !w1 || !y) return undefined;
    const bias = [...same(context.in(0, 0), context.out(0, 0)), ...same(y, context.in(2, 0))];
    if (group === 1)
      return { links: [...bias, ...same(x, w0), ...same(w1, y)], made: ofWeight(w1), summed: operand(x, w0) };
    const perGroup = w0.size / group;
    const whole: Channels = {
      links: [
        ...bias,
        ...same(x, w0),
        ...mapped(y, w0, (m) => Math.floor(m / w1.size) * perGroup),
        ...mapped(w0, w0, (c) => Math.floor(c / perGroup) * perGroup),
      ],
      made: ofWeight(w0),
    };
    if (perGroup === 1 && w1.size === 1) return { ...whole, free: [w1] };
    const local: Channels = {
      links: [...bias, ...same(x, w0), ...mapped(w0, w0, (c) => c % perGroup), ...mapped(y, w1, (m) => m % w1.size)],
      made: ofWeight(w1),
      summed: operand(x, w0),
    };
    return [local, whole];
  },
  fix(cut) {
    const { node } = cut;
    if (node.int("group", 1) === 1) return;
    const channels = cut.after(node.output())[1];
    const perGroup = cut.after(node.inputs[1])[1];
    node.attributes.set("group", attr.int(Number(channels) / Number(perGroup)));
  },
};

/** a [m, k], b [k, n] (each transposed on request), c broadcast to y [m, n]. */
const gemm: ChannelRule = {
  link(context) {
    const { node } = context;
    const transA = node.int("transA", 0) !== 0;
    const transB = node.int("transB", 0) !== 0;
    const [m, ak] = [context.in(0, transA ? 1 : 0), context.in(0, transA ? 0 : 1)];
    const [n, bk] = [context.in(1, transB ? 0 : 1), context.in(1, transB ? 1 : 0)];
    return {
      links: [
        ...same(m, context.out(0, 0)),
        ...same(n, context.out(0, 1)),
        ...same(ak, bk),
        ...broadcastLinks(context, node.inputs.slice(2, 3), node.output()),
      ],
      made: [...ofWeight(m), ...ofWeight(n)],
      summed: operand(ak, bk),
    };
  },
};

/** a […, m, k], b […, k, n], either of one axis only; what stands before is broadcast. */
const matMul: ChannelRule = {
  link(context) {
    const { node } = context;
    if (node.int("transA", 0) !== 0 || node.int("transBatchA", 0) !== 0 || node.int("transBatchB", 0) !== 0)
      return undefined;
    const [a, b, y] = [node.inputs[0], node.inputs[1], node.outputs[0]];
    const [rankA, rankB, rankY] = [context.rank(a), context.rank(b), context.rank(y)];
    if (!rankA || !rankB || rankY === undefined) return undefined;
    const transB = node.int("transB", 0) !== 0;
    const [m, n] = [
      rankA > 1 ? context.port(a, -2) : undefined,
      rankB > 1 ? context.port(b, transB ? -2 : -1) : undefined,
    ];
    const [ak, bk] = [context.port(a, -1), context.port(b, rankB > 1 && !transB ? -2 : -1)];
    const links: Link[] = same(ak, bk);
    if (m) append(links, same(m, context.port(y, rankB > 1 ? -2 : -1)));
    if (n) append(links, same(n, context.port(y, -1)));
    const inner = (rankA > 1 ? 1 : 0) + (rankB > 1 ? 1 : 0);
    const batch: Port[] = [];
    for (const [value, rank] of [[a, rankA] as const, [b, rankB] as const])
      for (let axis = 0; axis < rank - 2; axis++) {
        const port = context.port(value, axis);
        const to = context.port(y, axis + (rankY - inner) - (rank - 2));
        append(links, same(port, to));
        if (port?.size === to?.size) append(batch, present(port));
      }
    return { links, made: [m, n, ...batch].flatMap(ofWeight), summed: operand(ak, bk) };
  },
};

/** Letters of one name are one axis; those that the result lacks are summed over. */
const einsum: ChannelRule = {
  link(context) {
    const { node } = context;
    const terms = einsumTerms(node.string("equation", ""), node.inputs.length);
    if (!terms || [...terms.inputs, terms.output].some((term) => term.includes("..."))) return undefined;
    const ports = new Map<string, Port[]>();
    const add = (value: Value | undefined, term: readonly string[]) => {
      term.forEach((letter, axis) => {
        const port = context.port(value, axis);
        if (port) ports.set(letter, [...(ports.get(letter) ?? []), port]);
      });
    };
    node.inputs.forEach((input, i) => {
      add(input, terms.inputs[i] ?? []);
    });
    const groups = [...ports].map(([letter, own]) => ({ own, stays: terms.output.includes(letter) }));
    const summed = groups.filter(({ stays }) => !stays).flatMap(({ own }) => operand(own.at(-1), own[0]));
    const made = groups.filter(({ stays }) => stays).flatMap(({ own }) => own.flatMap(ofWeight));
    add(node.output(), terms.output);
    return { links: [...ports.values()].flatMap((own) => same(...own)), made, summed };
  },
};

/** x [n, c, …] and constants [c]: statistics are of each channel by itself. */
const perChannelNorm: ChannelRule = {
  link(context) {
    const { node } = context;
    if (node.outputs.length > 1 || node.int("spatial", 1) === 0) return undefined;
    const parameters = node.inputs.slice(1).map((value) => context.port(value, 0));
    return {
      links: [
        ...same(context.in(0, 0), context.out(0, 0)),
        ...same(context.in(0, 1), context.out(0, 1), ...parameters),
      ],
    };
  },
};

/** Groups go as a whole. */
const groupNorm: ChannelRule = {
  link(context) {
    const { node } = context;
    const [x, y] = [context.in(0, 1), context.out(0, 1)];
    const groups = node.int("num_groups", 1);
    if (!x) return undefined;
    const size = x.size / groups;
    const parameters = [1, 2].flatMap((index) => {
      const port = context.in(index, 0);
      return port?.size === x.size ? same(x, port) : mapped(x, port, (c) => Math.floor(c / size));
    });
    const together = mapped(x, x, (c) => Math.floor(c / size) * size);
    return { links: [...same(context.in(0, 0), context.out(0, 0)), ...same(x, y), ...together, ...parameters] };
  },
  fix(cut) {
    const { node } = cut;
    const [before, after] = [cut.before(node.inputs[0])[1], cut.after(node.inputs[0])[1]].map(Number);
    const groups = node.int("num_groups", 1);
    node.attributes.set("num_groups", attr.int(((after as number) * groups) / (before as number)));
  },
};

/** Every axis but those that are looked at as a whole. */
export function allAxesBut(context: RuleContext, isWhole: (axis: number, rank: number) => boolean): Channels {
  const [x, y] = [context.node.inputs[0], context.node.outputs[0]];
  const rank = context.rank(x) ?? 0;
  const axes = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => !isWhole(axis, rank));
  return { links: axes.flatMap((axis) => same(context.port(x, axis), context.port(y, axis))) };
}

const layerNorm: ChannelRule = {
  link(context) {
    if (context.node.outputs.length > 1) return undefined;
    const first = context.node.int("axis", -1);
    return allAxesBut(context, (axis, rank) => axis >= (first < 0 ? first + rank : first));
  },
};

/**
 * x / √(mean x² + ε) · scale over the last axis. What is cut goes on to count, as zeros: a mean over k of n is n / k as large as it was, which
 * ε and scale make up for. With `skip`: of x + skip + bias, which is an output as well.
 */
const rmsNorm = (skip: boolean): ChannelRule => ({
  link(context) {
    const { node } = context;
    const scale = node.inputs[skip ? 2 : 1];
    const rank = context.rank(node.inputs[0]) ?? 0;
    const first = node.int("axis", -1);
    const others = node.outputs.slice(1).some((output, i) => output && !(skip && i === 2));
    if (others) return undefined;
    const summands = skip ? [node.inputs[0], node.inputs[1], node.inputs[3]] : [node.inputs[0]];
    const values = [...summands, node.outputs[0], ...(skip ? [node.outputs[3]] : [])];
    const links = Array.from({ length: rank - 1 }, (_, axis) =>
      same(...values.filter((value) => context.rank(value) === rank).map((value) => context.port(value, axis))),
    ).flat();
    const isLast = first === -1 || first === rank - 1;
    if (!isLast || !scale?.tensor || context.rank(scale) !== 1) return { links };
    const last = values.map((value) => context.port(value, -1));
    return {
      links: [...links, ...same(...last, context.port(scale, 0))],
      summed: summands.flatMap((value) => present(context.port(value, -1))),
    };
  },
  fix(cut) {
    const { node } = cut;
    const [before, after] = [cut.before(node.inputs[0]).at(-1), cut.after(node.inputs[0]).at(-1)];
    if (before === after) return;
    const more = Number(before) / Number(after);
    node.attributes.set("epsilon", attr.float(node.float("epsilon", 1e-5) * more));
    cut.scaleConstant(skip ? 2 : 1, Math.sqrt(more));
  },
});

/** Up to operator set 12 everything from the axis on is one. */
const softmax: ChannelRule = {
  link(context) {
    const old = context.opset < 13;
    const given = context.node.int("axis", old ? 1 : -1);
    return allAxesBut(context, (axis, rank) => {
      const at = given < 0 ? given + rank : given;
      return old ? axis >= at : axis === at;
    });
  },
};

/** Zeros do not count in a norm. */
const lpNorm: ChannelRule = {
  link(context) {
    const axis = context.node.int("axis", -1);
    return { ...allAxesBut(context, () => false), summed: present(context.in(0, axis)) };
  },
};

const cumulative: ChannelRule = {
  link(context) {
    const [axis] = context.integers(1) ?? [];
    if (axis === undefined || axis === null) return undefined;
    return allAxesBut(context, (each, rank) => each === (axis < 0 ? axis + rank : axis));
  },
};

export const layerRules: ChannelRules = {
  Conv: conv(),
  "com.microsoft.FusedConv": conv(3),
  ConvTranspose: convTranspose,
  Gemm: gemm,
  "com.microsoft.FusedGemm": gemm,
  MatMul: matMul,
  "com.microsoft.FusedMatMul": matMul,
  Einsum: einsum,
  BatchNormalization: perChannelNorm,
  InstanceNormalization: perChannelNorm,
  GroupNormalization: groupNorm,
  LayerNormalization: layerNorm,
  RMSNormalization: rmsNorm(false),
  SimplifiedLayerNormalization: rmsNorm(false),
  "com.microsoft.SkipSimplifiedLayerNormalization": rmsNorm(true),
  Softmax: softmax,
  LogSoftmax: softmax,
  Hardmax: softmax,
  LpNormalization: lpNorm,
  CumSum: cumulative,
};
