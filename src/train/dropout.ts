/** @file Dropout in training: what a layer keeps is fed at every step, from seed, layer and step alone, so that a resumed training keeps the same. */
import type { Emitter } from "../autodiff/emitter.ts";
import type { Graph } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { tensorType } from "../ir/types.ts";
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { elementCount } from "../tensor/tensor.ts";
import { hashLow, keyOf, streamKeys } from "../util/rng.ts";

/** A mask that is fed at every step. */
export interface DropoutMask {
  /** Name of the step's input. */
  readonly name: string;
  readonly dims: readonly number[];
  /** Probability of 0. */
  readonly ratio: number;
}

/** Dropouts of the main graph in inference form, whose ratio is a constant above 0 and whose own mask nobody reads. */
export function trainableDropouts(op: Emitter): Node[] {
  return op.graph.nodes.filter((node) => {
    const [, , training] = node.inputs;
    const isInert = !training || op.known(training)?.[0] === 0;
    const ratio = ratioOf(op, node);
    const isRead = node.outputs[1] && !node.outputs[1].isUnused;
    return node.domain === "" && node.opType === "Dropout" && isInert && !isRead && ratio > 0 && ratio < 1;
  });
}

function ratioOf(op: Emitter, node: Node): number {
  const [, ratio] = node.inputs;
  return ratio ? (op.known(ratio)?.[0] ?? ratio.tensor?.toNumbers()[0] ?? 0) : 0.5;
}

/** y = x / (1 − ratio) where the mask is 1, else 0 (Srivastava et al. 2014). The graph must be sorted afterwards. */
export function startDropping(op: Emitter, node: Node): DropoutMask {
  const graph: Graph = node.graph;
  const x = node.input(0);
  const [y, ownMask] = node.outputs;
  const ratio = ratioOf(op, node);
  const dims = op.shape(x);
  const mask = graph.addValue(`${y?.name}.kept`, tensorType("bool", dims));
  op.declare(mask, mask.type);
  graph.addInput(mask);
  op.subject = y?.name ?? "";
  const scaled = op.Mul(x, 1 / (1 - ratio));
  const zero = op.like(x, 0);
  if (ownMask) graph.dropOutput(ownMask);
  graph.replaceNode(node, { opType: "Where", inputs: [mask, scaled, zero] });
  return { name: mask.name, dims, ratio };
}

/** What a mask keeps in a step: the same for the same seed. */
export function drawMask({ name, dims, ratio }: DropoutMask, seed: number, step: number): HostTensor {
  const { k1, k2 } = streamKeys(seed, keyOf(`dropout ${name}`), step);
  const limit = ratio * 2 ** 32;
  const kept = new Uint8Array(elementCount(dims));
  for (let i = 0; i < kept.length; i++) kept[i] = Number(hashLow(i, k1, k2) >= limit);
  return hostTensor("bool", dims, kept);
}
