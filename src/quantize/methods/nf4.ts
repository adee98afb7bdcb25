/**
 * @file NormalFloat 4: sixteen levels at the quantiles of a normal distribution, scaled to the largest magnitude of each block
 * (Dettmers et al. 2023, QLoRA, https://arxiv.org/abs/2305.14314), in the layout of com.microsoft.MatMulBnb4.
 *
 * B [K, N] is read column by column (as [N, K]) and cut into blocks of consecutive weights; two codes a byte, the first in the high
 * bits. The scales are not quantized themselves (no "double quantization"): the operator takes floats.
 */
import { kernels } from "../../kernels/index.ts";
import { TersorError } from "../../util/errors.ts";

/** The sixteen levels, as bitsandbytes and ONNX Runtime have them. */
export const NF4_LEVELS = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
] as const;

export interface Nf4Weight {
  /** ceil(K * N / 2) bytes. */
  readonly packed: Uint8Array;
  /** Largest magnitude of each block, ceil(K * N / blockSize). */
  readonly absmax: Float32Array;
}

/**
 * @param data f32 [k, n] @param blockSize a power of two, at least 16
 * @throws bad-data for NaN or infinity; `name` opens the message
 */
export function quantizeNf4(name: string, data: Float32Array, k: number, n: number, blockSize = 64): Nf4Weight {
  const shared = kernels();
  const { memory } = shared;
  return memory.scope(() => {
    const total = k * n;
    const blocks = Math.ceil(total / blockSize);
    const padded = blocks * blockSize;
    const [x, turned] = [memory.alloc32(total), memory.alloc32(padded)];
    const absmax = memory.alloc32(blocks);
    const codes = memory.alloc(padded);
    memory.f32(x, total).set(data);
    memory.f32(turned, padded).fill(0, total);
    shared.transpose32(x, { rows: k, n }, turned);
    if (!shared.absMaxRuns(turned, { runLength: blockSize, count: blocks }, absmax))
      throw new TersorError(
        "bad-data",
        `weight "${name}" [${k}, ${n}]: expected finite numbers, got NaN or infinity. The model is damaged, or leave the layer out.`,
      );
    const largest = memory.f32(absmax, blocks).slice();
    const values = memory.f32(turned, padded);
    for (let block = 0; block < blocks; block++) {
      const scale = largest[block] as number;
      if (scale === 0) continue;
      for (let i = block * blockSize; i < (block + 1) * blockSize; i++) values[i] = (values[i] as number) / scale;
    }
    const bounds = memory.alloc32(15);
    const halfway = NF4_LEVELS.slice(1).map((level, i) => (level + (NF4_LEVELS[i] as number)) / 2);
    memory.f32(bounds, 15).set(halfway);
    shared.linalg.assignBounds(turned, padded, bounds, 15, codes);
    const all = memory.u8(codes, padded);
    const packed = new Uint8Array(Math.ceil(total / 2));
    for (let i = 0; i < packed.length; i++) packed[i] = ((all[2 * i] as number) << 4) | (all[2 * i + 1] as number);
    return { packed, absmax: largest };
  });
}

/** The weights that the codes stand for, f32 [k, n]. */
export function dequantizeNf4({ packed, absmax }: Nf4Weight, k: number, n: number, blockSize = 64): Float32Array {
  const out = new Float32Array(k * n);
  for (let i = 0; i < out.length; i++) {
    const code = i % 2 === 0 ? (packed[i >> 1] as number) >> 4 : (packed[i >> 1] as number) & 15;
    const value = (NF4_LEVELS[code] as number) * (absmax[Math.floor(i / blockSize)] as number);
    out[(i % k) * n + Math.floor(i / k)] = value;
  }
  return out;
}
