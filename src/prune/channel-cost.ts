/** @file What a model costs after a cut, without making it. */
import { tensorType, type ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { constantsOfNode, modelCost } from "../ops/cost.ts";
import type { Analysis } from "./analysis.ts";
import { type Cut, dimsAfter, keptIndices } from "./cut.ts";

export interface ChannelCost {
  /** Multiply-accumulates of one sample; of the nodes whose MACs are known. */
  readonly macs: number;
  readonly params: number;
}

/** Costs of cuts of one analysis. */
export class CostMeter {
  readonly #analysis: Analysis;
  readonly #params: ReadonlyMap<Value, number>;

  constructor(analysis: Analysis) {
    this.#analysis = analysis;
    const params = new Map<Value, number>();
    for (const graph of analysis.model.graphs())
      for (const node of graph.nodes)
        for (const constant of constantsOfNode(node))
          params.set(constant.value, Math.max(constant.params, params.get(constant.value) ?? 0));
    this.#params = params;
  }

  cost(cut: Cut): ChannelCost {
    const { model, inference } = this.#analysis;
    const kept = keptIndices(this.#analysis, cut);
    const types = new Map<Value, ValueType>(inference.types);
    for (const value of kept.keys()) {
      const type = value.tensor ? value.type : inference.types.get(value);
      if (type?.kind === "tensor") types.set(value, tensorType(type.dtype, dimsAfter(this.#analysis, kept, value)));
    }
    let params = 0;
    for (const [value, count] of this.#params) {
      const share = (kept.get(value) ?? []).map((indices, axis) =>
        indices ? indices.length / (value.tensor?.dims[axis] ?? 1) : 1,
      );
      params += Math.round(share.reduce((product, part) => product * part, count));
    }
    return { macs: modelCost(model, types).macs ?? 0, params };
  }
}
