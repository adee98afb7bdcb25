/**
 * @file Round to nearest in the layout of com.microsoft.MatMulNBits: blocks along K, one column of B after the other.
 * Nothing is computed until the result's bytes are read.
 */

import {
  type Kernels,
  type MatMulNBitsOutput,
  type MatMulNBitsSpec,
  matMulNBitsSizes,
  type Pointer,
  quantizeMatMulNBits,
  type Rounding,
} from "../../kernels/index.ts";
import { fromNumbers, Tensor } from "../../tensor/tensor.ts";
import { ComputedSource } from "../../util/bytes.ts";
import { TersorError } from "../../util/errors.ts";
import { keyOf } from "../../util/rng.ts";
import { searchRatios } from "../grid/scales.ts";
import { claim, readFloats } from "../grid/workspace.ts";
import type { PendingWeight } from "./pool/method-pool.ts";
import { sqnrOf } from "./rtn.ts";
import type { WeightJob } from "./weight-job.ts";

export interface NBitsWeight {
  /** uint8 [N, blocks, blockSize · bits / 8]. */
  readonly packed: Tensor;
  /** [N, blocks], of the weight's float type. */
  readonly scales: Tensor;
  /** uint8 [N, ceil(blocks · bits / 8)]; absent for symmetric codes, whose zero is the middle. */
  readonly zeroPoints?: Tensor;
  sqnr(): number | undefined;
  /** What takes long to compute and may be computed in a pool before it is read; absent for plain rounding. */
  readonly pending?: PendingWeight;
}

interface Small {
  readonly scales: Float32Array;
  readonly zeroPoints: Uint8Array;
}

/** Quantizes B [K, N] of `job.weight`; the last block may be short. */
export function quantizeNBits(job: WeightJob, blockSize: number): NBitsWeight {
  const { weight, spec } = job;
  const [rows = 1, n = 1] = weight.dims;
  const bits = spec.bits as 2 | 4 | 8;
  const sizes = matMulNBitsSizes({ rows, n }, { bits, blockSize });
  const owner = {};
  let small: Small | undefined;
  let sqnr: number | undefined;
  const run = (): Uint8Array => {
    const { memory, kernels } = claim(owner);
    return memory.scope(() => {
      const x = memory.alloc32(rows * n);
      readFloats(weight, 0, rows * n, x);
      const out = {
        packed: memory.alloc(sizes.packed),
        scales: memory.alloc(sizes.scales),
        zeroPoints: spec.symmetric ? undefined : memory.alloc(sizes.zeroPoints),
      };
      const rounding: Rounding =
        spec.rounding === "stochastic" ? { mode: "stochastic", seed: job.seed, key: keyOf(job.name) } : spec.rounding;
      const options: MatMulNBitsSpec = {
        bits,
        blockSize,
        params: !spec.symmetric ? "asymmetric" : bits === 8 ? "restricted" : "full",
        ratios: spec.scale.by === "mse" ? searchRatios(spec) : undefined,
        rounding,
      };
      if (!quantizeMatMulNBits(kernels, x, { rows, n }, options, out))
        throw new TersorError(
          "bad-data",
          `weight "${job.name}" [${weight.dims.join(", ")}]: expected finite numbers, got NaN or infinity. The model is damaged, or leave the layer out.`,
        );
      small ??= {
        scales: memory.f32(out.scales, n * sizes.blocks).slice(),
        zeroPoints:
          out.zeroPoints === undefined ? new Uint8Array(0) : memory.u8(out.zeroPoints, sizes.zeroPoints).slice(),
      };
      if (job.measure) sqnr = measureColumns(kernels, x, job, blockSize, out, rounding);
      return memory.u8(out.packed, sizes.packed);
    });
  };
  const smallOf = (): Small => {
    if (!small) run();
    return small as Small;
  };
  const packed = new ComputedSource(sizes.packed, () => [run()]);
  const scaleDims = [n, sizes.blocks];
  const scaleBytes = weight.dtype === "float32" ? sizes.scales : sizes.scales / 2;
  const scales = new ComputedSource(scaleBytes, () => {
    const tensor = fromNumbers(weight.dtype, scaleDims, smallOf().scales);
    return [tensor.bytes.read(0, tensor.byteLength)];
  });
  const zeroPoints = new ComputedSource(sizes.zeroPoints, () => [smallOf().zeroPoints]);
  return {
    packed: new Tensor("uint8", [n, sizes.blocks, (blockSize * bits) / 8], packed),
    scales: new Tensor(weight.dtype, scaleDims, scales),
    ...(spec.symmetric ? {} : { zeroPoints: new Tensor("uint8", [n, sizes.zeroPoints / n], zeroPoints) }),
    sqnr: () => sqnr,
  };
}

/** Weight SQNR in dB of what was just packed: the codes are computed once more, block by block, and dequantized. */
function measureColumns(
  kernels: Kernels,
  x: Pointer,
  { weight, spec }: WeightJob,
  blockSize: number,
  out: MatMulNBitsOutput,
  rounding: Rounding,
): number {
  const { memory } = kernels;
  const [rows = 1, n = 1] = weight.dims;
  const blocks = Math.ceil(rows / blockSize);
  const range = { qmin: 0, qmax: 2 ** spec.bits - 1 };
  return memory.scope(() => {
    const scales = memory.alloc32(blocks * n);
    const zeroPoints = memory.alloc32(blocks * n);
    const codes = memory.alloc(blockSize * n);
    const back = memory.alloc32(blockSize * n);
    kernels.transpose32(out.scales, { rows: n, n: blocks }, scales);
    const zeros = memory.i32(zeroPoints, blocks * n);
    if (out.zeroPoints === undefined) zeros.fill(2 ** (spec.bits - 1));
    else {
      const rowBytes = Math.ceil((blocks * spec.bits) / 8);
      const packed = memory.u8(out.zeroPoints, n * rowBytes);
      for (let i = 0; i < n * blocks; i++) {
        const bit = (i % blocks) * spec.bits;
        const byte = packed[Math.floor(i / blocks) * rowBytes + (bit >> 3)] as number;
        zeros[(i % blocks) * n + Math.floor(i / blocks)] = (byte >> (bit & 7)) & range.qmax;
      }
    }
    let signal = 0;
    let noise = 0;
    for (let block = 0; block < blocks; block++) {
      const part = { rows: Math.min(blockSize, rows - block * blockSize), n };
      const at = x + block * blockSize * n * 4;
      const params = { scales: scales + block * n * 4, zeroPoints: zeroPoints + block * n * 4 };
      const from = typeof rounding === "string" ? rounding : { ...rounding, start: block * blockSize * n };
      kernels.quantizeColumns(at, part, params, range, codes, from);
      kernels.dequantizeColumns(codes, false, part, params, back);
      signal += kernels.sumSquares(at, part.rows * n);
      noise += kernels.sumSquaredDifference(at, back, part.rows * n);
    }
    return sqnrOf(signal, noise);
  });
}
