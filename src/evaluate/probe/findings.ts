/** @file What a probe finds, and how it is asked. */
import type { Target } from "../../targets/target.ts";
import type { ExactnessResult } from "./exactness.ts";
import type { WeightCodes } from "./models.ts";
import type { Float16Result, NBitsResult } from "./precision.ts";
import type { SpeedResult } from "./speed.ts";

export interface ProbeOptions {
  /** The target whose facts stand where nothing is measured: which operators have integer kernels, limits. */
  readonly base: Target;
  /** What the new target is called. */
  readonly name: string;
  /** What the machine is, such as its processor. */
  readonly machine: string;
  /** Runtime and version, for the evidence. */
  readonly measuredWith: string;
  /** Threads within an operator. 1 when absent. */
  readonly threads?: number;
  /** Milliseconds that each comparison of speed may take, in wasm as many again to warm up. 1000 when absent. */
  readonly budgetMs?: number;
  readonly signal?: AbortSignal;
  /** After each step of a stage: how many are done, of how many. */
  readonly onStep?: (stage: string, done: number, total: number) => void;
}

/** What was measured. */
export interface ProbeFindings {
  /** Of integer layers: the first of int8, int8 within ±64 and uint8 whose sums with uint8 activations are exact everywhere. */
  readonly weights: WeightCodes;
  readonly exactness: readonly ExactnessResult[];
  readonly matMulNBits: readonly NBitsResult[];
  readonly float16: readonly Float16Result[];
  readonly speeds: readonly SpeedResult[];
}
