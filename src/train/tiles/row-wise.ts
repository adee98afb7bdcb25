/** @file Operators that work row by row: a row of their outputs depends on the same row of some inputs, and on others as a whole. */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { elementwise } from "../../ops/shapes/elementwise.ts";
import { own } from "../../util/own.ts";

/** A node that can be computed for some rows at a time. Rows are indices along the first axis. */
export interface RowWise {
  readonly rows: number;
  /** Positions of the inputs that are cut into rows; the others are the same for all. */
  readonly sliced: readonly number[];
  /** The output has no rows: this operator makes it of what the groups of rows give, along a new first axis or the one kept. */
  readonly total?: { readonly opType: string; readonly keepsAxis: boolean };
}

/** What is known of a graph's values. */
export interface Sizes {
  /** Undefined where one is not known. */
  readonly dims: (value: Value | undefined) => readonly number[] | undefined;
  /** The elements of a small constant. */
  readonly known: (value: Value | undefined) => readonly number[] | undefined;
}

type Rule = (node: Node, sizes: Sizes) => RowWise | undefined;

/** Inputs that broadcast together. */
const broadcast: Rule = (node, { dims }) => {
  const y = dims(node.outputs[0]);
  const rows = y?.[0];
  const inputs = node.inputs.map((value) => value && dims(value));
  if (!y || rows === undefined || node.inputs.some((value, i) => value && !inputs[i])) return undefined;
  const isFull = (i: number) => inputs[i]?.length === y.length && inputs[i]?.[0] === rows;
  return { rows, sliced: node.inputs.flatMap((value, i) => (value && isFull(i) ? [i] : [])) };
};

/** How totals of groups of rows make the total of all. */
const TOTALS: Readonly<Record<string, string>> = {
  ReduceSum: "ReduceSum",
  ReduceSumSquare: "ReduceSum",
  ReduceL1: "ReduceSum",
  ReduceMean: "ReduceMean",
  ReduceMax: "ReduceMax",
  ReduceMin: "ReduceMin",
};

/** The first input's axes, given by the second one, are reduced. */
const reduction: Rule = (node, { dims, known }) => {
  const [x, axes] = node.inputs;
  const shape = dims(x);
  const rows = shape?.[0];
  if (!shape || rows === undefined || node.int("noop_with_empty_axes", 0) !== 0) return undefined;
  const given = axes ? known(axes) : [];
  if (!given) return undefined;
  const over = given.length === 0 ? [0] : given.map((axis) => (axis < 0 ? axis + shape.length : axis));
  if (!over.includes(0)) return node.int("keepdims", 1) === 1 || shape.length > 1 ? { rows, sliced: [0] } : undefined;
  const opType = own(TOTALS, node.opType);
  return opType ? { rows, sliced: [0], total: { opType, keepsAxis: node.int("keepdims", 1) === 1 } } : undefined;
};

/** From `axis` on, what belongs together; the other inputs are parameters. */
const alongAxis: Rule = (node, { dims }) => {
  const shape = dims(node.inputs[0]);
  const rows = shape?.[0];
  if (!shape || rows === undefined) return undefined;
  const axis = node.int("axis", -1);
  return (axis < 0 ? axis + shape.length : axis) > 0 ? { rows, sliced: [0] } : undefined;
};

/** Terms of the sums of a product that is worth being taken apart: with more, computing it takes longer than moving what it gives. */
const SHALLOW = 256;

/** A row of A makes a row of AB. */
const product: Rule = (node, { dims }) => {
  const [a, c] = [dims(node.inputs[0]), dims(node.inputs[2])];
  const [rows = 0, depth = 0] = a ?? [];
  if (!a || node.int("transA", 0) !== 0 || depth > SHALLOW || (node.inputs[2] && !c)) return undefined;
  return { rows, sliced: c?.length === 2 && c[0] === rows ? [0, 2] : [0] };
};

/** Whether a product is one of those once its first factor is turned. */
export function isTurnedProduct(node: Node, { dims }: Sizes): boolean {
  const [depth = Number.POSITIVE_INFINITY] = dims(node.inputs[0]) ?? [];
  return node.domain === "" && node.opType === "Gemm" && node.int("transA", 0) !== 0 && depth <= SHALLOW;
}

/** Shaped like the elementwise ones, but an element depends on others. */
const NOT_ELEMENTWISE = new Set(["CumSum", "Trilu", "Dropout", "StringConcat"]);

const rules: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ...Object.keys(elementwise).flatMap((name) => (NOT_ELEMENTWISE.has(name) ? [] : [[name, broadcast] as const])),
  ...[...Object.keys(TOTALS), "ReduceL2", "ReduceLogSumExp", "ReduceProd"].map((name) => [name, reduction] as const),
  ...["Softmax", "LogSoftmax", "LayerNormalization"].map((name) => [name, alongAxis] as const),
  ["Gemm", product],
]);

/** How a node works on rows; undefined where it doesn't, or where sizes are not known. */
export function rowWise(node: Node, sizes: Sizes): RowWise | undefined {
  if (node.domain !== "") return undefined;
  const result = rules.get(node.opType)?.(node, sizes);
  return result && result.rows > 1 && result.sliced.length > 0 ? result : undefined;
}
