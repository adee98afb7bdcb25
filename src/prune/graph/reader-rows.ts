/** @file Table of layers that read channels: a row per operator says how its weight is numbered and what it sums over. */
import { patches, type Unfolding } from "../../calibrate/gram.ts";
import { arranged, transposedPatches } from "../../calibrate/unfoldings.ts";
import type { Node } from "../../ir/node.ts";
import type { Dim } from "../../ir/types.ts";
import { einsumTerms } from "../../ops/shapes/linalg.ts";
import { elementCount } from "../../tensor/tensor.ts";
import type { BiasPlace, Form } from "./reader-form.ts";

interface Inputs {
  readonly node: Node;
  readonly shapes: readonly (readonly Dim[] | undefined)[];
  isConstant(input: number): boolean;
}

type Row = (inputs: Inputs) => Form | string;

const sizes = (dims: readonly Dim[] | undefined): readonly number[] | undefined =>
  dims?.every((dim) => typeof dim === "number") ? dims : undefined;
const unknown = "the sizes of its weight are not known";

/** w [m, c / group, kernel…], x [n, c, …]. */
const conv: Row = ({ node, shapes }) => {
  const dims = sizes(shapes[1]);
  if (!dims) return unknown;
  const group = node.int("group", 1);
  const [m = 1, perGroup = 1, ...kernel] = dims;
  const places = kernel.map((_, i) => 3 + i);
  return {
    input: 0,
    weight: 1,
    layout: { dims: [group, m / group, perGroup, ...kernel], batch: [0], in: [2, ...places], out: [1] },
    reads: [{ axis: 1, axes: [0, 2] }],
    unfolding: () => patches(node),
    bias: "input",
  };
};

/** w [c, m / group, kernel…], x [n, c, …]. */
const convTranspose: Row = ({ node, shapes }) => {
  const dims = sizes(shapes[1]);
  if (!dims) return unknown;
  const group = node.int("group", 1);
  const [c = 1, perGroup = 1, ...kernel] = dims;
  const places = kernel.map((_, i) => 3 + i);
  return {
    input: 0,
    weight: 1,
    layout: { dims: [group, c / group, perGroup, ...kernel], batch: [0], in: [1, ...places], out: [2] },
    reads: [{ axis: 1, axes: [0, 1] }],
    unfolding: () => transposedPatches(node),
    bias: "input",
  };
};

/** Products of a value and a weight, axis by axis: names of the axes of both, and of those that stay. */
function contraction(
  [input, x, rank]: readonly [number, readonly string[], number],
  [weight, w, dims]: readonly [number, readonly string[], readonly number[]],
  output: ReadonlySet<string>,
  bias?: BiasPlace,
): Form | string {
  if (new Set(x).size !== x.length || new Set(w).size !== w.length) return "an axis stands twice in one operand";
  const at = (names: readonly string[], keep: (name: string) => boolean) =>
    names.flatMap((name, axis) => (keep(name) ? [axis] : []));
  const batch = at(w, (name) => x.includes(name) && output.has(name));
  const summed = at(w, (name) => x.includes(name) && !output.has(name));
  const out = at(w, (name) => !x.includes(name) && output.has(name));
  const alone = [...x.filter((name) => !w.includes(name)), ...w.filter((name) => !x.includes(name))];
  if (alone.some((name) => !output.has(name))) return "it sums over an axis that only one operand has";
  const shared = [...batch, ...summed];
  const unfold: () => Unfolding = () => {
    const place = (axis: number) => x.indexOf(w[axis] as string);
    const [groups, ks] = [batch.map(place), summed.map(place)];
    const rows = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => ![...groups, ...ks].includes(axis));
    const count = (axes: readonly number[]) => elementCount(axes.map((axis) => dims[axis] as number));
    return arranged([...groups, ...rows, ...ks], count(batch), count(summed));
  };
  return {
    input,
    weight,
    layout: { dims, batch, in: summed, out },
    reads: shared.map((axis) => ({ axis: x.indexOf(w[axis] as string), axes: [axis] })),
    unfolding: unfold,
    ...(bias && { bias }),
  };
}

/** Rows of x [m, k] and w [k, n], each transposed on request. */
const gemm: Row = ({ node, shapes, isConstant }) => {
  const turned = (attribute: string, names: readonly string[]) =>
    node.int(attribute, 0) === 0 ? names : names.toReversed();
  const [a, b] = [turned("transA", ["m", "k"]), turned("transB", ["k", "n"])];
  const weight = isConstant(1) ? 1 : 0;
  const dims = sizes(shapes[weight]);
  if (!dims) return unknown;
  const output = new Set(["m", "n"]);
  // A bias has one number for each n.
  return weight === 1
    ? contraction([0, a, 2], [1, b, dims], output, node.float("beta", 1) === 1 ? "input" : undefined)
    : contraction([1, b, 2], [0, a, dims], output);
};

/** a […, m, k] · b […, k, n], either of them the weight; what stands before is named from the end. */
const matMul: Row = ({ shapes: [a, b], isConstant }) => {
  if (!a || !b || a.length < 2 || b.length < 2) return "one of its operands is a vector";
  const lead = (rank: number) => Array.from({ length: rank - 2 }, (_, i) => `b${rank - 2 - i}`);
  const weight = isConstant(1) ? 1 : 0;
  const [x, w] = weight === 1 ? [a, b] : [b, a];
  const dims = sizes(w);
  if (!dims) return unknown;
  const [left, right] = [
    [...lead(a.length), "m", "k"],
    [...lead(b.length), "k", "n"],
  ];
  const [xNames, plain] = weight === 1 ? [left, right] : [right, left];
  // An axis of one that is repeated along the other's is no axis of its own.
  const wNames = plain.map((name, axis) => {
    const other = x[xNames.indexOf(name)];
    return axis < dims.length - 2 && xNames.includes(name) && other !== dims[axis] ? `${name}'` : name;
  });
  if (wNames.some((name, axis) => name.endsWith("'") && dims[axis] !== 1))
    return "its weights are more than one for each row that it reads";
  const output = new Set([...xNames, ...wNames].filter((name) => name !== "k"));
  const bias = weight === 1 && dims.length === 2 ? "add" : undefined;
  return contraction([1 - weight, xNames, x.length], [weight, wNames, dims], output, bias);
};

const einsum: Row = ({ node, shapes, isConstant }) => {
  const terms = einsumTerms(node.string("equation", ""), node.inputs.length);
  if (terms?.inputs.length !== 2) return "only Einsum of two operands can be solved";
  if ([...terms.inputs, terms.output].some((term) => term.includes("..."))) return "its axes are not all named";
  const weight = isConstant(1) ? 1 : 0;
  const [x, w] = [terms.inputs[1 - weight] ?? [], terms.inputs[weight] ?? []];
  const dims = sizes(shapes[weight]);
  if (!dims) return unknown;
  return contraction([1 - weight, x, x.length], [weight, w, dims], new Set(terms.output));
};

/** w [d, gates · h, i]: both directions read the same x [t, n, i]. What is summed over hidden states is not solved: they feed back. */
const recurrent: Row = ({ shapes }) => {
  const dims = sizes(shapes[1]);
  if (dims?.length !== 3) return unknown;
  return {
    input: 0,
    weight: 1,
    layout: { dims, batch: [0], in: [2], out: [1] },
    reads: [{ axis: 2, axes: [2] }],
    unfolding: () => arranged([0, 1, 2], 1, dims[2] as number),
  };
};

export const readerRows: Readonly<Record<string, Row>> = {
  Conv: conv,
  ConvTranspose: convTranspose,
  Gemm: gemm,
  MatMul: matMul,
  Einsum: einsum,
  LSTM: recurrent,
  GRU: recurrent,
  RNN: recurrent,
};
