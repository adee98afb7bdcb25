/** @file Which layers are worth integers that are quantized as they come: by the costs that the target's row counts. */
import type { Node } from "../../ir/node.ts";
import type { ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import { type CostedKernel, costedKernels, layerCost } from "../../targets/costs.ts";
import type { Target } from "../../targets/target.ts";
import { LEAST_TIME, sizeOf } from "../layers/layer-size.ts";
import { opKey } from "../layers/sites.ts";
import { isDepthwise } from "../static/rules.ts";

/**
 * Why nodes are faster in float32 on one of the machines that the target stands for. Nodes whose size or cost is not known are not
 * spoken of, and none of a model that takes no longer than the call of the runtime.
 */
export function slowNodes(
  nodes: readonly Node[],
  types: ReadonlyMap<Value, ValueType>,
  { costs, name }: Target,
): ReadonlyMap<Node, string> {
  const sized = nodes.flatMap((node) => {
    const kernel = kernelOf(node);
    const size = kernel && sizeOf(node, types);
    return kernel && size ? [{ node, kernel, size }] : [];
  });
  const totals = costs.map((machine) =>
    sized.reduce((sum, { kernel, size }) => sum + layerCost(machine, kernel, "float", size), 0),
  );
  if (!totals.some((total) => total > LEAST_TIME)) return new Map();
  return new Map(
    sized.flatMap(({ node, kernel, size }) => {
      const ratios = costs.map((machine) => ({
        machine: machine.machine,
        ratio: layerCost(machine, kernel, "dynamic", size) / layerCost(machine, kernel, "float", size),
      }));
      const worst = ratios.reduce((most, each) => (each.ratio > most.ratio ? each : most));
      const why = `float32 is faster on ${name}: quantized as it comes it would take ${worst.ratio.toFixed(1)} of its time (${worst.machine})`;
      return worst.ratio > 1 ? [[node, why] as const] : [];
    }),
  );
}

function kernelOf(node: Node): CostedKernel | undefined {
  const key = isDepthwise(node) ? "Conv depthwise" : opKey(node);
  return costedKernels.find((kernel) => kernel === key);
}
