/** @file What the codes of a written file stand for, found by who reads them: every operator that decodes, by its own specification. */
import { type FileGraph, type FileNode, type FileTensor, numbersOf, type OnnxFile, sizeOf } from "./read-onnx.ts";

/** A table of numbers that is stored as codes. */
export interface Decoded {
  readonly by: string;
  readonly dims: readonly number[];
  readonly values: Float64Array;
  /** Of every element: how far one code is from the next. */
  readonly steps: Float64Array;
  /** Scales that there are. */
  readonly scales: number;
  /** Codes of the table, and all else that is stored for it. */
  readonly codes: FileTensor;
  readonly sources: ReadonlySet<FileTensor>;
  readonly bits: number;
  /** Of every element: its code less its zero point, and whether the code is the first or last that is used. */
  readonly zeroPoints: readonly number[];
}

interface Known {
  readonly tensor: FileTensor;
  readonly dims: readonly number[];
  readonly values: Float64Array;
}

class Scope {
  readonly #producers = new Map<FileGraph, Map<string, FileNode>>();

  producer(name: string, graph: FileGraph): FileNode | undefined {
    for (let at: FileGraph | undefined = graph; at; at = at.parent) {
      const own = this.#of(at).get(name);
      if (own) return own;
    }
    return undefined;
  }

  constant(name: string | undefined, graph: FileGraph): FileTensor | undefined {
    if (!name) return undefined;
    for (let at: FileGraph | undefined = graph; at; at = at.parent) {
      const own = at.constants.get(name);
      if (own) return own;
    }
    return undefined;
  }

  #of(graph: FileGraph) {
    const known = this.#producers.get(graph);
    if (known) return known;
    const made = new Map(graph.nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
    this.#producers.set(graph, made);
    return made;
  }

  /** A constant, or what is only moved of one. Lookups by ids that come at run time give the whole table. */
  known(name: string | undefined, graph: FileGraph): Known | undefined {
    const tensor = this.constant(name, graph);
    if (tensor) return { tensor, dims: tensor.dims, values: numbersOf(tensor) };
    const node = name ? this.producer(name, graph) : undefined;
    if (!node) return undefined;
    const of = () => this.known(node.inputs[0], node.graph);
    if (node.opType === "Identity" || node.opType === "Cast") return of();
    if (node.opType === "Unsqueeze") return of();
    if (node.opType === "Gather") return this.constant(node.inputs[1], node.graph) ? undefined : of();
    if (node.opType === "Reshape") {
      const inner = of();
      const shape = this.constant(node.inputs[1], node.graph);
      if (!inner || !shape) return undefined;
      const wanted = [...numbersOf(shape)];
      const rest = wanted.filter((dim) => dim >= 0).reduce((a, b) => a * b, 1);
      return { ...inner, dims: wanted.map((dim) => (dim < 0 ? inner.values.length / rest : dim)) };
    }
    if (node.opType === "Transpose") {
      const inner = of();
      if (!inner) return undefined;
      const perm = node.lists.get("perm") ?? [];
      const order = perm.length > 0 ? perm : [...inner.dims.keys()].reverse();
      return { tensor: inner.tensor, ...turned(inner.dims, inner.values, order) };
    }
    return undefined;
  }
}

export function turned(dims: readonly number[], values: Float64Array, perm: readonly number[]) {
  const strides = dims.map((_, axis) => sizeOf(dims.slice(axis + 1)));
  const out = perm.map((axis) => dims[axis] as number);
  const result = new Float64Array(values.length);
  const index = out.map(() => 0);
  for (let i = 0; i < result.length; i++) {
    let from = 0;
    for (let axis = 0; axis < out.length; axis++)
      from += (index[axis] as number) * (strides[perm[axis] as number] as number);
    result[i] = values[from] as number;
    for (let axis = out.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < (out[axis] as number)) break;
      index[axis] = 0;
    }
  }
  return { dims: out, values: result };
}

/** Where the scale of every element stands among the scales. */
type Place = (element: number) => number;

function decoded(by: string, codes: Known, scale: Known, zero: Known | undefined, place: Place, middle = 0): Decoded {
  const { values } = codes;
  const steps = new Float64Array(values.length);
  const out = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const at = place(i);
    const step = scale.values[scale.values.length === 1 ? 0 : at] as number;
    const z = zero ? (zero.values[zero.values.length === 1 ? 0 : at] as number) : middle;
    // Scales may be negative: the far end of the codes is then where the largest magnitude is.
    steps[i] = Math.abs(step);
    out[i] = ((values[i] as number) - z) * step;
  }
  return {
    by,
    dims: codes.dims,
    values: out,
    steps,
    scales: scale.values.length,
    codes: codes.tensor,
    sources: new Set([codes.tensor, scale.tensor, ...(zero ? [zero.tensor] : [])]),
    bits: codes.tensor.bits,
    zeroPoints: zero ? [...new Set(zero.values)] : [middle],
  };
}

/** Scales along an axis, or in blocks of it. */
function along(dims: readonly number[], axis: number, block: number): Place {
  const inner = sizeOf(dims.slice(axis + 1));
  const length = dims[axis] as number;
  const blocks = Math.ceil(length / block);
  return (i) => {
    const [outer, at] = [Math.floor(i / inner / length), Math.floor(i / inner) % length];
    return block === 1 ? at : (outer * blocks + Math.floor(at / block)) * inner + (i % inner);
  };
}

/** Codes of blocks, packed into bytes from the low bits on; each row starts on a byte. */
function unpacked({ tensor, values, dims }: Known, rows: number, columns: number, bits: number): Known {
  const rowBytes = values.length / rows;
  const mask = 2 ** bits - 1;
  const out = Float64Array.from({ length: rows * columns }, (_, i) => {
    const bit = (i % columns) * bits;
    return ((values[Math.floor(i / columns) * rowBytes + (bit >> 3)] as number) >> (bit & 7)) & mask;
  });
  return { tensor, values: out, dims: dims.length > 1 ? [rows, columns] : dims };
}

type Reader = (node: FileNode, scope: Scope) => (Decoded | undefined)[];

/** The scale that the sums of an integer product are brought back with: Cast(sums) · (scale of activation · scale of weight). */
function scaleOfSums(node: FileNode, scope: Scope): Known | undefined {
  const users = (name: string | undefined) => node.graph.nodes.filter(({ inputs }) => name && inputs.includes(name));
  const [cast] = users(node.outputs[0]).filter(({ opType }) => opType === "Cast");
  const [mul] = users(cast?.outputs[0]).filter(({ opType }) => opType === "Mul");
  const other = mul?.inputs.find((name) => name !== cast?.outputs[0]);
  const product = other ? scope.producer(other, node.graph) : undefined;
  if (product?.opType !== "Mul") return undefined;
  return product.inputs.map((name) => scope.known(name, node.graph)).find((each) => each);
}

/** Operand `input` of a product of integers, with scales per row of operand 0 or per column of operand 1. */
const integerProduct =
  (axisOf: (rank: number) => number): Reader =>
  (node, scope) => {
    const codes = scope.known(node.inputs[1], node.graph);
    const scale = scaleOfSums(node, scope);
    if (!codes || !scale) return [undefined];
    const zero = scope.known(node.inputs[3], node.graph);
    const place = along(codes.dims, axisOf(codes.dims.length), 1);
    return [decoded(node.opType, codes, scale, zero, place)];
  };

const nBits: Reader = (node, scope) => {
  const [codes, scale, zero] = [1, 2, 3].map((input) => scope.known(node.inputs[input], node.graph));
  const of = (name: string) => node.ints.get(name) ?? 0;
  const [k, n, bits, size] = [of("K"), of("N"), of("bits"), of("block_size")];
  if (!codes || !scale) return [undefined];
  const blocks = Math.ceil(k / size);
  const padded = unpacked({ ...codes, dims: [n, blocks * size] }, n, blocks * size, bits);
  const values = new Float64Array(n * k);
  for (let i = 0; i < values.length; i++)
    values[i] = padded.values[Math.floor(i / k) * blocks * size + (i % k)] as number;
  const zeros = zero && unpacked(zero, n, blocks, bits);
  const place: Place = (i) => Math.floor(i / k) * blocks + Math.floor((i % k) / size);
  const table = { tensor: codes.tensor, dims: [n, k], values };
  return [{ ...decoded("MatMulNBits", table, scale, zeros, place, 2 ** (bits - 1)), bits }];
};

const gatherBlocks: Reader = (node, scope) => {
  const [codes, , scale, zero] = [0, 1, 2, 3].map((input) => scope.known(node.inputs[input], node.graph));
  const [bits, size] = [node.ints.get("bits") ?? 4, node.ints.get("block_size") ?? 128];
  if (!codes || !scale) return [undefined];
  const [rows = 1] = codes.dims;
  const width = (codes.values.length / rows) * (codes.tensor.bits / bits);
  const table = unpacked({ ...codes, dims: [rows, width] }, rows, width, bits);
  const blocks = width / size;
  const zeros = zero && unpacked(zero, rows, blocks, bits);
  const place: Place = (i) => Math.floor(i / width) * blocks + Math.floor((i % width) / size);
  return [{ ...decoded("GatherBlockQuantized", table, scale, zeros, place, 2 ** (bits - 1)), bits }];
};

const dequantize: Reader = (node, scope) => {
  const [codes, scale, zero] = [0, 1, 2].map((input) => scope.known(node.inputs[input], node.graph));
  if (!codes || !scale) return [];
  const rank = codes.dims.length;
  const given = node.ints.get("axis") ?? 1;
  const axis = given < 0 ? given + rank : given;
  const place = scale.values.length === 1 ? () => 0 : along(codes.dims, axis, node.ints.get("block_size") || 1);
  return [decoded("DequantizeLinear", codes, scale, zero, place)];
};

/** Rows of codes with scales of their own: (codes − zero) · scale, looked up by the same ids. */
const rows: Reader = (node, scope) => {
  const from = (name: string | undefined) => (name ? scope.producer(name, node.graph) : undefined);
  let left = from(node.inputs[0]);
  const zeroName = left?.opType === "Sub" ? left.inputs[1] : undefined;
  if (left?.opType === "Sub") left = from(left.inputs[0]);
  const gather = left?.opType === "Cast" ? from(left.inputs[0]) : undefined;
  if (gather?.opType !== "Gather") return [];
  const [codes, scale] = [left?.outputs[0], node.inputs[1]].map((name) => scope.known(name, node.graph));
  if (!codes || !scale || codes.tensor.dtype.includes("float") || codes.tensor.bits > 8) return [];
  const axis = gather.ints.get("axis") ?? 0;
  const zero = zeroName ? scope.known(zeroName, node.graph) : undefined;
  return [decoded("Gather", codes, scale, zero, along(codes.dims, axis < 0 ? axis + codes.dims.length : axis, 1))];
};

/** Gather(table, Cast(indices)). */
const codebook: Reader = (node, scope) => {
  const table = scope.constant(node.inputs[0], node.graph);
  const cast = node.inputs[1] ? scope.producer(node.inputs[1], node.graph) : undefined;
  const indices = cast?.opType === "Cast" ? scope.constant(cast.inputs[0], node.graph) : undefined;
  if (!table || !indices || table.dims.length !== 1) return [];
  const [entries, at] = [numbersOf(table), numbersOf(indices)];
  const sorted = [...entries].sort((a, b) => a - b);
  const gaps = sorted.map((x, i) => Math.max(x - (sorted[i - 1] ?? x), (sorted[i + 1] ?? x) - x));
  const gapOf = new Map(sorted.map((x, i) => [x, gaps[i] as number]));
  const values = at.map((code) => entries[code] as number);
  return [
    {
      by: "Codebook",
      dims: indices.dims,
      values,
      steps: values.map((x) => gapOf.get(x) as number),
      scales: entries.length,
      codes: indices,
      sources: new Set([indices, table]),
      bits: indices.bits,
      zeroPoints: [0],
    },
  ];
};

/** Both weights, [directions, inputs, gates], with scales per direction or per gate row. */
const lstm: Reader = (node, scope) =>
  [1, 2].map((input, i) => {
    const [codes, scale, zero] = [input, 8 + 2 * i, 9 + 2 * i].map((at) => scope.known(node.inputs[at], node.graph));
    if (!codes || !scale) return undefined;
    const [, inner = 1, gates = 1] = codes.dims;
    const perGate = scale.dims.length === 2;
    const place: Place = (at) => Math.floor(at / inner / gates) * (perGate ? gates : 1) + (perGate ? at % gates : 0);
    return decoded("DynamicQuantizeLSTM", codes, scale, zero, place);
  });

const attention: Reader = (node, scope) => {
  const [codes, scale, zero] = [1, 4, 7].map((input) => scope.known(node.inputs[input], node.graph));
  return codes && scale ? [decoded("QAttention", codes, scale, zero, along(codes.dims, 1, 1))] : [undefined];
};

/** Every operator that reads codes of a weight: a row each. */
const readers: Readonly<Record<string, Reader>> = {
  DequantizeLinear: dequantize,
  Gather: codebook,
  Mul: rows,
  MatMulInteger: integerProduct((rank) => rank - 1),
  ConvInteger: integerProduct(() => 0),
  "com.microsoft.MatMulNBits": nBits,
  "com.microsoft.GatherBlockQuantized": gatherBlocks,
  "com.microsoft.DynamicQuantizeLSTM": lstm,
  "com.microsoft.QAttention": attention,
};

/** Everything that the file stores as codes, once for every operator that reads it. */
export function decodeAll({ graphs }: OnnxFile): Decoded[] {
  const scope = new Scope();
  return graphs.flatMap(({ nodes }) =>
    nodes.flatMap((node) => {
      const key = node.domain ? `${node.domain}.${node.opType}` : node.opType;
      return (Object.hasOwn(readers, key) ? (readers[key] as Reader)(node, scope) : []).filter(
        (each) => each !== undefined,
      );
    }),
  );
}
