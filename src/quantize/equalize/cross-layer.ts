/**
 * @file Cross-layer equalization: neighbouring layers share their channels' ranges evenly, so that one scale per tensor fits them all
 * (Nagel et al. 2019, https://arxiv.org/abs/1906.04721). Conv, depthwise Conv, Gemm and MatMul with nothing but ReLU, LeakyReLU, PReLU
 * or pooling between them; needs no data; the model computes the same.
 *
 * Deviation: a ReLU6 is left alone, where the authors replace it by a ReLU first: that would change what the model computes.
 */
import type { Model } from "../../ir/model.ts";
import type { Value } from "../../ir/value.ts";
import { unlistInitializers } from "../../passes/constants.ts";
import { type Layer, layerBehind, type TypeOf, usedOnce } from "../../passes/fold-batch-norm/layers.ts";
import { inferTypes } from "../../passes/infer-shapes.ts";
import { edit, type PassResult } from "../../passes/pass.ts";
import { foldInputScale } from "./fold-scale.ts";
import { inputLayers, largestPerInput } from "./input-layers.ts";

/** Rounds after which chains of layers are even enough; each pair is exact after one. */
const ROUNDS = 20;
/** Scales closer to 1 than this end the search. */
const EVEN = 1e-3;

export interface CrossLayerResult extends PassResult {
  /** Number of pairs of layers that were equalized. */
  readonly pairs: number;
}

export function equalizeCrossLayer(model: Model): CrossLayerResult {
  let pairs = 0;
  const result = edit(model, (copy) => {
    unlistInitializers(copy);
    const types = inferTypes(copy);
    const typeOf: TypeOf = (value) => value && (value.tensor ? value.type : (types.get(value) ?? value.type));
    for (let round = 0; round < ROUNDS; round++) {
      let count = 0;
      let furthest = 0;
      for (const graph of copy.graphs())
        for (const value of [...graph.values]) {
          const change = equalizePair(value, typeOf);
          if (change === undefined) continue;
          count++;
          furthest = Math.max(furthest, change);
        }
      pairs = Math.max(pairs, count);
      if (furthest < EVEN) break;
    }
    return pairs > 0;
  });
  return { ...result, pairs };
}

/** Evens out the two layers around a value; how far the scales were from 1, or undefined where there is no such pair. */
function equalizePair(value: Value, typeOf: TypeOf): number | undefined {
  const [layer] = inputLayers(value);
  if (!layer || !usedOnce(value)) return undefined;
  const before = layerAbove(value, typeOf);
  if (!before || before.layout.channels !== layer.channels || !usedOnce(before.weight) || !usedOnce(layer.weight))
    return undefined;
  const outputs = largestPerOutput(before);
  const inputs = largestPerInput(layer);
  const scale = outputs.map((r1, i) => {
    const r2 = inputs[i] as number;
    return r1 > 0 && r2 > 0 ? Math.sqrt(r1 / r2) : 1;
  });
  const change = Math.max(0, ...scale.map((s) => Math.abs(Math.log(s))));
  if (change < EVEN) return 0;
  const place = foldInputScale(value, scale, [layer], typeOf, { insertMul: false, layersOnly: true });
  return place && change;
}

/** The layer whose output channels reach a value through functions that keep scales; folding checks the way again. */
function layerAbove(value: Value, typeOf: TypeOf): Layer | undefined {
  let at: Value | undefined = value;
  while (at && usedOnce(at)) {
    const layer = layerBehind(at, typeOf);
    if (layer) return layer;
    at = at.producer?.inputs[0];
  }
  return undefined;
}

/** Largest |w| of each output channel's weights. */
function largestPerOutput({ weight, layout, channelOf }: Layer): Float64Array {
  const largest = new Float64Array(layout.channels);
  weight.tensor?.toFloat32().forEach((w, i) => {
    const channel = channelOf(i);
    largest[channel] = Math.max(largest[channel] as number, Math.abs(w));
  });
  return largest;
}
