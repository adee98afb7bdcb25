/** @file What a model costs after a cut, without making it. */
import type { Node } from "../../ir/node.ts";
import { tensorType, type ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import { constantsOfNode, macsOfNode } from "../../ops/cost.ts";
import { infer } from "../../ops/infer.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import type { Analysis } from "../graph/analysis.ts";
import { type Cut, keptCounts } from "../graph/cut.ts";

export interface ChannelCost {
  /** Multiply-accumulates of one sample, of the nodes whose MACs are known; of all branches together, and of one round of loops. */
  readonly macs: number;
  readonly params: number;
}

/** Costs of cuts of one analysis. */
export class CostMeter {
  readonly #analysis: Analysis;
  readonly #params: ReadonlyMap<Value, number>;
  readonly #types: ReadonlyMap<Value, ValueType>;
  /** The nodes that multiply: no cut adds to them. */
  readonly #products: readonly Node[];

  /** @param inputShapes sizes that the model leaves open, which count as 1 otherwise */
  constructor(analysis: Analysis, inputShapes?: InputShapes) {
    this.#analysis = analysis;
    const types = inputShapes ? infer(analysis.model, { inputShapes }).types : analysis.inference.types;
    this.#types = types;
    const nodes = analysis.model.graphs().flatMap((graph) => graph.nodes);
    const params = new Map<Value, number>();
    for (const node of nodes)
      for (const constant of constantsOfNode(node))
        params.set(constant.value, Math.max(constant.params, params.get(constant.value) ?? 0));
    this.#params = params;
    this.#products = nodes.filter((node) => node.subgraphs().length === 0 && (macsOfNode(node, types) ?? 0) > 0);
  }

  cost(cut: Cut): ChannelCost {
    const kept = keptCounts(this.#analysis, cut);
    const types = new Map<Value, ValueType>(this.#types);
    for (const [value, own] of kept) {
      const type = value.tensor ? value.type : this.#types.get(value);
      if (type?.kind !== "tensor" || !type.shape) continue;
      const dims = type.shape.map((dim, axis) => own[axis] ?? dim);
      types.set(value, tensorType(type.dtype, dims));
    }
    let params = 0;
    for (const [value, count] of this.#params) {
      const own = kept.get(value) ?? [];
      params += Math.round(own.reduce<number>((all, left, axis) => share(all, left, value.tensor?.dims[axis]), count));
    }
    let macs = 0;
    for (const node of this.#products) macs += macsOfNode(node, types) ?? 0;
    return { macs, params };
  }
}

function share(all: number, left: number | undefined, size = 1): number {
  return left === undefined ? all : (all * left) / size;
}
