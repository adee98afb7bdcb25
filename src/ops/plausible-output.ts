/** @file Which of several outputs is the answer, where nobody names one: by type, by what the labels are like, and by what comes after. */
import type { Graph } from "../ir/graph.ts";
import type { ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { type DType, dtypeInfo } from "../tensor/dtype.ts";
import { elementCount } from "../tensor/tensor.ts";
import { append } from "../util/append.ts";

/** A label of a sample, as far as its shape goes. */
type Label = number | string | { readonly dtype: DType; readonly dims: readonly number[] };

/** Types as far as they are known. */
export type TypeOf = (value: Value) => ValueType | undefined;

export interface PlausibleOutput {
  readonly value: Value;
  /** What to tell the user; absent where there was no choice. */
  readonly note?: string;
}

/**
 * The output that labels, or a loss, are most likely about: of scores before class indices, then one whose shape suits the labels, then one
 * that no other output of scores is computed from (features are not the answer where logits follow), then the first.
 * @param label of a sample, where there are labels
 */
export function plausibleOutput(graph: Graph, typeOf: TypeOf, label?: Label): PlausibleOutput | undefined {
  const outputs = [...new Set(graph.outputs)];
  const degree = (value: Value) => scoreDegree(dtypeOf(typeOf(value)) ?? "float32");
  const scores = new Set(outputs.filter((value) => degree(value) > 0));
  const ranked = outputs.map((value, index) => {
    const isLast = ![...scores].some((other) => other !== value && dependsOn(other, value));
    return { value, order: [degree(value), suits(typeOf(value), label), Number(isLast), -index] };
  });
  ranked.sort((a, b) => compare(b.order, a.order));
  const [best] = ranked;
  if (!best) return undefined;
  const { value } = best;
  if (outputs.length === 1) return { value };
  const names = outputs.map(({ name }) => `"${name}"`).join(", ");
  return {
    value,
    note: `output "${value.name}" is taken for the answer, of ${names}: name another with the option output of metric or loss`,
  };
}

/** Whether an output holds class indices, or other integers that are no scores. */
export function holdsIndices(type: ValueType | undefined): boolean {
  const dtype = dtypeOf(type);
  return dtype !== undefined && isIndexType(dtype);
}

/** Integers of more than 8 bits, truths and texts: quantized models may have scores in 8 bits. */
export const isIndexType = (dtype: DType) => scoreDegree(dtype) === 0;

function scoreDegree(dtype: DType): number {
  const { kind, bits } = dtypeInfo(dtype);
  if (kind === "float") return 2;
  return (kind === "int" || kind === "uint") && bits <= 8 ? 1 : 0;
}

function dtypeOf(type: ValueType | undefined) {
  return type?.kind === "tensor" ? type.dtype : undefined;
}

/** 2 where one sample's output has the shape that the label asks for, 1 where that can't be told, 0 where it has another. */
function suits(type: ValueType | undefined, label: Label | undefined): number {
  const shape = type?.kind === "tensor" ? type.shape : undefined;
  if (label === undefined || !shape) return 1;
  const own = shape.slice(1);
  if (typeof label === "string") return own.length === 2 ? 2 : 0;
  const isClass = typeof label === "number" ? Number.isInteger(label) : dtypeInfo(label.dtype).kind !== "float";
  const wanted = typeof label === "number" ? 1 : elementCount(label.dims);
  const places = isClass ? own.slice(0, -1) : own;
  const classes = isClass ? (own.at(-1) ?? 1) : undefined;
  if (typeof classes === "number" && classes < 2) return 0;
  if (typeof label === "number" && typeof classes === "number" && label >= classes) return 0;
  if (!places.every((dim) => typeof dim === "number")) return 1;
  return elementCount(places as number[]) === wanted ? 2 : 0;
}

function dependsOn(value: Value, on: Value): boolean {
  const seen = new Set<Value>();
  const pending = [value];
  for (let next = pending.pop(); next; next = pending.pop()) {
    if (next === on) return true;
    if (seen.has(next)) continue;
    seen.add(next);
    const { producer } = next;
    if (!producer) continue;
    for (const input of producer.inputs) if (input) pending.push(input);
    for (const graph of producer.subgraphs()) append(pending, valuesUsed(graph));
  }
  return false;
}

function valuesUsed(graph: Graph): Value[] {
  const own = graph.nodes.flatMap((node) => [
    ...node.inputs.filter((input) => input !== undefined),
    ...node.subgraphs().flatMap(valuesUsed),
  ]);
  return [...own, ...graph.outputs];
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [i, x] of a.entries()) if (x !== b[i]) return x - (b[i] as number);
  return 0;
}
