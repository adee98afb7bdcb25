/** @file A cut: which atoms of an analysis go; what that leaves of every axis; taking it out of the model, or masking it. */
import { attr } from "../../ir/attribute.ts";
import type { Node } from "../../ir/node.ts";
import { type Dim, tensorType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import type { DType } from "../../tensor/dtype.ts";
import { fromNumbers, int64, type Tensor } from "../../tensor/tensor.ts";
import { largestOf } from "../../util/append.ts";
import type { Analysis, PortRow } from "./analysis.ts";
import type { NodeCut } from "./channel-rule.ts";
import { channelRule } from "./channel-rules.ts";
import { shapeOf } from "./port.ts";
import { take } from "./take.ts";

/** Atoms that go. */
export type Cut = ReadonlySet<number>;

/** By value, for each axis the indices that stay; undefined for an axis that stays whole. Values that stay whole are absent. */
export type Kept = ReadonlyMap<Value, readonly (readonly number[] | undefined)[]>;

export function keptIndices(analysis: Analysis, cut: Cut): Kept {
  const kept = new Map<Value, (readonly number[] | undefined)[]>();
  const isGone = membership(cut);
  for (const { value, axis, size, base } of analysis.ports) {
    const indices: number[] = [];
    for (let i = 0; i < size; i++) if (!isGone(analysis.atomOf(base + i))) indices.push(i);
    if (indices.length === size) continue;
    const own = kept.get(value) ?? [];
    own[axis] = indices;
    kept.set(value, own);
  }
  return kept;
}

/** By value, for each axis how many indices stay; undefined for an axis that stays whole. Values that stay whole are absent. */
export function keptCounts(analysis: Analysis, cut: Cut): ReadonlyMap<Value, readonly (number | undefined)[]> {
  const kept = new Map<Value, (number | undefined)[]>();
  const isGone = membership(cut);
  for (const { value, axis, size, base } of analysis.ports) {
    let count = 0;
    for (let i = 0; i < size; i++) if (!isGone(analysis.atomOf(base + i))) count++;
    if (count === size) continue;
    const own = kept.get(value) ?? [];
    own[axis] = count;
    kept.set(value, own);
  }
  return kept;
}

/** Whether an atom is among some, in less time than a Set takes. */
function membership(atoms: Cut): (atom: number) => boolean {
  let last = -1;
  for (const atom of atoms) last = Math.max(last, atom);
  const bytes = new Uint8Array(last + 1);
  for (const atom of atoms) bytes[atom] = 1;
  return (atom) => bytes[atom] === 1;
}

/** The dims of a value after a cut. */
export function dimsAfter(analysis: Analysis, kept: Kept, value: Value | undefined): readonly Dim[] {
  const before = (value && shapeOf(value, analysis.inference.types)) ?? [];
  const own = value && kept.get(value);
  return own ? before.map((dim, axis) => own[axis]?.length ?? dim) : before;
}

/** Takes atoms out of the model of an analysis, in place: the analysis is of no more use. */
export function applyCut(analysis: Analysis, cut: Cut): void {
  const { model } = analysis;
  const kept = keptIndices(analysis, cut);
  const isCut = (value: Value | undefined) => value !== undefined && kept.has(value);
  const dims = new Map([...kept.keys()].map((value) => [value, dimsAfter(analysis, kept, value)]));
  const nodes = model.graphs().flatMap((graph) => graph.nodes);
  // Shape comes last: what it is given to is told its new sizes by then.
  const order = [
    ...nodes.filter(({ opType }) => opType !== "Shape"),
    ...nodes.filter(({ opType }) => opType === "Shape"),
  ];
  for (const node of order)
    if (node.inputs.some(isCut) || node.outputs.some(isCut))
      channelRule(node)?.fix?.(new AppliedCut(node, analysis, kept));
  for (const [value, own] of kept) {
    const type = value.type;
    if (value.tensor) value.tensor = take(value.tensor, own);
    else if (type?.kind === "tensor" && type.shape) value.type = tensorType(type.dtype, dims.get(value) ?? type.shape);
  }
}

/** Puts a factor of zero wherever a node sums over atoms that go, in place: the model then computes what the cut one does. */
export function maskCut(analysis: Analysis, cut: Cut): void {
  const kept = keptIndices(analysis, cut);
  maskSums(analysis, ({ value, axis, size }, dtype, dims) => {
    const indices = kept.get(value)?.[axis];
    if (!indices) return undefined;
    const ones = new Set(indices);
    return fromNumbers(
      dtype,
      dims,
      Array.from({ length: size }, (_, i) => (ones.has(i) ? 1 : 0)),
    );
  });
}

/** A mask that stands before a node, and the axis whose indices it is for. */
export interface Gate {
  readonly mask: Value;
  readonly port: PortRow;
}

/**
 * Multiplies with a mask, in place, wherever a node sums over an axis.
 * @param maskOf the mask of an axis, of that dtype and with dims [size, 1, …] that broadcast along it; undefined for none
 */
export function maskSums(
  analysis: Analysis,
  maskOf: (port: PortRow, dtype: DType, dims: readonly number[]) => Tensor | undefined,
): Gate[] {
  const { types } = analysis.inference;
  // A node may sum over several axes of one value: the masks stand one behind the other.
  const before = new Map<Node, Map<Value, Value>>();
  return analysis.summed.flatMap(({ node, port }) => {
    const { value, axis } = port;
    const type = value.tensor ? value.type : types.get(value);
    if (type?.kind !== "tensor" || !type.shape) return [];
    const tensor = maskOf(
      port,
      type.dtype,
      type.shape.slice(axis).map((_, i) => (i === 0 ? port.size : 1)),
    );
    if (!tensor) return [];
    const mask = node.graph.addInitializer(`${value.name}_mask`, tensor);
    const own = before.get(node) ?? new Map<Value, Value>();
    before.set(node, own);
    const last = own.get(value) ?? value;
    const spec = { opType: "Mul", inputs: [last, mask], outputs: [`${value.name}_masked`] };
    const masked = node.graph.addNode(spec, { before: node }).output();
    own.set(value, masked);
    node.inputs.forEach((input, index) => {
      if (input === last) node.setInput(index, masked);
    });
    return [{ mask, port }];
  });
}

class AppliedCut implements NodeCut {
  readonly node: Node;
  readonly opset: number;
  readonly #analysis: Analysis;
  readonly #kept: Kept;

  constructor(node: Node, analysis: Analysis, kept: Kept) {
    this.node = node;
    this.opset = analysis.model.opsetImports.get("") ?? 1;
    this.#analysis = analysis;
    this.#kept = kept;
  }

  kept(value: Value | undefined, axis: number): readonly number[] | undefined {
    return value && this.#kept.get(value)?.[axis];
  }

  before(value: Value | undefined): readonly Dim[] {
    return (value && shapeOf(value, this.#analysis.inference.types)) ?? [];
  }

  after(value: Value | undefined): readonly Dim[] {
    return dimsAfter(this.#analysis, this.#kept, value);
  }

  integers(input: number): readonly (number | null)[] | undefined {
    const value = this.node.inputs[input];
    const contents = value && this.#analysis.inference.contents.get(value);
    return contents?.values.map((x) => (typeof x === "number" ? x : null));
  }

  patch(input: number, values: ReadonlyMap<number, number>): void {
    const value = this.node.inputs[input];
    if (!value || values.size === 0) return;
    if (value.tensor) {
      const numbers = Array.from(value.tensor.toTypedArray() as BigInt64Array | Int32Array, BigInt);
      for (const [at, number] of values) numbers[at] = BigInt(number);
      const tensor =
        value.tensor.dtype === "int64"
          ? int64(value.tensor.dims, numbers)
          : fromNumbers(value.tensor.dtype, value.tensor.dims, numbers.map(Number));
      this.node.setInput(input, this.node.graph.addInitializer(value.name, tensor));
    } else this.node.setInput(input, this.#replaced(value, values));
  }

  patchInts(attribute: string, input: number, values: ReadonlyMap<number, number>): void {
    const own = this.node.get(attribute, "ints");
    if (!own) this.patch(input, values);
    else this.node.attributes.set(attribute, attr.ints(own.map((old, at) => values.get(at) ?? old)));
  }

  patchOutput(values: ReadonlyMap<number, number>): void {
    const value = this.node.output();
    const uses = [...value.uses];
    const replaced = this.#replaced(value, values);
    for (const use of uses) use.node.setInput(use.index, replaced);
  }

  setInts(input: number, values: readonly number[]): void {
    const name = this.node.inputs[input]?.name ?? `${this.node.output().name}_ints`;
    this.node.setInput(input, this.node.graph.addInitializer(name, int64([values.length], values)));
  }

  setAttribute(name: string, values: readonly number[]): void {
    this.node.attributes.set(name, attr.ints(values));
  }

  scaleOutput(factor: number): void {
    const { graph } = this.node;
    const output = this.node.output();
    const type = this.#analysis.inference.types.get(output);
    const dtype = type?.kind === "tensor" ? type.dtype : "float32";
    const constant = graph.addInitializer(`${output.name}_share`, fromNumbers(dtype, [], [factor]));
    const spec = { opType: "Mul", inputs: [output, constant], outputs: [`${output.name}_of_all`] };
    const scaled = graph.addNode(spec, { after: this.node });
    graph.replaceUses(output, scaled.output());
    scaled.setInput(0, this.node.output());
  }

  scaleConstant(input: number, factor: number): void {
    const value = this.node.input(input);
    const { tensor } = value;
    if (!tensor) return;
    const numbers = Float64Array.from(tensor.toNumbers(), (x) => x * factor);
    const scaled = this.node.graph.addInitializer(value.name, fromNumbers(tensor.dtype, tensor.dims, numbers));
    const kept = this.#kept.get(value);
    if (kept) scaled.tensor = take(scaled.tensor as Tensor, kept);
    this.node.setInput(input, scaled);
  }

  /** A computed vector with some elements replaced. */
  #replaced(value: Value, values: ReadonlyMap<number, number>): Value {
    const { graph } = this.node;
    const { types } = this.#analysis.inference;
    const type = types.get(value);
    const size = type?.kind === "tensor" ? type.shape?.[0] : undefined;
    const count = typeof size === "number" ? size : largestOf(values.keys()) + 1;
    const at = Array.from({ length: count }, (_, i) => values.get(i));
    const dtype = type?.kind === "tensor" ? type.dtype : "int64";
    const isNew = graph.addInitializer(
      `${value.name}_is_new`,
      fromNumbers(
        "bool",
        [count],
        at.map((x) => (x === undefined ? 0 : 1)),
      ),
    );
    const news = graph.addInitializer(
      `${value.name}_new`,
      fromNumbers(
        dtype,
        [count],
        at.map((x) => x ?? 0),
      ),
    );
    const position = value.producer === this.node ? { after: this.node } : { before: this.node };
    const spec = { opType: "Where", inputs: [isNew, news, value], outputs: [`${value.name}_cut`] };
    return graph.addNode(spec, position).output();
  }
}
