/** @file What a model costs after a cut, without making it. */
import { tensorType, type ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { constantsOfNode, costOf } from "../ops/cost.ts";
import { infer } from "../ops/infer.ts";
import type { InputShapes } from "../ops/infer-inputs.ts";
import type { Analysis } from "./analysis.ts";
import { type Cut, keptIndices } from "./cut.ts";

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

  /** @param inputShapes sizes that the model leaves open, which count as 1 otherwise */
  constructor(analysis: Analysis, inputShapes?: InputShapes) {
    this.#analysis = analysis;
    this.#types = inputShapes ? infer(analysis.model, { inputShapes }).types : analysis.inference.types;
    const params = new Map<Value, number>();
    for (const graph of analysis.model.graphs())
      for (const node of graph.nodes)
        for (const constant of constantsOfNode(node))
          params.set(constant.value, Math.max(constant.params, params.get(constant.value) ?? 0));
    this.#params = params;
  }

  cost(cut: Cut): ChannelCost {
    const { model } = this.#analysis;
    const kept = keptIndices(this.#analysis, cut);
    const types = new Map<Value, ValueType>(this.#types);
    for (const [value, own] of kept) {
      const type = value.tensor ? value.type : this.#types.get(value);
      if (type?.kind !== "tensor" || !type.shape) continue;
      const dims = type.shape.map((dim, axis) => own[axis]?.length ?? dim);
      types.set(value, tensorType(type.dtype, dims));
    }
    let params = 0;
    for (const [value, count] of this.#params) {
      const share = (kept.get(value) ?? []).map((indices, axis) =>
        indices ? indices.length / (value.tensor?.dims[axis] ?? 1) : 1,
      );
      params += Math.round(share.reduce((product, part) => product * part, count));
    }
    let macs = 0;
    for (const graph of model.graphs())
      for (const node of graph.nodes) if (node.subgraphs().length === 0) macs += costOf(node, types).macs ?? 0;
    return { macs, params };
  }
}
