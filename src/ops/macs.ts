/** @file Multiply-accumulates by operator. */
import type { Graph } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import { elementCount } from "../tensor/tensor.ts";
import { largestOf } from "../util/append.ts";
import { einsumTerms } from "./shapes/linalg.ts";

/** Where rules read shapes: dims as numbers, undefined when not known. */
export type ShapeLookup = (value: Value | undefined) => readonly number[] | undefined;

/** Undefined where a shape is not known. `inner` gives the MACs of a node in a subgraph. */
export type MacRule = (
  node: Node,
  shapeOf: ShapeLookup,
  inner: (node: Node) => number | undefined,
) => number | undefined;

/** Every output element sums over c/group · ∏kernel products: w [m, c/group, …kernel]. */
const convolution =
  (w: number): MacRule =>
  (node, shapeOf) => {
    const [y, weight] = [shapeOf(node.outputs[0]), shapeOf(node.inputs[w])];
    return y && weight && elementCount(y) * elementCount(weight.slice(1));
  };

/** Every input element goes into m/group · ∏kernel products: w [c, m/group, …kernel]. */
const transposedConvolution: MacRule = (node, shapeOf) => {
  const [x, weight] = [shapeOf(node.inputs[0]), shapeOf(node.inputs[1])];
  return x && weight && elementCount(x) * elementCount(weight.slice(1));
};

/** Every output element sums over the last dim of A, or its first but one where A is transposed. */
const product =
  (a = 0): MacRule =>
  (node, shapeOf) => {
    const [y, x] = [shapeOf(node.outputs[0]), shapeOf(node.inputs[a])];
    const k = x?.at(node.int("transA", 0) !== 0 ? -2 : -1);
    return y && k !== undefined ? elementCount(y) * k : undefined;
  };

/** A product for every combination of letters and every operand after the first. */
const einsum: MacRule = (node, shapeOf) => {
  const shapes = node.inputs.map((input) => shapeOf(input));
  const terms = einsumTerms(node.string("equation", ""), shapes.length);
  if (!terms || !shapes.every((shape) => shape !== undefined)) return undefined;
  const sizes = new Map<string, number>();
  terms.inputs.forEach((term, i) => {
    const shape = shapes[i] ?? [];
    const hidden = term.indexOf("...");
    const width = shape.length - term.length + 1;
    term.forEach((letter, at) => {
      const from = hidden >= 0 && at > hidden ? at + width - 1 : at;
      const size = letter === "..." ? elementCount(shape.slice(hidden, hidden + width)) : (shape[from] ?? 1);
      sizes.set(letter, Math.max(sizes.get(letter) ?? 1, size));
    });
  });
  return elementCount([...sizes.values()]) * Math.max(0, shapes.length - 1);
};

/** At each of t·n steps the input meets W and the state meets R. */
const recurrent: MacRule = (node, shapeOf) => {
  const [x, w, r] = [0, 1, 2].map((i) => shapeOf(node.inputs[i]));
  const [t = 0, n = 0] = x ?? [];
  return x && w && r && t * n * (elementCount(w) + elementCount(r));
};

/** q·kᵀ and its product with v: b·h·s·t·(d + dv). ai.onnx: y is [b, h, s, dv] or [b, s, h·dv]. */
const attention: MacRule = (node, shapeOf) => {
  const [q, k, y] = [shapeOf(node.inputs[0]), shapeOf(node.inputs[1]), shapeOf(node.outputs[0])];
  const past = node.inputs[4] ? shapeOf(node.inputs[4])?.[2] : 0;
  const t = k?.at(-2);
  if (!q || !y || t === undefined || past === undefined) return undefined;
  return (elementCount(q) + elementCount(y)) * (t + past);
};

/** com.microsoft: projections x·W and then attention over past and present. weights [in, q + k + v]. */
const packedAttention =
  (past: number): MacRule =>
  (node, shapeOf) => {
    const [x, w, y] = [shapeOf(node.inputs[0]), shapeOf(node.inputs[1]), shapeOf(node.outputs[0])];
    const cached = node.inputs[past] ? shapeOf(node.inputs[past])?.[3] : 0;
    const [b = 0, s = 0] = x ?? [];
    if (!x || !w || !y || cached === undefined) return undefined;
    const v = y.at(-1) ?? 0;
    const qk = node.ints("qkv_hidden_sizes")?.[0] ?? (w[1] ?? 0) / 3;
    return b * s * (elementCount(w) + (s + cached) * (qk + v));
  };

/** com.microsoft MultiHeadAttention and its kin: y [b, s, h·dv], keys of `past` and of the input, or packed with the query. */
const headAttention =
  (past: number): MacRule =>
  (node, shapeOf) => {
    const [q, y] = [shapeOf(node.inputs[0]), shapeOf(node.outputs[0])];
    const k = node.inputs[1] ? shapeOf(node.inputs[1]) : q;
    const cached = node.inputs[past] ? shapeOf(node.inputs[past])?.[2] : 0;
    if (!q || !y || !k || cached === undefined) return undefined;
    const t = k.length === 4 ? (k[2] ?? 0) : (k[1] ?? 0);
    return 2 * elementCount(y) * (t + cached);
  };

/** MatMulNBits and others with K as an attribute. */
const byK: MacRule = (node, shapeOf) => {
  const [y, k] = [shapeOf(node.outputs[0]), node.int("K")];
  return y && k !== undefined ? elementCount(y) * k : undefined;
};

function graphMacs(graph: Graph | undefined, inner: (node: Node) => number | undefined): number | undefined {
  let sum: number | undefined = 0;
  for (const node of graph?.nodes ?? []) {
    const own = inner(node);
    sum = sum === undefined || own === undefined ? undefined : sum + own;
  }
  return sum;
}

/** The dearer branch; one whose MACs are not known, such as a branch that can't run on these sizes, does not count beside one whose are. */
const conditional: MacRule = (node, _, inner) => {
  const branches = node.subgraphs().map((graph) => graphMacs(graph, inner));
  const known = branches.filter((macs) => macs !== undefined);
  return known.length > 0 ? largestOf(known) : undefined;
};

/** Rounds are those of what is scanned or stacked; a body without MACs costs none however often it runs. */
const repeated: MacRule = (node, shapeOf, inner) => {
  const body = node.get("body", "graph");
  const each = graphMacs(body, inner);
  if (each === 0 || each === undefined) return each;
  const scans = node.int("num_scan_inputs", 0);
  const scanned = scans > 0 ? shapeOf(node.inputs.at(-1))?.[node.ints("scan_input_axes")?.at(-1) ?? 0] : undefined;
  const trips = node.opType === "Loop" ? node.inputs[0]?.tensor : undefined;
  const rounds = trips?.size === 1 ? trips.toNumbers()[0] : scanned;
  return rounds === undefined ? undefined : rounds * each;
};

const unknown: MacRule = () => undefined;

export const macRules: ReadonlyMap<string, ReadonlyMap<string, MacRule>> = new Map([
  [
    "",
    new Map<string, MacRule>([
      ["Conv", convolution(1)],
      ["ConvInteger", convolution(1)],
      ["DeformConv", convolution(1)],
      ["QLinearConv", convolution(3)],
      ["ConvTranspose", transposedConvolution],
      ["MatMul", product()],
      ["MatMulInteger", product()],
      ["QLinearMatMul", product()],
      ["Gemm", product()],
      ["Einsum", einsum],
      ["LSTM", recurrent],
      ["GRU", recurrent],
      ["RNN", recurrent],
      ["Attention", attention],
      ["If", conditional],
      ["Loop", repeated],
      ["Scan", repeated],
      ["SequenceMap", repeated],
    ]),
  ],
  [
    "com.microsoft",
    new Map<string, MacRule>([
      ["FusedConv", convolution(1)],
      ["NhwcFusedConv", convolution(1)],
      ["NhwcConv", convolution(1)],
      ["QLinearConv", convolution(3)],
      ["ConvTransposeWithDynamicPads", transposedConvolution],
      ["FusedGemm", product()],
      ["QGemm", product()],
      ["GemmFastGelu", product()],
      ["GemmFloat8", product()],
      ["FusedMatMul", product()],
      ["FusedMatMulActivation", product()],
      ["TransposeMatMul", product()],
      ["MatMulInteger16", product()],
      ["MatMulIntegerToFloat", product()],
      ["DynamicQuantizeMatMul", product()],
      ["QOrderedMatMul", product()],
      ["MatMulFpQ4", product()],
      ["MatMulNBits", byK],
      ["MatMulBnb4", byK],
      ["DynamicQuantizeLSTM", recurrent],
      ["Attention", packedAttention(4)],
      ["DecoderMaskedSelfAttention", packedAttention(4)],
      ["QAttention", packedAttention(8)],
      ["MultiHeadAttention", headAttention(6)],
      ["DecoderMaskedMultiHeadAttention", headAttention(5)],
      ["GroupQueryAttention", headAttention(3)],
      ["SparseAttention", headAttention(3)],
      ["CDist", product()],
      ...["AttnLSTM", "LongformerAttention", "PagedAttention", "MoE", "QMoE", "BeamSearch", "GreedySearch"].map(
        (name): [string, MacRule] => [name, unknown],
      ),
      ...["Sampling", "WhisperBeamSearch", "SparseToDenseMatMul"].map((name): [string, MacRule] => [name, unknown]),
    ]),
  ],
]);
