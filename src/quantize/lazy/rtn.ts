/**
 * @file Round to nearest: every weight by itself to the grid of its slice, x ≈ scale · (q − zeroPoint)
 * (Jacob et al. 2018, https://arxiv.org/abs/1712.05877). Nothing is computed until the result's bytes are read.
 */

import type { CodeRange, Kernels, Pointer, Rounding } from "../../kernels/index.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { packBits } from "../../tensor/pack.ts";
import { fromNumbers, fromTypedArray, Tensor } from "../../tensor/tensor.ts";
import { ComputedSource, MemorySource } from "../../util/bytes.ts";
import { keyOf } from "../../util/rng.ts";
import { type Piece, piecesOf } from "../grid/pieces.ts";
import { type ScaleParams, scaleParams } from "../grid/scales.ts";
import type { Slices } from "../grid/slices.ts";
import { codeRange, type QuantSpec } from "../grid/spec.ts";
import { claim, fitsResident, readFloats } from "../grid/workspace.ts";
import type { PendingWeight } from "./pool/method-pool.ts";
import type { WeightJob } from "./weight-job.ts";

/** Codes with one scale and zero point per slice, all computed when first read. */
export interface QuantizedWeight {
  readonly codes: Tensor;
  /** Of the weight's own float type, dims as DequantizeLinear wants them. */
  readonly scale: Tensor;
  /** Of the codes' type; always written: some runtimes fail on a missing one. */
  readonly zeroPoint: Tensor;
  /** Signal-to-quantization-noise ratio of the weights in dB; known once the codes were read. */
  sqnr(): number | undefined;
  /** What takes long to compute and may be computed in a pool before it is read; absent for plain rounding. */
  readonly pending?: PendingWeight;
}

export function quantizeRtn(job: WeightJob): QuantizedWeight {
  const run = new RtnRun(job);
  const { weight, spec, slices } = job;
  const codes = new Tensor(spec.dtype, weight.dims, new ComputedSource(packedLength(job), () => run.chunks()));
  return {
    codes,
    scale: lazyTensor(weight.dtype, slices.scaleDims, () =>
      fromNumbers(weight.dtype, slices.scaleDims, run.params().scales),
    ),
    zeroPoint: lazyTensor(spec.dtype, slices.scaleDims, () =>
      codeTensor(spec, slices.scaleDims, run.params().zeroPoints),
    ),
    sqnr: () => run.sqnr(),
  };
}

function packedLength({ weight, spec }: WeightJob): number {
  return Math.ceil((weight.size * dtypeInfo(spec.dtype).bits) / 8);
}

/** A small tensor made when its bytes are first asked for. */
function lazyTensor(dtype: Tensor["dtype"], dims: readonly number[], make: () => Tensor): Tensor {
  const { bits } = dtypeInfo(dtype);
  const count = dims.reduce((a, b) => a * b, 1);
  return new Tensor(
    dtype,
    dims,
    new ComputedSource(Math.ceil((count * bits) / 8), () => [make().bytes.read(0, make().byteLength)]),
  );
}

/** Integer codes as a tensor of the spec's type, packed below 8 bits. */
export function codeTensor(spec: QuantSpec, dims: readonly number[], codes: Int32Array): Tensor {
  const { bits } = dtypeInfo(spec.dtype);
  if (bits < 8) return new Tensor(spec.dtype, dims, new MemorySource(packBits(codes, spec.dtype)));
  return fromTypedArray(spec.dtype, dims, spec.dtype === "int8" ? Int8Array.from(codes) : Uint8Array.from(codes));
}

/** Where a run keeps things in kernel memory. */
interface RunMemory {
  readonly scales: Pointer;
  readonly zeroPoints: Pointer;
  readonly x: Pointer;
  readonly codes: Pointer;
  readonly packed: Pointer;
}

/** One weight on its way through the kernels. */
class RtnRun {
  readonly job: WeightJob;
  readonly range: CodeRange;
  #params: ScaleParams | undefined;
  #resident: Pointer | undefined;
  #memory: RunMemory | undefined;
  #signal = 0;
  #noise: number | undefined;

  constructor(job: WeightJob) {
    this.job = job;
    this.range = job.range ?? codeRange(job.spec);
  }

  params(): ScaleParams {
    this.#params ??= this.job.fixed ?? this.#findParams();
    return this.#params;
  }

  sqnr(): number | undefined {
    return this.#noise === undefined ? undefined : sqnrOf(this.#signal, this.#noise);
  }

  /** The codes in storage form, piece by piece. */
  *chunks(): Iterable<Uint8Array> {
    const { bits } = dtypeInfo(this.job.spec.dtype);
    const perByte = 8 / bits;
    let noise = 0;
    let signal = 0;
    let carried = new Uint8Array(0);
    this.params();
    for (const piece of piecesOf(this.job.slices)) {
      const { memory, kernels, at } = this.#quantize(piece, carried);
      if (this.job.measure) {
        const error = this.#measure(kernels, piece, at.x, at.codes);
        noise += error.noise;
        signal += error.signal;
      }
      const total = carried.length + piece.length;
      const first = at.codes - carried.length;
      if (bits === 8) yield memory.u8(first, total);
      else {
        // Codes that don't fill a byte wait in front of the next piece.
        const whole = total - (total % perByte);
        kernels.pack(first, whole, bits as 2 | 4, at.packed);
        carried = memory.u8(first + whole, total - whole).slice();
        yield memory.u8(at.packed, whole / perByte);
      }
    }
    if (this.job.measure) {
      this.#noise = noise;
      this.#signal = signal;
    }
    if (carried.length > 0) yield packBits(carried, bits === 4 ? "uint4" : "uint2");
  }

  /** Quantizes one piece to one code per byte at `at.codes`; `carried` is put right before them. */
  #quantize(piece: Piece, carried: Uint8Array) {
    const { job } = this;
    const { memory, kernels, at } = this.#setUp();
    const x = this.#resident === undefined ? at.x : this.#resident + piece.start * 4;
    if (this.#resident === undefined) readFloats(job.weight, piece.start, piece.length, x);
    const slice = sliceParams(job.slices, piece, at);
    const rounding: Rounding =
      job.spec.rounding === "stochastic"
        ? { mode: "stochastic", seed: job.seed, key: keyOf(job.name), start: piece.start }
        : job.spec.rounding;
    if (carried.length > 0) memory.u8(at.codes - carried.length, carried.length).set(carried);
    if (job.slices.form === "runs") kernels.quantizeRuns(x, runsOf(piece), slice, this.range, at.codes, rounding);
    else kernels.quantizeColumns(x, piece, slice, this.range, at.codes, rounding);
    return { memory, kernels, at: { ...at, x } };
  }

  #measure(kernels: Kernels, piece: Piece, x: Pointer, codes: Pointer): { signal: number; noise: number } {
    const { memory } = kernels;
    const at = this.#memory as RunMemory;
    const slice = sliceParams(this.job.slices, piece, at);
    const signed = dtypeInfo(this.job.spec.dtype).kind === "int";
    return memory.scope(() => {
      const y = memory.alloc32(piece.length);
      if (this.job.slices.form === "runs") kernels.dequantizeRuns(codes, signed, runsOf(piece), slice, y);
      else kernels.dequantizeColumns(codes, signed, piece, slice, y);
      return { signal: kernels.sumSquares(x, piece.length), noise: kernels.sumSquaredDifference(x, y, piece.length) };
    });
  }

  /** Makes the kernel memory this run's: scales and buffers in place. */
  #setUp() {
    const { memory, kernels, fresh } = claim(this);
    if (fresh) this.#resident = undefined;
    if (fresh || !this.#memory) {
      const { scales, zeroPoints } = this.params();
      const { slices } = this.job;
      // One entry per column even where neighbouring columns share a scale.
      const entries = slices.count * slices.fold;
      const largest = Math.max(1, ...lengths(slices));
      const at = {
        scales: memory.alloc32(entries),
        zeroPoints: memory.alloc32(entries),
        x: memory.alloc32(this.#resident === undefined ? largest : 0),
        codes: memory.alloc(largest + 64) + 64,
        packed: memory.alloc(largest),
      };
      const [scaleView, zeroView] = [memory.f32(at.scales, entries), memory.i32(at.zeroPoints, entries)];
      for (let i = 0; i < entries; i++) {
        const slice = Math.floor(i / slices.fold);
        scaleView[i] = scales[slice] as number;
        zeroView[i] = zeroPoints[slice] as number;
      }
      this.#memory = at;
    }
    return { memory, kernels, at: this.#memory };
  }

  #findParams(): ScaleParams {
    const { memory } = claim(this);
    this.#memory = undefined;
    const { weight, spec } = this.job;
    if (fitsResident(weight) || spec.scale.by !== "absmax") {
      this.#resident = memory.alloc32(weight.size);
      readFloats(weight, 0, weight.size, this.#resident);
    }
    return scaleParams(this.job, this.#resident);
  }
}

/** Signal-to-quantization-noise ratio in dB from sums of squares. */
export function sqnrOf(signal: number, noise: number): number {
  return noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(signal / noise);
}

function* lengths(slices: Slices): Iterable<number> {
  for (const piece of piecesOf(slices)) yield piece.length;
}

function runsOf(piece: Piece) {
  return { runLength: piece.n, count: piece.rows };
}

function sliceParams(slices: Slices, piece: Piece, at: { scales: Pointer; zeroPoints: Pointer }) {
  const offset = piece.slice * slices.fold * 4;
  return { scales: at.scales + offset, zeroPoints: at.zeroPoints + offset };
}
