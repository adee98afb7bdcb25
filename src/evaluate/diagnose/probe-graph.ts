/** @file A graph that gains outputs: reductions of its values, by channel, summed up over batches. */
import { channelProbe, energyProbe, probeBuilder } from "../../calibrate/probes.ts";
import { attr } from "../../ir/attribute.ts";
import type { Model } from "../../ir/model.ts";
import { type Shape, tensorType, type ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import type { Outputs } from "../../runtime/io.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { float32, fromNumbers, int64 } from "../../tensor/tensor.ts";
import type { Codes } from "./sites.ts";

/** Means, sums of squares or largest values so far, [channels]. */
export type Totals = () => Float64Array;

interface Tap {
  readonly output: string;
  readonly kind: "mean" | "absmax" | "energy";
  totals: Float64Array | undefined;
  runs: number;
}

/** How the result of a run joins those before; `share` is its part of all runs. */
const joins: Readonly<Record<Tap["kind"], (old: number, seen: number, share: number) => number>> = {
  mean: (old, seen, share) => old + (seen - old) * share,
  absmax: (old, seen) => Math.max(old, seen),
  energy: (old, seen) => old + seen,
};

/** Builds on a model of its own. */
export class ProbeGraph {
  readonly model: Model;
  readonly #taps: Tap[] = [];
  readonly #known = new Map<string, Value>();
  /** Of values that probes add: they are elementwise. */
  readonly #shapes = new Map<Value, Shape>();
  readonly #types: ReadonlyMap<Value, ValueType>;

  /** @param types of the values of `model`, which is changed */
  constructor(model: Model, types: ReadonlyMap<Value, ValueType>) {
    this.model = model;
    this.#types = types;
  }

  find(name: string): Value | undefined {
    return this.model.graph.find(name);
  }

  /** The mean of an expression by channel of `axis`, over everything; one number where `axis` is undefined. */
  mean(value: Value, axis: number | undefined): Totals {
    return this.#tap("mean", value, axis);
  }

  /** The sum of squares, by channel. */
  energy(value: Value, axis: number | undefined): Totals {
    return this.#tap("energy", value, axis);
  }

  /** The largest magnitude, by channel. */
  largest(value: Value, axis: number | undefined): Totals {
    return this.#tap("absmax", value, axis);
  }

  #tap(kind: Tap["kind"], value: Value, axis: number | undefined): Totals {
    const rank = this.#rank(value);
    const whole = axis === undefined || rank === undefined || rank < 2 || axis >= rank;
    const from = whole ? this.#flat(value) : value;
    const shape = this.#shapes.get(from);
    from.type ??= this.#types.get(from) ?? tensorType("float32", shape);
    const at = whole ? 1 : axis;
    const probe = kind === "energy" ? energyProbe(at) : channelProbe(kind, at);
    const reduced = probeBuilder(this.model.graph, from, this.model.opset)(probe);
    // A probe of a vector is the vector itself.
    const output = reduced.isInput || reduced.isOutput ? this.node("Identity", [reduced]) : reduced;
    output.type ??= tensorType("float32");
    this.model.graph.addOutput(output);
    const tap: Tap = { output: output.name, kind, totals: undefined, runs: 0 };
    this.#taps.push(tap);
    return () => tap.totals ?? new Float64Array(0);
  }

  /** Number of dims of a value; undefined where it is not known. */
  rank(name: string): number | undefined {
    const value = this.find(name);
    return value && this.#rank(value);
  }

  #rank(value: Value): number | undefined {
    return this.#shape(value)?.length;
  }

  #shape(value: Value): Shape | undefined {
    const type = this.#types.get(value) ?? value.type;
    return this.#shapes.get(value) ?? (type?.kind === "tensor" ? type.shape : undefined);
  }

  /** All elements as one channel: [elements, 1]. */
  #flat(value: Value): Value {
    const flat = this.node("Reshape", [value, this.#constant("one_column", () => int64([2], [-1, 1]))]);
    this.#shapes.set(flat, [null, 1]);
    return flat;
  }

  /** A node of one output, of the shape of its first input; built once for the same arguments. */
  node(
    opType: string,
    inputs: readonly Value[],
    attributes: Parameters<Model["graph"]["addNode"]>[0]["attributes"] = {},
  ): Value {
    const key = `${opType}(${inputs.map(({ name }) => name).join()})${JSON.stringify(Object.values(attributes), (_, x) => (typeof x === "bigint" ? String(x) : x))}`;
    const known = this.#known.get(key);
    if (known) return known;
    const [first] = inputs;
    const outputs = [`${first?.name}_${opType}_probe`];
    const output = this.model.graph.addNode({ opType, inputs, outputs, attributes }).output();
    const shape = first && this.#shape(first);
    if (shape) this.#shapes.set(output, shape);
    this.#known.set(key, output);
    return output;
  }

  #constant(key: string, tensor: () => Parameters<Model["graph"]["addInitializer"]>[1]): Value {
    const known = this.#known.get(key) ?? this.model.graph.addInitializer(`probe_${key}`, tensor());
    this.#known.set(key, known);
    return known;
  }

  number(x: number): Value {
    return this.#constant(`number_${x}`, () => float32([], [x]));
  }

  /** The value with 0 in the place of infinity; as it is before opset 10, which can't ask. */
  finite(value: Value): Value {
    if (this.model.opset < 10) return value;
    return this.node("Where", [this.node("IsInf", [value]), this.number(0), value]);
  }

  difference(a: Value, b: Value): Value {
    return this.node("Sub", [a, b]);
  }

  clip(value: Value, low: number, high: number): Value {
    if (this.model.opset >= 11) return this.node("Clip", [value, this.number(low), this.number(high)]);
    return this.node("Clip", [value], { min: attr.float(low), max: attr.float(high) });
  }

  /** The value as its codes give it back. */
  rounded(value: Value, codes: Codes | "dynamic"): Value {
    if (codes === "dynamic") return this.#dynamic(value);
    const scale = this.number(codes.scale);
    const { dtype, zeroPoint } = codes;
    const zero = this.#constant(`${dtype}_${zeroPoint}`, () => fromNumbers(dtype as "uint8", [], [zeroPoint]));
    return this.node("DequantizeLinear", [this.node("QuantizeLinear", [value, scale, zero]), scale, zero]);
  }

  #dynamic(value: Value): Value {
    const outputs = ["codes", "scale", "zero"].map((name) => `${value.name}_${name}_probe`);
    const node = this.model.graph.addNode({ opType: "DynamicQuantizeLinear", inputs: [value], outputs });
    const back = this.node("DequantizeLinear", [node.output(0), node.output(1), node.output(2)]);
    const shape = this.#shape(value);
    if (shape) this.#shapes.set(back, shape);
    return back;
  }

  /** The value after a stay in float16: what is too large becomes infinite, what is too small 0. */
  half(value: Value): Value {
    const to = (dtype: "float16" | "float32") => ({ to: attr.int(dtypeInfo(dtype).code) });
    return this.node("Cast", [this.node("Cast", [value], to("float16"))], to("float32"));
  }

  /** 1 where a condition holds, else 0. */
  asFloat(value: Value): Value {
    return this.node("Cast", [value], { to: attr.int(dtypeInfo("float32").code) });
  }

  get outputs(): string[] {
    return this.#taps.map(({ output }) => output);
  }

  /** Takes in one run. */
  add(outputs: Outputs): void {
    for (const tap of this.#taps) {
      const seen = outputs[tap.output]?.data as Float32Array;
      tap.totals ??= new Float64Array(seen.length);
      // Channels of an axis without a fixed size can't be summed up over runs.
      if (tap.totals.length !== seen.length) continue;
      const { totals } = tap;
      const share = 1 / ++tap.runs;
      for (let i = 0; i < totals.length; i++) {
        const [old, x] = [totals[i] as number, seen[i] as number];
        totals[i] = joins[tap.kind](old, x, share);
      }
    }
  }
}
