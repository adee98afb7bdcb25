/**
 * @file A weight tensor as the matrices [inputs, outputs] that methods take, and back. One matrix per batch entry, direction of a
 * recurrent layer or group of a convolution; rows in an order in which the weights that share a scale are neighbours.
 */
import { kernels } from "../../kernels/index.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import type { ScaleParams } from "../grid/scales.ts";
import type { WeightAxes } from "../grid/slices.ts";
import type { Granularity } from "../grid/spec.ts";
import type { LayerStats, QuantizedMatrix, WeightMatrix } from "./method.ts";

export interface MatrixLayout {
  /** Number of matrices; each is a contiguous part of the tensor. */
  readonly parts: number;
  readonly k: number;
  readonly n: number;
  readonly groupSize: number;
  readonly fold: number;
  /** Whether the tensor stores outputs by inputs. */
  readonly transposed: boolean;
  /** Stored input of each row, where rows are not in stored order: blocked scales of a convolution run over its channels, not its kernel. */
  readonly order?: Uint32Array;
  /** Whether the matrices share their scales, which then must come from all of them. */
  readonly sharedScales: boolean;
}

/**
 * @param groups of a convolution: its `group` attribute; `axes` as sites.ts gives them
 * @throws bad-recipe when scales would reach over two groups of a convolution
 */
export function matrixLayout(
  name: string,
  dims: readonly number[],
  axes: WeightAxes,
  granularity: Granularity,
  groups = 1,
): MatrixLayout {
  const product = (from: number) => dims.slice(from).reduce((a, b) => a * b, 1);
  const first = Math.min(axes.channel, axes.group);
  const outer = dims.slice(0, first).reduce((a, b) => a * b, 1);
  const transposed = axes.channel < axes.group;
  const inner = product(first + 2);
  const lengths = [dims[first] as number, (dims[first + 1] as number) * inner] as const;
  const [n, k] = transposed ? [lengths[0] / groups, lengths[1]] : [lengths[1], lengths[0] / groups];
  const parts = outer * groups;
  const base = { parts, k, n, transposed };
  if (granularity.per === "model" || granularity.per === "tensor")
    return { ...base, groupSize: k, fold: n, sharedScales: parts > 1 };
  if (granularity.per === "channel") {
    const sharedScales = outer > 1 || (!transposed && groups > 1);
    return { ...base, groupSize: k, fold: transposed ? 1 : inner, sharedScales };
  }
  const { size } = granularity;
  if (!transposed && groups > 1 && k % size !== 0)
    throw new TersorError(
      "bad-recipe",
      `weight "${name}" [${dims.join(", ")}]: group size ${size} reaches over the ${groups} groups of the layer of ${k} inputs each. Use a size that divides ${k}, or granularity "channel".`,
    );
  const layout = { ...base, groupSize: size, fold: 1, sharedScales: false };
  return transposed && inner > 1 ? { ...layout, order: blockedOrder(k, inner, size) } : layout;
}

/** Stored inputs (channel * inner + position) by block of channels, then position, then channel. */
function blockedOrder(k: number, inner: number, size: number): Uint32Array {
  const order = new Uint32Array(k);
  let row = 0;
  for (let block = 0; block < k; block += size * inner)
    for (let position = 0; position < inner; position++)
      for (let i = 0; i < size; i++) order[row++] = block + i * inner + position;
  return order;
}

/** Matrix number `part` of a weight. */
export function matrixOf(
  name: string,
  weight: Tensor,
  layout: MatrixLayout,
  part: number,
  fixed?: ScaleParams,
): WeightMatrix {
  const { k, n, groupSize, fold } = layout;
  const stored = weight.toFloat32().subarray(part * k * n, (part + 1) * k * n);
  const data = layout.transposed ? transpose(stored, n, k) : stored;
  const rows = layout.order ? permuteRows(data, layout.order, n) : data;
  return { name, k, n, data: rows, groupSize, fold, dtype: weight.dtype, fixed };
}

function transpose(x: Float32Array, rows: number, n: number): Float32Array {
  const { memory } = kernels();
  return memory.scope(() => {
    const from = memory.alloc32(x.length);
    const to = memory.alloc32(x.length);
    memory.f32(from, x.length).set(x);
    kernels().transpose32(from, { rows, n }, to);
    return memory.f32(to, x.length).slice();
  });
}

function permuteRows(x: Float32Array, order: Uint32Array, n: number): Float32Array {
  const out = new Float32Array(x.length);
  order.forEach((from, row) => {
    out.set(x.subarray(from * n, from * n + n), row * n);
  });
  return out;
}

/** Statistics in the order of the matrix' rows, from the order in which the tensor stores inputs. */
export function statsInOrder(stats: LayerStats, { order, k }: MatrixLayout): LayerStats {
  if (!order) return stats;
  const { hessian, shift, meanAbs } = stats;
  return {
    ...(hessian && { hessian: permuteSymmetric(hessian, order, k) }),
    ...(shift && { shift: shift.map((_, i) => at(shift, order, k, i)) }),
    ...(meanAbs && { meanAbs: Float32Array.from(order, (from) => meanAbs[from] as number) }),
  };
}

/** Element i of P A P^T. */
function at(a: Float32Array, order: Uint32Array, k: number, i: number): number {
  return a[(order[Math.floor(i / k)] as number) * k + (order[i % k] as number)] as number;
}

/** Upper triangle of P H P^T from the upper triangle of H. */
function permuteSymmetric(h: Float32Array, order: Uint32Array, k: number): Float32Array {
  if (h.length !== k * k) return h;
  const out = new Float32Array(k * k);
  for (let i = 0; i < k; i++) {
    for (let j = i; j < k; j++) {
      const [a, b] = [order[i] as number, order[j] as number];
      out[i * k + j] = h[Math.min(a, b) * k + Math.max(a, b)] as number;
    }
  }
  return out;
}

/** Codes of a matrix in the order of the tensor. */
export function storedCodes({ codes }: QuantizedMatrix, { k, n, transposed, order }: MatrixLayout): Uint8Array {
  let rows = codes;
  if (order) {
    rows = new Uint8Array(codes.length);
    order.forEach((to, row) => {
      rows.set(codes.subarray(row * n, row * n + n), to * n);
    });
  }
  if (!transposed) return rows;
  const { memory } = kernels();
  return memory.scope(() => {
    const from = memory.alloc(rows.length);
    const to = memory.alloc(rows.length);
    memory.u8(from, rows.length).set(rows);
    kernels().packColumns(from, { rows: k, n }, 8, to, k);
    return memory.u8(to, rows.length).slice();
  });
}

/** Scales or zero points of all matrices as DequantizeLinear wants them; shared ones once. */
export function storedParams<T extends Float32Array | Int32Array>(all: readonly T[], layout: MatrixLayout, out: T): T {
  const { transposed, sharedScales, n, fold } = layout;
  if (sharedScales) {
    out.set(all[0] as T);
    return out;
  }
  let at = 0;
  for (const values of all) {
    const groups = values.length / (n / fold);
    if (!transposed || groups === 1 || fold !== 1) out.set(values, at);
    else
      values.forEach((value, i) => {
        out[at + (i % n) * groups + Math.floor(i / n)] = value;
      });
    at += values.length;
  }
  return out;
}
