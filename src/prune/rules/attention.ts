/** @file Channel rules: attention operators, whose heads go as a whole. */
import { attr } from "../../ir/attribute.ts";
import type { ChannelRule, ChannelRules } from "../channel-rule.ts";
import { type Link, mapped, type Port, type RuleContext, same } from "../port.ts";

/** Ties the channels of one head to each other, and to the head of `heads`, a port with an index for each. */
function headLinks(port: Port | undefined, width: number, target: Port | undefined, perHead: number): Link[] {
  return mapped(port, target, (channel) => Math.floor(channel / width) * perHead);
}

/** q [b, s, heads · d], k [b, t, heads · d], v [b, t, heads · dv], bias [heads · (2 d + dv)], past [b, heads, t, d]. */
const multiHead: ChannelRule = {
  link(context) {
    const { node } = context;
    const heads = node.int("num_heads", 0);
    const [q, k, v, y] = [context.in(0, 2), context.in(1, 2), context.in(2, 2), context.out(0, 2)];
    const plain = node.inputs.slice(3).every((input) => !input) && node.outputs.length === 1;
    if (!q || !k || !v || !y || !plain || heads === 0 || context.rank(k.value) !== 3) return undefined;
    const [d, dv] = [q.size / heads, v.size / heads];
    return {
      links: [
        ...headLinks(q, d, q, d),
        ...headLinks(k, d, q, d),
        ...headLinks(v, dv, q, d),
        ...same(v, y),
        ...batchLinks(context, 3),
      ],
    };
  },
  fix: (cut) => scaleAttribute(cut, "num_heads", 0),
};

/** q [b, s, heads · d] with key and value heads that several query heads share; caches [b, key heads, t, d]. */
const groupQuery: ChannelRule = {
  link(context) {
    const { node } = context;
    const [heads, keyHeads] = [node.int("num_heads", 0), node.int("kv_num_heads", 0)];
    const [q, k, v, y] = [context.in(0, 2), context.in(1, 2), context.in(2, 2), context.out(0, 2)];
    if (!q || !k || !v || !y || keyHeads === 0) return undefined;
    const d = q.size / heads;
    const shared = heads / keyHeads;
    const caches = [3, 4].map((index) => context.in(index, 1));
    const presentCaches = [1, 2].map((index) => context.out(index, 1));
    return {
      links: [
        ...headLinks(k, d, k, d),
        ...same(k, v),
        ...headLinks(q, d * shared, k, d),
        ...same(q, y),
        ...[...caches, ...presentCaches].flatMap((port) => mapped(port, k, (head) => head * d)),
        ...batchLinks(context, 3),
      ],
    };
  },
  fix(cut) {
    scaleAttribute(cut, "num_heads", 0);
    scaleAttribute(cut, "kv_num_heads", 1);
  },
};

/** ai.onnx: q [b, heads, s, d], k and v [b, key heads, t, d]; or [b, s, heads · d] with the numbers of heads as attributes. */
const attention: ChannelRule = {
  link(context) {
    const { node } = context;
    if (node.inputs.slice(3).some((input) => input) || node.outputs.length > 1) return undefined;
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
        ...batchLinks(context, 3),
      ],
    };
  },
  fix(cut) {
    scaleAttribute(cut, "q_num_heads", 0);
    scaleAttribute(cut, "kv_num_heads", 1);
  },
};

/** The batch of the first inputs and the output. */
function batchLinks(context: RuleContext, inputs: number): Link[] {
  return same(context.out(0, 0), ...Array.from({ length: inputs }, (_, index) => context.in(index, 0)));
}

/** Makes a number of heads follow the width of an input. */
function scaleAttribute(cut: Parameters<NonNullable<ChannelRule["fix"]>>[0], name: string, input: number): void {
  const heads = cut.node.int(name);
  const axis = cut.before(cut.node.inputs[input]).length === 4 ? 1 : 2;
  const [before, after] = [cut.before(cut.node.inputs[input])[axis], cut.after(cut.node.inputs[input])[axis]];
  if (heads !== undefined) cut.node.attributes.set(name, attr.int((heads * Number(after)) / Number(before)));
}

export const attentionRules: ChannelRules = {
  Attention: attention,
  "com.microsoft.MultiHeadAttention": multiHead,
  "com.microsoft.GroupQueryAttention": groupQuery,
};
