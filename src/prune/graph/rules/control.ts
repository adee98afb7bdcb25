/** @file Channel rules: operators with subgraphs. What a subgraph reads from outside needs no rule: its nodes have theirs. */

import type { Value } from "../../../ir/value.ts";
import type { ChannelRule, ChannelRules } from "../channel-rule.ts";
import { type Link, type RuleContext, same } from "../port.ts";

/** Ties all axes of values of one rank. */
function alike(context: RuleContext, ...values: readonly (Value | undefined)[]): Link[] {
  const ranks = values.map((value) => context.rank(value));
  if (ranks.some((rank) => rank === undefined || rank !== ranks[0])) return [];
  return Array.from({ length: ranks[0] ?? 0 }, (_, axis) => {
    const ports = values.map((value) => context.port(value, axis));
    return ports.every((port) => port?.size === ports[0]?.size) ? same(...ports) : [];
  }).flat();
}

const conditional: ChannelRule = {
  link(context) {
    const branches = context.node.subgraphs();
    return {
      links: context.node.outputs.flatMap((output, i) =>
        output ? alike(context, output, ...branches.map((branch) => branch.outputs[i])) : [],
      ),
    };
  },
};

/** Inputs: rounds, condition, carried …; the body's: round, condition, carried …; its outputs: condition, carried …, stacked …. */
const loop: ChannelRule = {
  link(context) {
    const { node } = context;
    const body = node.get("body", "graph");
    if (!body) return undefined;
    const carried = body.inputs.slice(2);
    const links = carried.flatMap((value, i) =>
      alike(context, value, node.inputs[i + 2], body.outputs[i + 1], ...(node.outputs[i] ? [node.outputs[i]] : [])),
    );
    const stacked = node.outputs.slice(carried.length).flatMap((output, i) => {
      const value = body.outputs[i + 1 + carried.length];
      const rank = context.rank(value) ?? 0;
      return Array.from({ length: rank }, (_, axis) => same(context.port(value, axis), context.port(output, axis + 1)));
    });
    return { links: [...links, ...stacked.flat()] };
  },
};

/** Inputs: carried …, scanned …; the body's: carried …, slice …; its outputs and the node's: carried …, stacked …. */
const scan: ChannelRule = {
  link(context) {
    const { node } = context;
    const body = node.get("body", "graph");
    const scanned = node.int("num_scan_inputs");
    if (!body || scanned === undefined || context.opset < 9) return undefined;
    const carried = node.inputs.length - scanned;
    const links = body.inputs.slice(0, carried).flatMap((value, i) => {
      const output = node.outputs[i];
      return alike(context, value, node.inputs[i], body.outputs[i], ...(output ? [output] : []));
    });
    /** Ties the axes of a slice with those of what it is a slice of. */
    const sliced = (slice: Value | undefined, whole: Value | undefined, given: number) => {
      const axis = given < 0 ? given + (context.rank(whole) ?? 0) : given;
      return Array.from({ length: context.rank(slice) ?? 0 }, (_, at) =>
        same(context.port(slice, at), context.port(whole, at < axis ? at : at + 1)),
      ).flat();
    };
    const [inAxes, outAxes] = [node.ints("scan_input_axes"), node.ints("scan_output_axes")];
    const read = body.inputs
      .slice(carried)
      .map((slice, i) => sliced(slice, node.inputs[carried + i], inAxes?.[i] ?? 0));
    const stacked = body.outputs
      .slice(carried)
      .map((slice, i) => sliced(slice, node.outputs[carried + i], outAxes?.[i] ?? 0));
    return { links: [...links, ...read.flat(), ...stacked.flat()] };
  },
};

export const controlRules: ChannelRules = { If: conditional, Loop: loop, Scan: scan };
