/** @file The codes of one weight in the graph: stored once for each axis of scales, whoever reads them, and decoded for those who want floats. */

import { attr } from "../../ir/attribute.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { fromNumbers, Tensor } from "../../tensor/tensor.ts";
import { readCodes } from "../formats/dequantize.ts";
import { firstUser } from "../formats/format.ts";
import { type CodedWeight, codesKey, codeWeight, turned, type WeightForm } from "./codes.ts";
import type { Operand, PlannedLayer } from "./rule.ts";

/** Codes that several forms read. */
interface Stored {
  readonly coded: CodedWeight;
  readonly form: WeightForm;
  readonly codes: Value;
  readonly zeroPoint: Value;
  /** By dims: operators differ in how they want the same numbers. */
  readonly scales: Map<string, Value>;
  /** Exchanges the last two dims for who needs it so. */
  turn?: Node;
}

export class WrittenWeight {
  readonly #planned: PlannedLayer;
  readonly #measure: boolean;
  readonly #graph: Graph;
  readonly #stored = new Map<string, Stored>();

  constructor(planned: PlannedLayer, measure: boolean) {
    this.#planned = planned;
    this.#measure = measure;
    this.#graph = planned.layer.value.graph;
  }

  get parts(): readonly CodedWeight[] {
    return [...this.#stored.values()].map(({ coded }) => coded);
  }

  operand(form: WeightForm): Operand {
    const stored = this.#store(form);
    const { weight } = this.#planned.layer;
    const perChannel = stored.coded.scale.dims.length > 0;
    const dims = form.scaleDims?.(weight.dims, perChannel) ?? stored.coded.scale.dims;
    return {
      codes: form.turned ? this.#turned(stored) : stored.codes,
      scale: this.#scale(stored, dims),
      zeroPoint: stored.zeroPoint,
    };
  }

  #store(form: WeightForm): Stored {
    const { layer, spec } = this.#planned;
    const key = codesKey(form, layer.weight.dims.length);
    const known = this.#stored.get(key);
    if (known) return known;
    const coded = codeWeight(layer, spec, form, this.#measure);
    const { name } = layer.value;
    const stored: Stored = {
      coded,
      form,
      codes: this.#graph.addInitializer(`${name}_quantized`, coded.codes),
      zeroPoint: this.#graph.addInitializer(`${name}_zero_point`, coded.zeroPoint),
      scales: new Map(),
    };
    this.#stored.set(key, stored);
    return stored;
  }

  #scale({ coded: { scale }, scales }: Stored, dims: readonly number[]): Value {
    const key = dims.join();
    const known = scales.get(key);
    if (known) return known;
    const shaped = new Tensor(scale.dtype, dims, scale.bytes);
    const value = this.#graph.addInitializer(`${this.#planned.layer.value.name}_scale`, shaped);
    scales.set(key, value);
    return value;
  }

  /** Runtimes fold the Transpose when they load the model: the file holds the codes once. */
  #turned(stored: Stored): Value {
    const { dims } = stored.coded.codes;
    const perm = [...dims.keys()].slice(0, -2).concat(dims.length - 1, dims.length - 2);
    const { value } = this.#planned.layer;
    stored.turn ??= this.#graph.addNode(
      {
        opType: "Transpose",
        inputs: [stored.codes],
        outputs: [`${value.name}_turned`],
        attributes: { perm: attr.ints(perm) },
      },
      { before: firstUser(this.#graph, value) },
    );
    return stored.turn.output();
  }

  /** Everything that still reads the weight reads its codes, decoded. */
  readAsFloats(): void {
    const { layer, spec } = this.#planned;
    const { value } = layer;
    for (const turn of new Set(layer.sites.flatMap((site) => site.turn ?? [])))
      if (turn.output().isUnused) turn.graph.removeNodes([turn]);
    if (value.uses.size === 0) return;
    const candidates = [...this.#stored.values()].filter(({ form }) => !form.stacked);
    const stored = candidates.find(({ coded }) => coded.axis === layer.axes.channel) ?? candidates[0];
    if (!stored) return;
    const { coded, codes, zeroPoint } = stored;
    const { scale } = coded;
    readCodes(layer, {
      codes,
      scale: this.#scale(stored, scale.dims),
      zeroPoint: coded.zeroPoint.dims.length === scale.dims.length ? zeroPoint : this.#perChannel(coded),
      axis: coded.axis,
      float: layer.weight.dtype,
      zeroIsMiddle: spec.symmetric && coded.codes.dtype === "int8",
      byRow: true,
      canTurn: layer.weight.dims.length === 2,
      dims: layer.weight.dims,
    });
  }

  /** One zero point for each scale, where the integer operator takes one for all. */
  #perChannel({ zeroPoint, scale }: CodedWeight): Value {
    const [zero = 0] = zeroPoint.toNumbers();
    const all = fromNumbers(zeroPoint.dtype, scale.dims, new Array<number>(scale.size).fill(zero));
    return this.#graph.addInitializer(`${this.#planned.layer.value.name}_zero_points`, all);
  }

  /** Codes that are read turned only are stored so. */
  settle(): void {
    for (const { turn, codes, coded } of this.#stored.values()) {
      if (!turn || codes.uses.size > 1) continue;
      const result = turn.output();
      const stored = this.#graph.addInitializer(codes.name, turned(coded.codes));
      for (const { node, index } of [...result.uses]) node.setInput(index, stored);
      this.#graph.removeNodes([turn]);
      this.#graph.removeValue(codes);
      this.#graph.rename(stored, codes.name);
    }
  }
}
