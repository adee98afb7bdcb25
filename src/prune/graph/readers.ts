/** @file Layers that read channels: how their weights are numbered, which axes they sum over, and how what they read is unfolded. */
import type { Unfolding } from "../../calibrate/gram.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { TersorError } from "../../util/errors.ts";
import type { Analysis, PortRow } from "./analysis.ts";
import { layerName } from "./groups.ts";
import { shapeOf } from "./port.ts";
import type { BiasPlace, Layout } from "./reader-form.ts";
import { readerRows } from "./reader-rows.ts";
import { storedConstant } from "./stored-constant.ts";

/** A layer with a constant weight that sums over the channels of a computed input. */
export interface Reader {
  readonly node: Node;
  readonly input: Value;
  /** The axes of the input that it sums over, or has as groups. */
  readonly ports: readonly { readonly port: PortRow; readonly axes: readonly number[] }[];
  /** The constant, as it is stored. */
  readonly weight: Value;
  readonly layout: Layout;
  readonly bias: BiasPlace | undefined;
  unfolding(): Unfolding;
}

/** A node that sums over channels and whose weights can't be solved, with the reason. */
export interface Unread {
  readonly node: Node;
  readonly reason: string;
}

export interface Readers {
  /** Of the main graph, in its order: the same places in every analysis of one model. */
  readonly readers: readonly Reader[];
  /** Nodes with a sum over channels that no reader stands for. */
  readonly others: readonly Unread[];
}

const known = new WeakMap<Analysis, Readers>();

/** The readers of the main graph, and what sums over channels besides, with the reason why it can't be solved. */
export function findReaders(analysis: Analysis): Readers {
  const found = known.get(analysis) ?? look(analysis);
  known.set(analysis, found);
  return found;
}

export function readersOf(analysis: Analysis): readonly Reader[] {
  return findReaders(analysis).readers;
}

function look(analysis: Analysis): Readers {
  const summing = new Set(analysis.summed.map(({ node }) => node));
  const main = new Set(analysis.model.graph.nodes);
  const readers: Reader[] = [];
  const others: Unread[] = [];
  const nodes = analysis.model.graphs().flatMap((graph) => graph.nodes);
  for (const node of nodes) {
    const found = main.has(node) ? readerOf(node, analysis) : `${node.opType} is in a branch or loop`;
    if (typeof found !== "string") readers.push(found);
    else if (summing.has(node)) others.push({ node, reason: found });
  }
  return { readers, others };
}

/** The reader that a node is, or why it is none. */
function readerOf(node: Node, analysis: Analysis): Reader | string {
  const { inference, port } = analysis;
  const row = readerRows[node.domain ? `${node.domain}.${node.opType}` : node.opType];
  if (!row) return `there is no least squares for ${node.opType}`;
  const shapes = node.inputs.map((value) => value && shapeOf(value, inference.types));
  const constants = node.inputs.map((value) => value && storedConstant(value));
  if (!constants.some((constant) => constant)) return "both operands are computed: there are no weights to solve";
  const form = row({ node, shapes, isConstant: (i) => constants[i] !== undefined });
  if (typeof form === "string") return form;
  const input = node.inputs[form.input];
  const stored = constants[form.weight];
  const type = input && inference.types.get(input);
  if (!stored) return "its weight is computed";
  if (!input || input.isConstant || type?.kind !== "tensor") return "what it reads is not known";
  const ports = form.reads.flatMap(({ axis, axes }) => {
    const own = port(input, axis);
    return own ? [{ port: own, axes }] : [];
  });
  if (ports.length !== form.reads.length) return "what it reads has no fixed number of channels";
  return {
    node,
    input,
    ports,
    weight: stored.value,
    layout: form.layout,
    bias: form.bias,
    unfolding: () => form.unfolding(),
  };
}

/** Why the weights of a reader can't be solved anew; undefined where they can. */
export function obstacleToSolving({ node, weight, unfolding }: Reader): string | undefined {
  if (weight.uses.size > 1) return "several layers share the weight";
  const { dtype } = weight.tensor ?? {};
  if (dtype !== "float32" && dtype !== "float16" && dtype !== "float64")
    return `the weight is stored as ${dtype ?? "something computed"}: prune the float model, then quantize`;
  try {
    unfolding();
  } catch (error) {
    if (!(error instanceof TersorError)) throw error;
    return error.message.replace(`${node}: `, "");
  }
  return undefined;
}

/** By name, what could not be solved. */
export function nameOf({ node }: { readonly node: Node }): string {
  return layerName(node);
}
