/** @file Finds the weights of a model: constants, with every place that reads them as a weight. */
import type { Graph } from "../../ir/graph.ts";
import { type Model, nestedGraphs } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Use, Value } from "../../ir/value.ts";
import { callsLeft } from "../../passes/inline-functions.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { own } from "../../util/own.ts";
import type { WeightAxes } from "../grid/slices.ts";
import { quantizedOps, type WeightRule, weightRules } from "./weight-rules.ts";

/** One input slot that holds a weight. */
export interface WeightSite {
  readonly node: Node;
  readonly input: number;
  /** Axes of the constant as this node reads it. */
  readonly axes: WeightAxes;
  /** The Transpose between the constant and the node, where there is one. */
  readonly turn?: Node;
}

/** One constant with every place it is used as a weight; quantized once, however often it is used. */
export interface WeightLayer {
  /** Position among the layers of the model, as `inspect` lists them. */
  readonly index: number;
  /** Name of the first node that uses it, or of its first output when nodes have no names. */
  readonly name: string;
  readonly opType: string;
  readonly value: Value;
  readonly weight: Tensor;
  readonly axes: WeightAxes;
  readonly sites: readonly WeightSite[];
}

/** A node that could hold a weight and is left alone. */
export interface SkippedNode {
  readonly name: string;
  readonly opType: string;
  readonly reason: string;
}

/** Finds every weight of the model and every operator of the table that holds none, subgraphs included, in graph order. */
export function findLayers(model: Model): { layers: WeightLayer[]; skipped: SkippedNode[] } {
  const found = new Map<Value, WeightLayer & { sites: WeightSite[] }>();
  const skipped: SkippedNode[] = [];
  const calls = new Map(callsLeft(model).map(({ node, reason }) => [node, reason]));
  for (const node of nestedGraphs(model.graph).flatMap((graph: Graph) => graph.nodes)) {
    const key = opKey(node);
    const rule = own(weightRules, key);
    const skip = (reason: string) => skipped.push({ name: nodeName(node), opType: key, reason });
    const call = calls.get(node);
    if (call) {
      skip(call);
      continue;
    }
    if (quantizedOps.has(key)) skip("quantized already");
    if (!rule) continue;
    const constants = rule.inputs.flatMap((input) => constantAt(node, input, rule) ?? []);
    if (constants.length === 0) {
      if (key !== "Gather") skip(whyNotConstant(node, rule));
      continue;
    }
    for (const { input, value, weight, turn } of constants) {
      const axes = axesOf(rule, node, input, weight.dims, turn !== undefined);
      const known = found.get(value);
      if (typeof axes === "string") {
        if (key !== "Gather") skip(axes);
        continue;
      }
      const site = { node, input, axes, ...(turn && { turn }) };
      if (known) known.sites.push(site);
      else if (!isFloat(weight)) {
        if (key !== "Gather") skip(`weight "${value.name}" is ${weight.dtype}: only float weights are quantized`);
      } else {
        const layer = { name: nodeName(node), opType: key, value, weight, axes, sites: [site] };
        found.set(value, { index: found.size, ...layer });
      }
    }
  }
  return { layers: [...found.values()], skipped };
}

/** The constant that an input reads, perhaps through a Transpose. */
function constantAt(node: Node, input: number, rule: WeightRule) {
  const value = node.inputs[input];
  if (value?.tensor) return { input, value, weight: value.tensor, turn: undefined };
  const turn = value?.producer;
  const source = turn && rule.seesThroughTranspose && isTurn(turn) ? turn.inputs[0] : undefined;
  return source?.tensor ? { input, value: source, weight: source.tensor, turn } : undefined;
}

/** Dims of a constant operand as its node reads it, perhaps through a Transpose. */
export function dimsAt(node: Node, input: number): readonly number[] | undefined {
  const value = node.inputs[input];
  const turn = value?.producer;
  return turn && isTurn(turn) ? turn.inputs[0]?.tensor?.dims.toReversed() : value?.tensor?.dims;
}

/** Whether a node exchanges the two axes of a matrix. */
export function isTurn(node: Node): boolean {
  const perm = node.ints("perm") ?? [1, 0];
  const rank = node.inputs[0]?.tensor?.dims.length;
  return opKey(node) === "Transpose" && rank === 2 && perm[0] === 1;
}

/** The axes of the constant; a Transpose in between exchanges the two. */
function axesOf(rule: WeightRule, node: Node, input: number, dims: readonly number[], isTurned: boolean) {
  if (!isTurned) return rule.axes(node, input, dims);
  const axes = rule.axes(node, input, [...dims].reverse());
  return typeof axes === "string" ? axes : { channel: 1 - axes.channel, group: 1 - axes.group };
}

/** Whether nothing but its sites reads a weight. */
export function isReadBySitesOnly({ value, sites }: Pick<WeightLayer, "value" | "sites">): boolean {
  const known = ({ node, index }: Use, turn?: Node): boolean =>
    sites.some((site) => site.node === node && site.input === index && site.turn === turn);
  const isTurnOfSites = (node: Node) =>
    sites.some(({ turn }) => turn === node) &&
    !node.output().isOutput &&
    [...node.output().uses].every((use) => known(use, node));
  return !value.isOutput && [...value.uses].every((use) => known(use) || isTurnOfSites(use.node));
}

function isFloat({ dtype }: Tensor): boolean {
  return dtype === "float32" || dtype === "float16" || dtype === "bfloat16";
}

function whyNotConstant(node: Node, rule: WeightRule): string {
  const input = node.inputs[rule.inputs.at(-1) as number];
  const producer = input?.producer;
  if (producer?.opType === "DequantizeLinear") return "quantized already";
  if (input?.isInput) return `its weight is the model's input "${input.name}"`;
  return "no constant weight: both operands are computed at run time";
}

/** The operator of a node, with its domain where that is not the standard one. */
export function opKey(node: Node): string {
  return node.domain ? `${node.domain}.${node.opType}` : node.opType;
}

export function nodeName(node: Node): string {
  return node.name || node.outputs.find((output) => output)?.name || node.opType;
}
