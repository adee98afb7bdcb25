/**
 * @file Rows quantized in blocks along the last axis, in the layout of com.microsoft.GatherBlockQuantized with uint8 data.
 *
 * x [rows, n] is cut into blocks of `blockSize` along n; the last block of a row may be shorter. Codes are unsigned: packed
 * [rows, ceil(n * bits / 8)] bytes, the lower element in the lower bits; scales f32 [rows, blocks]; zero points
 * [rows, ceil(blocks * bits / 8)] bytes, packed alike.
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.GatherBlockQuantized
 */
import { invariant } from "../util/errors.ts";
import { CHUNK } from "./chunks.ts";
import type { Kernels, RangeMode, Rounding } from "./kernels.ts";
import type { Pointer } from "./pointer.ts";

export interface GatherBlocksSpec {
  readonly bits: 2 | 4 | 8;
  readonly blockSize: number;
  readonly mode: RangeMode;
  /** Candidate factors of the scale search; absent: the scale is kept. */
  readonly ratios?: readonly number[] | undefined;
  /** `start` is the index of x[0, 0]. */
  readonly rounding?: Rounding | undefined;
}

export interface GatherBlocksOutput {
  readonly packed: Pointer;
  readonly scales: Pointer;
  readonly zeroPoints: Pointer;
}

/** Bytes of each output for x [rows, n]. */
export function gatherBlocksSizes(
  rows: number,
  n: number,
  { bits, blockSize }: Pick<GatherBlocksSpec, "bits" | "blockSize">,
) {
  const blocks = Math.ceil(n / blockSize);
  return {
    blocks,
    packed: rows * Math.ceil((n * bits) / 8),
    scales: rows * blocks * 4,
    zeroPoints: rows * Math.ceil((blocks * bits) / 8),
  };
}

/** Quantizes x [rows, n], contiguous. Returns false if there is a NaN or infinity; the output is then meaningless. */
export function quantizeGatherBlocks(
  k: Kernels,
  x: Pointer,
  rows: number,
  n: number,
  spec: GatherBlocksSpec,
  out: GatherBlocksOutput,
): boolean {
  const { bits, blockSize, mode, ratios, rounding = "nearest" } = spec;
  invariant(blockSize >= 1 && n >= 1, `blocks of ${blockSize} in rows of ${n}`);
  const { memory } = k;
  const whole = Math.floor(n / blockSize);
  const rest = n - whole * blockSize;
  const blocks = whole + (rest ? 1 : 0);
  // Blocks of equal length over several rows are one sequence of runs; a shorter last block makes every row its own.
  const batch = rest ? 1 : Math.max(1, Math.floor(CHUNK / n));
  const range = { qmin: 0, qmax: 2 ** bits - 1 };

  return memory.scope(() => {
    const slices = blocks * Math.min(batch, rows);
    const codes = memory.alloc(n * Math.min(batch, rows));
    const [min, max, zeroPoints] = [memory.alloc32(slices), memory.alloc32(slices), memory.alloc32(slices)] as const;
    const zeroCodes = memory.alloc(slices);
    let finite = true;
    for (let row = 0; row < rows; row += batch) {
      const height = Math.min(batch, rows - row);
      const params = { scales: out.scales + row * blocks * 4, zeroPoints };
      const quantize = (element: number, block: number, runLength: number, count: number) => {
        const at = row * n + element;
        const runs = { runLength, count };
        const part = { scales: params.scales + block * 4, zeroPoints: zeroPoints + block * 4 };
        finite = k.minMaxRuns(x + at * 4, runs, min, max) && finite;
        k.qparams(min, max, count, range, mode, part);
        if (ratios) k.searchRuns(x + at * 4, runs, part, range, ratios);
        const from = typeof rounding === "string" ? rounding : { ...rounding, start: (rounding.start ?? 0) + at };
        k.quantizeRuns(x + at * 4, runs, part, range, codes + element, from);
      };
      if (whole) quantize(0, 0, blockSize, whole * height);
      if (rest) quantize(whole * blockSize, whole, rest, 1);
      packRows(k, codes, height, n, bits, out.packed + row * Math.ceil((n * bits) / 8));
      memory.u8(zeroCodes, blocks * height).set(memory.i32(zeroPoints, blocks * height));
      packRows(k, zeroCodes, height, blocks, bits, out.zeroPoints + row * Math.ceil((blocks * bits) / 8));
    }
    return finite;
  });
}

/** Packs codes [rows, n] row by row, every row to whole bytes. */
function packRows(k: Kernels, codes: Pointer, rows: number, n: number, bits: 2 | 4 | 8, out: Pointer): void {
  if (bits === 8) k.memory.u8(out, rows * n).set(k.memory.u8(codes, rows * n));
  else if ((n * bits) % 8 === 0) k.pack(codes, rows * n, bits, out);
  else for (let row = 0; row < rows; row++) k.pack(codes + row * n, n, bits, out + row * Math.ceil((n * bits) / 8));
}
