/** @file Batch norms that train: they normalize by the batch, and their running statistics follow it. */
import type { Emitter } from "../autodiff/emitter.ts";
import { attr } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";

/** A running statistic: the initializer that holds it, and its next value. */
export interface RunningStatistic {
  readonly name: string;
  readonly next: Value;
}

/** Batch norms of the main graph in inference form whose statistics are constants. */
export function trainableBatchNorms(graph: Graph): Node[] {
  return graph.nodes.filter(
    (node) =>
      node.domain === "" &&
      node.opType === "BatchNormalization" &&
      node.int("training_mode", 0) === 0 &&
      node.inputs.slice(3, 5).every((value) => value?.tensor && value.uses.size === 1),
  );
}

/** Lets a batch norm normalize by the batch: its momentum of 0 makes the further outputs the batch's own mean and variance. */
export function startTraining(op: Emitter, node: Node): RunningStatistic[] {
  const { graph } = node;
  const momentum = node.float("momentum", 0.9);
  node.attributes.set("training_mode", attr.int(1));
  node.attributes.set("momentum", attr.float(0));
  const dims = op.shape(node.input(0));
  const count = dims.reduce((product, dim, axis) => (axis === 1 ? product : product * dim), 1);
  return [3, 4].map((index) => {
    const running = node.input(index);
    const batch = graph.addNodeOutput(node, index - 2, `${running.name}.batch`);
    op.declare(batch, running.type);
    // The running variance is that of the population: n / (n − 1) of the batch's.
    const share = (1 - momentum) * (index === 4 && count > 1 ? count / (count - 1) : 1);
    op.subject = running.name;
    return { name: running.name, next: op.Add(op.Mul(running, momentum), op.Mul(batch, share)) };
  });
}
