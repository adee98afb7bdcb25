/** @file A weight quantized by a method, as the lazy tensors that the formats write. The method runs when bytes are first read. */
import { kernels, matMulNBitsSizes } from "../../kernels/index.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { packBits } from "../../tensor/pack.ts";
import { fromNumbers, Tensor } from "../../tensor/tensor.ts";
import { ComputedSource } from "../../util/bytes.ts";
import { type ScaleParams, scaleParams } from "../grid/scales.ts";
import type { WeightAxes } from "../grid/slices.ts";
import type { QuantSpec } from "../grid/spec.ts";
import { claim, readFloats } from "../grid/workspace.ts";
import { correctInputs } from "../methods/correct-inputs.ts";
import {
  type MatrixLayout,
  matrixLayout,
  matrixOf,
  statsInOrder,
  storedCodes,
  storedParams,
} from "../methods/layer-matrices.ts";
import { dequantizeMatrix } from "../methods/matrix.ts";
import type { LayerStats, QuantizedMatrix, QuantMethod } from "../methods/method.ts";
import type { NBitsWeight } from "./matmul-nbits.ts";
import type { CodeStorage, ComputedWeight, MethodJob, PendingWeight } from "./pool/method-pool.ts";
import { codeTensor, type QuantizedWeight, sqnrOf } from "./rtn.ts";
import type { WeightJob } from "./weight-job.ts";

/** A method with its options and what is known about the layer's inputs. */
export interface MethodRun<Options = unknown> {
  readonly method: QuantMethod<Options>;
  readonly options: Options;
  /**
   * Statistics of each matrix (batch entry, direction, or group of a convolution), rows in the order in which the tensor stores inputs.
   * The arrays are the caller's: they may be handed over to a worker.
   */
  stats(part: number): LayerStats;
  readonly axes: WeightAxes;
  /** Groups of a convolution. */
  readonly groups?: number;
  /** Called when the statistics are no longer needed. With it the codes are kept, not computed again when they are read again. */
  finished?(): void;
}

/** Codes with one scale and zero point per slice, for DequantizeLinear. */
export function quantizeByMethod<Options>(job: WeightJob, run: MethodRun<Options>): QuantizedWeight {
  const { weight, spec, slices } = job;
  const { bits } = dtypeInfo(spec.dtype);
  const result = new LazyWeight(job, run, { as: "tensor" });
  const small = (dtype: Tensor["dtype"], make: () => Tensor) =>
    new Tensor(
      dtype,
      slices.scaleDims,
      new ComputedSource(Math.ceil((slices.count * dtypeInfo(dtype).bits) / 8), () => [
        make().bytes.read(0, make().byteLength),
      ]),
    );
  const codes = new ComputedSource(Math.ceil((weight.size * bits) / 8), () => result.codes());
  return {
    codes: new Tensor(spec.dtype, weight.dims, codes),
    scale: small(weight.dtype, () => fromNumbers(weight.dtype, slices.scaleDims, result.params.scales)),
    zeroPoint: small(spec.dtype, () => codeTensor(spec, slices.scaleDims, result.params.zeroPoints)),
    sqnr: () => result.sqnr,
    pending: result,
  };
}

/** The layout of com.microsoft.MatMulNBits for B [K, N]; codes are unsigned whatever the spec's type. */
export function quantizeNBitsByMethod<Options>(
  job: WeightJob,
  blockSize: number,
  run: MethodRun<Options>,
): NBitsWeight {
  const { weight, spec } = job;
  const [rows = 1, n = 1] = weight.dims;
  const bits = spec.bits as 2 | 4 | 8;
  const sizes = matMulNBitsSizes({ rows, n }, { bits, blockSize });
  const unsigned: QuantSpec = { ...spec, dtype: bits === 8 ? "uint8" : bits === 4 ? "uint4" : "uint2" };
  const result = new LazyWeight({ ...job, spec: unsigned }, run, { as: "blocks", size: blockSize });
  const packed = new ComputedSource(sizes.packed, () => result.codes());
  /** [blocks, N] to [N, blocks]. */
  const turned = (values: ArrayLike<number>) =>
    Float64Array.from(
      { length: values.length },
      (_, i) => values[(i % sizes.blocks) * n + Math.floor(i / sizes.blocks)] as number,
    );
  const scaleDims = [n, sizes.blocks];
  const scales = new ComputedSource((n * sizes.blocks * dtypeInfo(weight.dtype).bits) / 8, () => {
    const tensor = fromNumbers(weight.dtype, scaleDims, turned(result.params.scales));
    return [tensor.bytes.read(0, tensor.byteLength)];
  });
  const rowBytes = sizes.zeroPoints / n;
  const zeroPoints = new ComputedSource(sizes.zeroPoints, () => {
    const values = turned(result.params.zeroPoints);
    const out = new Uint8Array(sizes.zeroPoints);
    values.forEach((value, i) => {
      const bit = (i % sizes.blocks) * bits;
      const at = Math.floor(i / sizes.blocks) * rowBytes + (bit >> 3);
      out[at] = (out[at] as number) | (value << (bit & 7));
    });
    return [out];
  });
  return {
    packed: new Tensor("uint8", [n, sizes.blocks, (blockSize * bits) / 8], packed),
    scales: new Tensor(weight.dtype, scaleDims, scales),
    ...(spec.symmetric ? {} : { zeroPoints: new Tensor("uint8", [n, rowBytes], zeroPoints) }),
    sqnr: () => result.sqnr,
    pending: result,
  };
}

function layoutOf<Options>({ name, weight, spec }: WeightJob, { axes, groups }: MethodRun<Options>): MatrixLayout {
  return matrixLayout(name, weight.dims, axes, spec.granularity, groups);
}

/** Runs the method on every matrix of the weight. @throws what the method throws */
export function computeWeight<Options>(job: WeightJob, run: MethodRun<Options>, storage: CodeStorage): ComputedWeight {
  const { memory } = claim({});
  const { name, weight, range, spec } = job;
  const layout = layoutOf(job, run);
  const fixed = job.fixed ?? (layout.sharedScales ? sharedParams(job) : undefined);
  const done: QuantizedMatrix[] = [];
  const codes = new Uint8Array(weight.size);
  const size = layout.k * layout.n;
  let signal = 0;
  let noise = 0;
  for (let part = 0; part < layout.parts; part++) {
    const own = fixed && partOf(fixed, layout, part);
    const matrix = { ...matrixOf(name, weight, layout, part, own), range };
    const stats = statsInOrder(run.stats(part), layout);
    const quantized = run.method.quantize(correctInputs(matrix, stats), spec, stats, run.options);
    codes.set(storedCodes(quantized, layout), part * size);
    done.push(quantized);
    if (!job.measure) continue;
    const values = dequantizeMatrix(matrix, spec, quantized);
    memory.scope(() => {
      const [x, y] = [memory.alloc32(size), memory.alloc32(size)];
      memory.f32(x, size).set(matrix.data);
      memory.f32(y, size).set(values);
      signal += kernels().sumSquares(x, size);
      noise += kernels().sumSquaredDifference(x, y, size);
    });
  }
  const count = done.reduce((sum, { scales }) => sum + scales.length, 0) / (layout.sharedScales ? layout.parts : 1);
  const scales = done.map((part) => part.scales);
  const zeroPoints = done.map((part) => part.zeroPoints);
  const params = {
    scales: storedParams(scales, layout, new Float32Array(count)),
    zeroPoints: storedParams(zeroPoints, layout, new Int32Array(count)),
  };
  return { codes: stored(codes, params, job, storage), params, sqnr: job.measure ? sqnrOf(signal, noise) : undefined };
}

/** Codes, one byte each in the order of the tensor, as they lie in the file. */
function stored(codes: Uint8Array, params: ScaleParams, { weight, spec }: WeightJob, storage: CodeStorage): Uint8Array {
  const { bits } = dtypeInfo(spec.dtype);
  if (storage.as === "tensor") return bits === 8 ? codes : packBits(codes, bits === 4 ? "uint4" : "uint2");
  const [rows = 1, n = 1] = weight.dims;
  const { blocks, packed } = matMulNBitsSizes({ rows, n }, { bits: bits as 2 | 4 | 8, blockSize: storage.size });
  const { memory } = kernels();
  const padded = blocks * storage.size;
  return memory.scope(() => {
    const from = memory.alloc(padded * n);
    const to = memory.alloc(packed);
    const all = memory.u8(from, padded * n);
    all.set(codes);
    // The last block is filled up with zeros.
    for (let row = rows; row < padded; row++) all.set(params.zeroPoints.subarray((blocks - 1) * n), row * n);
    kernels().packColumns(from, { rows: padded, n }, bits as 2 | 4 | 8, to, packed / n);
    return memory.u8(to, packed).slice();
  });
}

/** The scales given for the whole tensor, as those of one of its matrices [groups, n / fold]. */
function partOf(fixed: ScaleParams, layout: MatrixLayout, part: number): ScaleParams {
  const { k, n, groupSize, fold, parts, transposed, sharedScales } = layout;
  const groups = Math.ceil(k / groupSize);
  const count = (groups * n) / fold;
  if (sharedScales || (parts === 1 && groups === 1)) return fixed;
  const first = part * count;
  const [scales, zeroPoints] = [new Float32Array(count), new Int32Array(count)];
  for (let i = 0; i < count; i++) {
    const from = transposed && fold === 1 ? (i % n) * groups + Math.floor(i / n) : i;
    scales[i] = fixed.scales[first + from] as number;
    zeroPoints[i] = fixed.zeroPoints[first + from] as number;
  }
  return { scales, zeroPoints };
}

/** Scales that several matrices share, from the whole weight. */
function sharedParams(job: WeightJob): ScaleParams {
  const { memory } = claim({});
  return memory.scope(() => {
    const x = memory.alloc32(job.weight.size);
    readFloats(job.weight, 0, job.weight.size, x);
    return scaleParams(job, x);
  });
}

/** Computed when first asked for, unless a pool has done it before. Codes are forgotten once they were read, the small rest is kept. */
class LazyWeight<Options> implements PendingWeight {
  readonly name: string;
  readonly work: number;
  readonly #job: WeightJob;
  readonly #run: MethodRun<Options>;
  readonly #storage: CodeStorage;
  readonly #parts: number;
  #codes: Uint8Array | undefined;
  #rest: Omit<ComputedWeight, "codes"> | undefined;

  constructor(job: WeightJob, run: MethodRun<Options>, storage: CodeStorage) {
    const { parts, k, n } = layoutOf(job, run);
    this.name = job.name;
    // A Hessian takes part in as many products as the weights; without one, each weight is refined some hundred times.
    this.work = parts * k * n * (run.method.needs === "hessian" ? k + (k * k) / n : 500);
    this.#job = job;
    this.#run = run;
    this.#storage = storage;
    this.#parts = parts;
  }

  *codes(): Iterable<Uint8Array> {
    yield this.#computed();
    if (!this.#run.finished) this.#codes = undefined;
  }

  get params(): ScaleParams {
    if (!this.#rest) this.#computed();
    return (this.#rest as Omit<ComputedWeight, "codes">).params;
  }

  get sqnr(): number | undefined {
    return this.#rest?.sqnr;
  }

  get isComputed(): boolean {
    return this.#rest !== undefined;
  }

  job(): MethodJob {
    const { weight, fixed, ...job } = this.#job;
    const { method, options, stats, axes, groups = 1 } = this.#run;
    return {
      // What is fixed may come with values of the graph.
      job: { ...job, ...(fixed && { fixed: { scales: fixed.scales, zeroPoints: fixed.zeroPoints } }) },
      weight: {
        dtype: weight.dtype,
        dims: weight.dims,
        bytes: weight.bytes.read(0, weight.byteLength, new Uint8Array(weight.byteLength)),
      },
      method: method.name,
      options,
      stats: Array.from({ length: this.#parts }, (_, part) => neededBy(method, stats(part))),
      axes,
      groups,
      storage: this.#storage,
    };
  }

  accept({ codes, ...rest }: ComputedWeight): void {
    this.#codes = codes;
    this.#rest = rest;
    this.#run.finished?.();
  }

  #computed(): Uint8Array {
    if (!this.#codes) this.accept(computeWeight(this.#job, this.#run, this.#storage));
    return this.#codes as Uint8Array;
  }
}

/** The part of the statistics that a method will look at; what makes up for changed inputs needs all. */
function neededBy<Options>({ needs }: QuantMethod<Options>, stats: LayerStats): LayerStats {
  return needs === "nothing" && !stats.shift ? {} : stats;
}
