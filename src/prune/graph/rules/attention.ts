/** @file Channel rules: attention operators, whose heads go as a whole. */
import { attr } from "../../../ir/attribute.ts";
import type { Value } from "../../../ir/value.ts";
import type { ChannelRule, ChannelRules, NodeCut } from "../channel-rule.ts";
import { type Link, mapped, type Port, present, type RuleContext, same } from "../port.ts";

/** Ties the channels of one head to each other, and to the head of `heads`, a port with an index for each. */
function headLinks(port: Port | undefined, width: number, target: Port | undefined, perHead: number): Link[] {
  return mapped(port, target, (channel) => Math.floor(channel / width) * perHead);
}

/** Ties an axis with an index for each head (caches, biases of the scores) to heads of `width` channels; an axis of one is for all heads. */
function perHead(port: Port | undefined, target: Port | undefined, width: number): Link[] {
  return port && port.size > 1 ? mapped(port, target, (head) => head * width) : [];
}

/** Joined projections [q | k | v] of `sizes` channels, each of as many heads, whose first channels in y are `width` apart. */
function joinedLinks(port: Port | undefined, sizes: readonly number[], heads: number, y: Port, width: number): Link[] {
  const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, size) => sum + size, 0));
  const headOf = (channel: number) => {
    const part = starts.findLastIndex((start) => channel >= start);
    return Math.floor(((channel - (starts[part] as number)) * heads) / (sizes[part] as number));
  };
  return mapped(port, y, (channel) => headOf(channel) * width);
}

/**
 * q [b, s, heads · d], k [b, t, heads · d], v [b, t, heads · dv], bias [heads · (2 d + dv)], mask, bias of the scores [1 or b, 1 or heads, s, t],
 * caches [b, heads, t, d]; y [b, s, heads · dv].
 */
const multiHead: ChannelRule = {
  link(context) {
    const { node } = context;
    const heads = node.int("num_heads", 0);
    const [q, k, v, y] = [context.in(0, 2), context.in(1, 2), context.in(2, 2), context.out(0, 2)];
    const isPlain = node.inputs.slice(8).every((input) => !input) && node.outputs.length <= 3;
    if (!q || !k || !v || !y || !isPlain || heads === 0 || context.rank(k.value) !== 3) return undefined;
    const [d, dv] = [q.size / heads, v.size / heads];
    const heading = [context.in(5, 1), context.in(6, 1), context.in(7, 1), context.out(1, 1), context.out(2, 1)];
    return {
      links: [
        ...headLinks(q, d, y, dv),
        ...headLinks(k, d, y, dv),
        ...headLinks(y, dv, y, dv),
        ...same(v, y),
        ...joinedLinks(context.in(3, 0), [q.size, k.size, v.size], heads, y, dv),
        ...heading.flatMap((port) => perHead(port, y, dv)),
        ...batchLinks(context, 3),
      ],
    };
  },
  fix: (cut) => scaleAttribute(cut, "num_heads", cut.node.inputs[0]),
};

/** x [b, s, i], w [i, heads · (2 d + dv)] and its bias, mask, bias of the scores; y [b, s, heads · dv]. */
const fusedAttention: ChannelRule = {
  link(context) {
    const { node } = context;
    const heads = node.int("num_heads", 0);
    const [w, y] = [context.in(1, 1), context.out(0, 2)];
    const isPlain = !node.inputs[4] && node.inputs.slice(6).every((input) => !input) && node.outputs.length === 1;
    if (!w || !y || !isPlain || heads === 0) return undefined;
    const sizes = node.ints("qkv_hidden_sizes") ?? [w.size / 3, w.size / 3, w.size / 3];
    const dv = y.size / heads;
    return {
      links: [
        ...headLinks(y, dv, y, dv),
        ...joinedLinks(w, sizes, heads, y, dv),
        ...joinedLinks(context.in(2, 0), sizes, heads, y, dv),
        ...perHead(context.in(5, 1), y, dv),
        ...same(context.in(0, 2), context.in(1, 0)),
        ...batchLinks(context, 1),
      ],
      made: w.value.tensor ? [w] : [],
      summed: present(context.in(1, 0)),
    };
  },
  fix(cut) {
    const { node } = cut;
    const sizes = node.ints("qkv_hidden_sizes");
    const [before, after] = [cut.before(node.output())[2], cut.after(node.output())[2]].map(Number) as [number, number];
    if (sizes)
      cut.setAttribute(
        "qkv_hidden_sizes",
        sizes.map((size) => (size * after) / before),
      );
    scaleAttribute(cut, "num_heads", node.output());
  },
};

/**
 * q [b, s, heads · d] with key and value heads that several query heads share, or all three joined in q; caches [b, key heads, t, d], bias of
 * the scores [1 or b, 1 or heads, s, t]; y [b, s, heads · d].
 */
const groupQuery: ChannelRule = {
  link(context) {
    const { node } = context;
    const [heads, keyHeads] = [node.int("num_heads", 0), node.int("kv_num_heads", 0)];
    const [q, k, v, y] = [context.in(0, 2), context.in(1, 2), context.in(2, 2), context.out(0, 2)];
    if (!q || !y || keyHeads === 0 || node.inputs.slice(11).some((input) => input)) return undefined;
    const d = y.size / heads;
    const shared = heads / keyHeads;
    // Query heads that share a key go together, with the key's.
    const group = d * shared;
    const caches = [context.in(3, 1), context.in(4, 1), context.out(1, 1), context.out(2, 1)];
    const projections =
      k && v
        ? [...same(q, y), ...headLinks(k, d, y, group), ...headLinks(v, d, y, group)]
        : joinedLinks(q, [y.size, keyHeads * d, keyHeads * d], keyHeads, y, group);
    const bias = context.in(10, 1);
    return {
      links: [
        ...headLinks(y, group, y, group),
        ...projections,
        ...(k && v ? [] : mapped(q, y, (channel) => (channel < y.size ? channel : -1))),
        ...caches.flatMap((port) => perHead(port, y, group)),
        ...(bias && bias.size > 1 ? mapped(bias, y, (head) => head * d) : []),
        ...batchLinks(context, 3),
      ],
    };
  },
  fix(cut) {
    scaleAttribute(cut, "num_heads", cut.node.output());
    scaleAttribute(cut, "kv_num_heads", cut.node.output());
  },
};

/** x [b, heads, s, d], or [b, s, heads · d]; positions and tables of angles are for all heads. Tables: inputs `angles` and the next. */
const rotary = (angles: number): ChannelRule => ({
  link(context) {
    const { node } = context;
    const [x, y] = [node.inputs[0], node.outputs[0]];
    const batch = batchLinks(context, 1);
    if (context.rank(x) === 4) return { links: [...batch, ...same(context.port(x, 1), context.port(y, 1))] };
    const [from, to, table] = [context.port(x, 2), context.port(y, 2), context.in(angles, -1)];
    const heads = node.int("num_heads", 0);
    const isWhole = node.int("rotary_embedding_dim", 0) === 0;
    const d = heads > 0 ? (from?.size ?? 0) / heads : isWhole && table ? 2 * table.size : 0;
    if (!from || !to || d === 0) return { links: batch };
    return { links: [...batch, ...same(from, to), ...headLinks(from, d, from, d)] };
  },
  fix: (cut) => scaleAttribute(cut, "num_heads", cut.node.inputs[0]),
});

/** ai.onnx: q [b, heads, s, d], k and v [b, key heads, t, d]; or [b, s, heads · d] with the numbers of heads as attributes. */
const attention: ChannelRule = {
  link(context) {
    const { node } = context;
    if (node.inputs.slice(6).some((input) => input) || node.outputs.length > 3) return undefined;
    const mask = context.rank(node.inputs[3]) === 4 ? context.in(3, 1) : undefined;
    const caches = [context.in(4, 1), context.in(5, 1), context.out(1, 1), context.out(2, 1)];
    const rank = context.rank(node.inputs[0]);
    const [heads, keyHeads] = [node.int("q_num_heads", 0), node.int("kv_num_heads", 0)];
    const axis = rank === 4 ? 1 : 2;
    const [q, k, v, y] = [context.in(0, axis), context.in(1, axis), context.in(2, axis), context.out(0, axis)];
    if (!q || !k || !v || !y) return undefined;
    if (rank === 4) {
      const shared = q.size / k.size;
      return {
        links: [
          ...mapped(q, k, (head) => Math.floor(head / shared)),
          ...same(k, v),
          ...same(q, y),
          ...perHead(mask, q, 1),
          ...caches.flatMap((port) => perHead(port, k, 1)),
          ...batchLinks(context, 3),
        ],
      };
    }
    if (heads === 0 || keyHeads === 0) return undefined;
    const [d, dv, shared] = [q.size / heads, v.size / keyHeads, heads / keyHeads];
    return {
      links: [
        ...headLinks(k, d, k, d),
        ...headLinks(v, dv, k, d),
        ...headLinks(q, d * shared, k, d),
        ...headLinks(y, dv * shared, k, d),
        ...perHead(mask, q, d),
        ...caches.flatMap((port) => perHead(port, k, d)),
        ...batchLinks(context, 3),
      ],
    };
  },
  fix(cut) {
    scaleAttribute(cut, "q_num_heads", cut.node.inputs[0]);
    scaleAttribute(cut, "kv_num_heads", cut.node.inputs[1]);
  },
};

/** The batch of the first inputs and the output. */
function batchLinks(context: RuleContext, inputs: number): Link[] {
  return same(context.out(0, 0), ...Array.from({ length: inputs }, (_, index) => context.in(index, 0)));
}

/** Makes a number of heads follow the width of a value that has them side by side. */
function scaleAttribute(cut: NodeCut, name: string, value: Value | undefined): void {
  const heads = cut.node.int(name);
  const axis = cut.before(value).length === 4 ? 1 : 2;
  const [before, after] = [cut.before(value)[axis], cut.after(value)[axis]];
  if (heads !== undefined) cut.node.attributes.set(name, attr.int((heads * Number(after)) / Number(before)));
}

export const attentionRules: ChannelRules = {
  Attention: attention,
  RotaryEmbedding: rotary(1),
  "com.microsoft.Attention": fusedAttention,
  "com.microsoft.RotaryEmbedding": rotary(2),
  "com.microsoft.MultiHeadAttention": multiHead,
  "com.microsoft.GroupQueryAttention": groupQuery,
};
