/** @file Integer weights of a quantized model: which initializers hold them, and what their codes stand for. */
import type { Graph } from "../../../ir/graph.ts";
import type { Node } from "../../../ir/node.ts";
import type { Value } from "../../../ir/value.ts";
import { type DType, dtypeInfo } from "../../../tensor/dtype.ts";
import { packBits, unpackBits } from "../../../tensor/pack.ts";
import { elementCount, fromNumbers, fromTypedArray, type Tensor } from "../../../tensor/tensor.ts";
import { opKey } from "../../layers/sites.ts";

/** Where the codes of one weight are, and which nodes turn them into floats. Values are those of the model that was searched. */
export interface WeightSlot {
  readonly codes: Value;
  readonly scale: Value;
  readonly zeroPoint: Value | undefined;
  /** Dims of the weight that the codes stand for: of a MatMulNBits [N, K]. */
  readonly dims: readonly number[];
  /** Dims of scales and zero points: none, one per index of `axis`, or one per block along it. */
  readonly scaleDims: readonly number[];
  readonly axis: number;
  /** 0 without blocks. */
  readonly blockSize: number;
  /** What codes are while training: the smallest type of whole bytes that holds them. */
  readonly container: "int8" | "uint8";
  /** Least and largest code of the stored type. */
  readonly range: readonly [number, number];
  /** DequantizeLinear or MatMulNBits, all of them. */
  readonly nodes: readonly Node[];
  /** The codes as numbers, one per element of the weight. */
  numbers(): Float32Array;
  /** One per scale. */
  zeroPoints(): Float32Array;
  /** The initializer's tensor with other codes. */
  encode(codes: ArrayLike<number>): Tensor;
}

/** A constant bias in int32. */
export interface BiasSlot {
  readonly codes: Value;
  readonly scale: Value;
  readonly node: Node;
}

export interface Slots {
  readonly weights: readonly WeightSlot[];
  readonly biases: readonly BiasSlot[];
  /** Names of integer weights that are read in a way that training can't follow. */
  readonly left: readonly string[];
}

const codeTypes: ReadonlySet<DType> = new Set(["int8", "uint8", "int4", "uint4", "int2", "uint2"]);

/** The integer weights of a graph, those of its subgraphs left out. Constants must be initializers. */
export function findSlots(graph: Graph): Slots {
  const reads = new Map<Value, Node[]>();
  const add = (value: Value, node: Node) => reads.set(value, [...(reads.get(value) ?? []), node]);
  const biases: BiasSlot[] = [];
  for (const node of graph.nodes) {
    const [source, scale] = node.inputs;
    if (opKey(node) === "DequantizeLinear" && source && scale?.tensor?.dtype === "float32") {
      const codes = storedCodes(source);
      if (codes?.tensor?.dtype === "int32" && codes.uses.size === 1) biases.push({ codes, scale, node });
      else if (codes?.tensor && codeTypes.has(codes.tensor.dtype)) add(codes, node);
    }
    if (node.domain === "com.microsoft" && node.opType === "MatMulNBits" && node.inputs[1]?.tensor)
      add(node.inputs[1], node);
  }
  const weights = [...reads].flatMap(([codes, nodes]) => {
    const slot = nodes[0]?.opType === "MatMulNBits" ? nBitsSlot(codes, nodes) : linearSlot(codes, nodes);
    return slot ? [slot] : [];
  });
  const known = new Set(weights.flatMap(({ codes, zeroPoint }) => [codes, zeroPoint]));
  const left = graph.initializers.filter(
    (value) => !known.has(value) && value.tensor && codeTypes.has(value.tensor.dtype) && value.tensor.dims.length > 1,
  );
  return { weights, biases, left: left.map(({ name }) => name) };
}

/** The constant behind a DequantizeLinear: 4-bit codes are widened where runtimes want them so. */
function storedCodes(source: Value): Value | undefined {
  if (source.tensor) return source;
  const { producer } = source;
  return producer && opKey(producer) === "Cast" && source.uses.size === 1 ? producer.inputs[0] : undefined;
}

/** Codes in front of DequantizeLinear; none where nodes read them differently, or others read them too. */
function linearSlot(codes: Value, nodes: readonly Node[]): WeightSlot | undefined {
  const [first] = nodes;
  const tensor = codes.tensor;
  if (!first || !tensor || tensor.dims.length === 0) return undefined;
  const [, scale, zeroPoint] = first.inputs;
  const form = (node: Node) => [node.int("axis", 1), node.int("block_size", 0)].join();
  const isSame = (node: Node) => node.inputs[1] === scale && node.inputs[2] === zeroPoint && form(node) === form(first);
  if (!scale?.tensor || (zeroPoint && !zeroPoint.tensor) || !nodes.every(isSame)) return undefined;
  if (codes.uses.size !== nodes.length) return undefined;
  const { dtype, dims } = tensor;
  const axis = first.int("axis", 1);
  const { kind, range = [0, 0] } = dtypeInfo(dtype);
  return {
    codes,
    scale,
    zeroPoint,
    dims,
    scaleDims: scale.tensor.dims,
    axis: axis < 0 ? axis + dims.length : axis,
    blockSize: first.int("block_size", 0),
    container: kind === "int" ? "int8" : "uint8",
    range,
    nodes,
    numbers: () => tensor.toFloat32().slice(),
    zeroPoints: () => zeroPoint?.tensor?.toFloat32().slice() ?? new Float32Array(scale.tensor?.size ?? 1),
    encode: (numbers) =>
      dtypeInfo(dtype).bits < 8
        ? fromTypedArray(dtype, dims, packBits(numbers, dtype))
        : fromNumbers(dtype, dims, numbers),
  };
}

const packedTypes: Readonly<Record<number, DType>> = { 2: "uint2", 4: "uint4", 8: "uint8" };

/** Codes of MatMulNBits: packed rows of the transposed weight, padded to whole blocks. */
function nBitsSlot(codes: Value, nodes: readonly Node[]): WeightSlot | undefined {
  const [first] = nodes;
  const tensor = codes.tensor;
  if (!first || !tensor || codes.uses.size !== nodes.length) return undefined;
  const [, , scale, zeroPoint, order] = first.inputs;
  const bits = first.int("bits", 4);
  const dtype = packedTypes[bits];
  const isSame = (node: Node) => [2, 3, 4].every((i) => node.inputs[i] === first.inputs[i]);
  const isReadable = scale?.tensor?.dtype === "float32" && (!zeroPoint || zeroPoint.tensor?.dtype === "uint8");
  if (!dtype || order || !isReadable || !nodes.every(isSame)) return undefined;
  const [n, k, blockSize] = [first.int("N", 0), first.int("K", 0), first.int("block_size", 32)];
  const blocks = Math.ceil(k / blockSize);
  const width = blocks * blockSize;
  // What the attributes say of sizes is a claim of the file's.
  const isWhole = n > 0 && k > 0 && blockSize > 0 && tensor.size * 8 === n * width * bits;
  if (!isWhole || scale.tensor?.size !== n * blocks) return undefined;
  const unpack = (packed: Tensor, count: number) =>
    bits === 8 ? packed.toFloat32().slice() : unpackBits(packed.toTypedArray() as Uint8Array, dtype, count);
  const zerosPerRow = Math.ceil((blocks * bits) / 8) * (8 / bits);
  return {
    codes,
    scale,
    zeroPoint,
    dims: [n, k],
    scaleDims: [n, blocks],
    axis: 1,
    blockSize,
    container: "uint8",
    range: [0, 2 ** bits - 1],
    nodes,
    numbers: () => {
      const all = unpack(tensor, n * width);
      return Float32Array.from({ length: n * k }, (_, i) => all[Math.floor(i / k) * width + (i % k)] as number);
    },
    zeroPoints: () => {
      const all = zeroPoint?.tensor && unpack(zeroPoint.tensor, n * zerosPerRow);
      const at = (i: number) => Math.floor(i / blocks) * zerosPerRow + (i % blocks);
      return Float32Array.from({ length: n * blocks }, (_, i) => all?.[at(i)] ?? 2 ** (bits - 1));
    },
    encode: (numbers) => {
      const all = unpack(tensor, n * width);
      for (let i = 0; i < n * k; i++) all[Math.floor(i / k) * width + (i % k)] = numbers[i] as number;
      const bytes = bits === 8 ? Uint8Array.from(all) : packBits(all, dtype);
      return fromTypedArray("uint8", tensor.dims, bytes);
    },
  };
}

/** The index of the scale of every element. */
export function scaleIndices({ dims, scaleDims, axis, blockSize }: WeightSlot): Int32Array {
  const indices = new Int32Array(elementCount(dims));
  if (elementCount(scaleDims) === 1) return indices;
  const inner = elementCount(dims.slice(axis + 1));
  const length = dims[axis] ?? 1;
  const blocks = blockSize > 0 ? (scaleDims[axis] ?? 1) : length;
  for (let i = 0; i < indices.length; i++) {
    const at = Math.floor(i / inner) % length;
    if (blockSize === 0) indices[i] = at;
    else indices[i] = (Math.floor(i / inner / length) * blocks + Math.floor(at / blockSize)) * inner + (i % inner);
  }
  return indices;
}

/** Bytes with codes above this that meet another one can leave 16 bits where a processor adds products in pairs. */
const HALF = 64;

/**
 * Bounds that keep int8 weights exact where products with uint8 are added in pairs within 16 bits (x86 without VNNI), if they are so
 * now: no two weights of a slice and sign may add up to more than 128. Undefined where the codes make use of more.
 */
export function pairBounds(slot: WeightSlot, codes: Float32Array): readonly [Float32Array, Float32Array] | undefined {
  if (slot.range[0] !== -128 || !slot.zeroPoints().every((zero) => zero === 0)) return undefined;
  const slices = scaleIndices(slot);
  const count = elementCount(slot.scaleDims);
  /** Of every slice and sign: the largest magnitude, the next, and where the largest is. */
  const tops = Array.from({ length: 2 * count }, () => ({ most: 0, next: 0, at: -1 }));
  const topOf = (i: number, isNegative: boolean) => tops[2 * (slices[i] as number) + Number(isNegative)];
  codes.forEach((code, i) => {
    const top = topOf(i, code < 0);
    const size = Math.abs(code);
    if (!top) return;
    if (size > top.most) [top.next, top.most, top.at] = [top.most, size, i];
    else if (size > top.next) top.next = size;
  });
  if (!tops.every(({ most, next }) => most + next <= 2 * HALF)) return undefined;
  const bound = (i: number, isNegative: boolean) => {
    const top = topOf(i, isNegative);
    if (!top || top.most <= HALF) return HALF;
    return top.at === i ? top.most : 2 * HALF - top.most;
  };
  return [Float32Array.from(codes, (_, i) => -bound(i, true)), Float32Array.from(codes, (_, i) => bound(i, false))];
}
