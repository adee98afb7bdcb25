/**
 * @file Weights in the layout of com.microsoft.MatMulNBits.
 *
 * B [K, N] (row-major, one output per column) is cut into blocks of `blockSize` along K. Codes are unsigned; code 2^(bits-1) is
 * zero unless zero points are stored. packed [N, blocks, blockSize * bits / 8] bytes, the lower k in the lower bits; scales
 * f32 [N, blocks]; zero points [N, ceil(blocks * bits / 8)] bytes, packed alike. The last block is filled up with zeros.
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
 */
import { invariant } from "../util/errors.ts";
import type { Columns } from "./chunks.ts";
import type { Kernels, RangeMode, Rounding, SliceParams } from "./kernels.ts";
import type { Pointer } from "./pointer.ts";

export interface MatMulNBitsSpec {
  readonly bits: 2 | 4 | 8;
  /** A power of two, at least 16. */
  readonly blockSize: number;
  /**
   * How scales come about: from each block's range (full: as ONNX Runtime's quantizer, max|w| maps to code 0), or given, as
   * arrays [blocks, N] for codes in [0, 2^bits - 1].
   */
  readonly params: RangeMode | Required<SliceParams>;
  /** Candidate factors of the scale search; absent: the scale is kept. */
  readonly ratios?: readonly number[] | undefined;
  /** `start` is the index of B[0, 0]; B[k, n] has index start + k * stride + n. */
  readonly rounding?: Rounding | undefined;
}

export interface MatMulNBitsOutput {
  readonly packed: Pointer;
  readonly scales: Pointer;
  /** Absent: zero points are not stored, which only symmetric codes allow. */
  readonly zeroPoints?: Pointer | undefined;
}

/** Bytes of each output for B [K, N]. */
export function matMulNBitsSizes(
  { rows, n }: Columns,
  { bits, blockSize }: Pick<MatMulNBitsSpec, "bits" | "blockSize">,
) {
  const blocks = Math.ceil(rows / blockSize);
  return {
    blocks,
    packed: (n * blocks * blockSize * bits) / 8,
    scales: n * blocks * 4,
    zeroPoints: n * Math.ceil((blocks * bits) / 8),
  };
}

/** Elements of one strip of a block that stay in the second-level cache between measuring, rounding and packing. */
const STRIP_ELEMENTS = 65536;

/**
 * Quantizes B [K, N] at `x`. Returns false if B holds a NaN or infinity where ranges are measured; the output is then
 * meaningless. Needs scratch memory of about 10 bytes per block.
 */
export function quantizeMatMulNBits(
  k: Kernels,
  x: Pointer,
  matrix: Columns,
  spec: MatMulNBitsSpec,
  out: MatMulNBitsOutput,
): boolean {
  const { bits, blockSize, params, ratios, rounding = "nearest" } = spec;
  invariant(blockSize >= 16 && Number.isInteger(Math.log2(blockSize)), `block size ${blockSize} of MatMulNBits`);
  const { rows, n } = matrix;
  const stride = matrix.stride ?? n;
  const sizes = matMulNBitsSizes(matrix, spec);
  const { blocks } = sizes;
  const range = { qmin: 0, qmax: 2 ** bits - 1 };
  const blobs = sizes.packed / n;
  const { memory } = k;

  return memory.scope(() => {
    const computed = typeof params === "string";
    const scales = computed ? memory.alloc32(blocks * n) : params.scales;
    const zeroPoints = computed ? memory.alloc32(blocks * n) : (params.zeroPoints as Pointer);
    // As many blocks at a time as fill a cache line of the output, which is far from its neighbour column's.
    const together = Math.max(1, (64 * 8) / bits / blockSize);
    const strip = Math.max(16, Math.floor(STRIP_ELEMENTS / blockSize / 16) * 16);
    const width = Math.min(strip, n);
    // Rows of scratch an odd multiple of 16 bytes apart: a power of two would map all rows of a column to a few cache sets.
    const pitch = Math.ceil(width / 32) * 32 + 16;
    const codes = memory.alloc(blockSize * together * pitch);
    const min = memory.alloc32(width);
    const max = memory.alloc32(width);
    let finite = true;

    for (let column = 0; column < n; column += strip) {
      const columns = Math.min(strip, n - column);
      for (let first = 0; first < blocks; first += together) {
        const last = Math.min(first + together, blocks);
        for (let block = first; block < last; block++) {
          const row = block * blockSize;
          const part = { rows: Math.min(blockSize, rows - row), n: columns, stride };
          const at = row * stride + column;
          const slices = {
            scales: scales + (block * n + column) * 4,
            zeroPoints: zeroPoints + (block * n + column) * 4,
          };
          if (computed) {
            finite = k.minMaxColumns(x + at * 4, part, min, max) && finite;
            k.qparams(min, max, columns, range, params, slices);
          }
          if (ratios) k.searchColumns(x + at * 4, part, slices, range, ratios);
          const target = codes + (row - first * blockSize) * pitch;
          const from = typeof rounding === "string" ? rounding : { ...rounding, start: (rounding.start ?? 0) + at };
          k.quantizeColumns(x + at * 4, part, slices, range, target, from, pitch);
          fillRows(k, target + part.rows * pitch, blockSize - part.rows, columns, pitch, slices.zeroPoints);
        }
        const whole = { rows: (last - first) * blockSize, n: columns, stride: pitch };
        k.packColumns(codes, whole, bits, out.packed + column * blobs + (first * blockSize * bits) / 8, blobs);
      }
    }
    k.transpose32(scales, { rows: blocks, n }, out.scales);
    if (out.zeroPoints !== undefined) packZeroPoints(k, zeroPoints, blocks, n, bits, out.zeroPoints);
    return finite;
  });
}

/** Rows of codes that stand for zero. */
function fillRows(k: Kernels, codes: Pointer, rows: number, n: number, pitch: number, zeroPoints: Pointer): void {
  const zeros = k.memory.i32(zeroPoints, n);
  for (let r = 0; r < rows; r++) k.memory.u8(codes + r * pitch, n).set(zeros);
}

/** i32 [blocks, N] to packed [N, ceil(blocks * bits / 8)]. */
function packZeroPoints(
  k: Kernels,
  zeroPoints: Pointer,
  blocks: number,
  n: number,
  bits: 2 | 4 | 8,
  out: Pointer,
): void {
  const codes = k.memory.alloc(blocks * n);
  k.memory.u8(codes, blocks * n).set(k.memory.i32(zeroPoints, blocks * n));
  k.packColumns(codes, { rows: blocks, n }, bits, out, Math.ceil((blocks * bits) / 8));
}
