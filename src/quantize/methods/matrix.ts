/** @file What methods do with weight matrices in kernel memory: scales of groups, nearest codes, values of codes. */
import { kernels, type Pointer } from "../../kernels/index.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { TersorError } from "../../util/errors.ts";
import { residentParams, type ScaleParams } from "../grid/scales.ts";
import type { Slices } from "../grid/slices.ts";
import { codeRange, type QuantSpec } from "../grid/spec.ts";
import type { LayerStats, QuantizedMatrix, WeightMatrix } from "./method.ts";

export function groupCount({ k, groupSize }: Pick<WeightMatrix, "k" | "groupSize">): number {
  return Math.ceil(k / groupSize);
}

/** The codes that a method may use. */
export function rangeOf(matrix: WeightMatrix, spec: QuantSpec) {
  return matrix.range ?? codeRange(spec);
}

/** Copies a matrix into kernel memory. */
export function place({ data }: WeightMatrix): Pointer {
  const { memory } = kernels();
  const at = memory.alloc32(data.length);
  memory.f32(at, data.length).set(data);
  return at;
}

/** Scales and zero points of all groups of a matrix [k, n] at `x`, as the spec chooses them, or those given from outside. */
export function matrixParams(matrix: WeightMatrix, spec: QuantSpec, x: Pointer): ScaleParams {
  if (matrix.fixed) return matrix.fixed;
  const { k, n, groupSize } = matrix;
  const whole = Math.floor(k / groupSize);
  const first = blockParams(matrix, spec, x, whole, groupSize);
  const rest = k - whole * groupSize;
  if (rest === 0) return first;
  const last = blockParams(matrix, spec, x + whole * groupSize * n * 4, 1, rest);
  return {
    scales: Float32Array.from([...first.scales, ...last.scales]),
    zeroPoints: Int32Array.from([...first.zeroPoints, ...last.zeroPoints]),
  };
}

/** The same for `blocks` groups of `rows` rows at `x` [blocks * rows, n]. */
export function blockParams(
  matrix: WeightMatrix,
  spec: QuantSpec,
  x: Pointer,
  blocks: number,
  rows: number,
): ScaleParams {
  const { name, k, n, fold, dtype } = matrix;
  const slices: Slices = { form: "columns", blocks, rows, n, fold, count: (blocks * n) / fold, scaleDims: [] };
  return residentParams({ name, dims: [k, n], dtype, slices, spec }, x);
}

/** Visits the groups of rows, with the scales of each spread to one per column at a place that is reused. */
export function eachGroup(
  { k, n, groupSize, fold }: WeightMatrix,
  { scales, zeroPoints }: ScaleParams,
  visit: (row: number, rows: number, params: { scales: Pointer; zeroPoints: Pointer }) => void,
): void {
  const { memory } = kernels();
  memory.scope(() => {
    const at = { scales: memory.alloc32(n), zeroPoints: memory.alloc32(n) };
    for (let row = 0, group = 0; row < k; row += groupSize, group++) {
      spread(scales, group, n, fold, memory.f32(at.scales, n));
      spread(zeroPoints, group, n, fold, memory.i32(at.zeroPoints, n));
      visit(row, Math.min(groupSize, k - row), at);
    }
  });
}

/** Values per slice of one group as values per column. */
export function spread(
  values: ArrayLike<number>,
  group: number,
  n: number,
  fold: number,
  out: { [column: number]: number },
): void {
  const first = (group * n) / fold;
  for (let j = 0; j < n; j++) out[j] = values[first + Math.floor(j / fold)] as number;
}

/** Every weight of the matrix at `x` to the nearest code. */
export function nearestCodes(matrix: WeightMatrix, spec: QuantSpec, x: Pointer, params: ScaleParams): QuantizedMatrix {
  const { memory } = kernels();
  const { k, n } = matrix;
  return memory.scope(() => {
    const codes = memory.alloc(k * n);
    const range = rangeOf(matrix, spec);
    eachGroup(matrix, params, (row, rows, at) => {
      kernels().quantizeColumns(x + row * n * 4, { rows, n }, at, range, codes + row * n);
    });
    return { codes: memory.u8(codes, k * n).slice(), ...params };
  });
}

/** The weights that codes stand for, f32 [k, n]. */
export function dequantizeMatrix(matrix: WeightMatrix, spec: QuantSpec, quantized: QuantizedMatrix): Float32Array {
  const { memory } = kernels();
  const { k, n } = matrix;
  const signed = dtypeInfo(spec.dtype).kind === "int";
  return memory.scope(() => {
    const out = memory.alloc32(k * n);
    const codes = memory.alloc(k * n);
    memory.u8(codes, k * n).set(quantized.codes);
    eachGroup(matrix, quantized, (row, rows, at) => {
      kernels().dequantizeColumns(codes + row * n, signed, { rows, n }, at, out + row * n * 4);
    });
    return memory.f32(out, k * n).slice();
  });
}

/** The Hessian of the layer's inputs. @throws bad-data when it is missing or of the wrong size */
export function hessianOf({ name, k }: WeightMatrix, { hessian }: LayerStats, method: string): Float32Array {
  if (hessian?.length === k * k) return hessian;
  const got = hessian ? `${hessian.length} numbers` : "none";
  throw new TersorError(
    "bad-data",
    `${method}: weight "${name}": wrong statistics of its input: expected X^T X [${k}, ${k}], got ${got}. Give calibration data, or use rtn.`,
  );
}
