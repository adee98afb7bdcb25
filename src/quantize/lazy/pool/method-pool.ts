/** @file Methods run elsewhere: the interface of a pool of workers, what goes over to one, and what comes back. */
import type { DType } from "../../../tensor/dtype.ts";
import type { ScaleParams } from "../../grid/scales.ts";
import type { WeightAxes } from "../../grid/slices.ts";
import type { MethodName } from "../../grid/spec.ts";
import type { LayerStats } from "../../methods/method.ts";
import type { WeightJob } from "../weight-job.ts";

/** How codes lie in the file: as a tensor of the spec's type, or in the blocks of MatMulNBits. */
export type CodeStorage = { readonly as: "tensor" } | { readonly as: "blocks"; readonly size: number };

/** One weight and all that its method has to know, as plain data that can be posted to a worker. */
export interface MethodJob {
  readonly job: Omit<WeightJob, "weight">;
  readonly weight: { readonly dtype: DType; readonly dims: readonly number[]; readonly bytes: Uint8Array };
  readonly method: MethodName;
  readonly options: unknown;
  /** Of each of the weight's matrices. */
  readonly stats: readonly LayerStats[];
  readonly axes: WeightAxes;
  /** Groups of a convolution. */
  readonly groups: number;
  readonly storage: CodeStorage;
}

/** A weight that was quantized. */
export interface ComputedWeight {
  /** As they are stored. */
  readonly codes: Uint8Array;
  readonly params: ScaleParams;
  /** In dB; undefined where it was not measured. */
  readonly sqnr: number | undefined;
}

/** Workers that carry out jobs, several at a time. */
export interface MethodPool {
  /** Jobs that run at the same time, at least 1. */
  readonly workers: number;
  /**
   * Runs a job when its turn comes. The job's arrays are handed over, not copied: they are gone here.
   * @throws what the method throws; aborted, which may end other jobs of the pool too; runtime-failed when a worker dies
   */
  run(job: MethodJob, signal?: AbortSignal): Promise<ComputedWeight>;
}

/** A weight that is computed when it is first read, or before that by a pool. */
export interface PendingWeight {
  readonly name: string;
  /** About how many multiplications it takes. */
  readonly work: number;
  readonly isComputed: boolean;
  /** Reads the weight and its statistics. */
  job(): MethodJob;
  /** Takes the result, which is kept until it is read. */
  accept(result: ComputedWeight): void;
}

export interface PrecomputeOptions {
  readonly signal?: AbortSignal;
  /** Names of the weights to compute; all when absent. */
  readonly only?: ReadonlySet<string>;
  /** Called after every weight. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Computes weights in a pool, those that take longest first. One job more than there are workers is in memory at a time; of those that
 * are done only the codes are.
 * @throws as {@link MethodPool.run}; no job is begun after one has failed
 */
export async function computeInPool(
  weights: readonly PendingWeight[],
  pool: MethodPool,
  { signal, only, onProgress }: PrecomputeOptions = {},
): Promise<void> {
  const queue = weights
    .filter(({ name, isComputed }) => !isComputed && (only?.has(name) ?? true))
    .sort((a, b) => b.work - a.work);
  const total = queue.length;
  let done = 0;
  const lane = async () => {
    for (let weight = queue.shift(); weight; weight = queue.shift()) {
      try {
        weight.accept(await pool.run(weight.job(), signal));
      } catch (error) {
        queue.length = 0;
        throw error;
      }
      onProgress?.(++done, total);
    }
  };
  await Promise.all(Array.from({ length: pool.workers + 1 }, lane));
}
