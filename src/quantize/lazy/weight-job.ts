/** @file What it takes to quantize one weight. */
import type { CodeRange } from "../../kernels/index.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { ScaleParams } from "../grid/scales.ts";
import type { Slices } from "../grid/slices.ts";
import type { QuantSpec } from "../grid/spec.ts";

/** What a method is asked to quantize. */
export interface WeightJob {
  /** Name of the tensor: names it in errors and keys its random numbers. */
  readonly name: string;
  readonly weight: Tensor;
  readonly slices: Slices;
  readonly spec: QuantSpec;
  readonly seed: number;
  /** Whether to measure the weight SQNR while the codes are computed. */
  readonly measure: boolean;
  /** Scale and zero point fixed from outside: one for the whole model. */
  readonly fixed?: ScaleParams;
  /** Codes that may be used, where they are fewer than the spec's. */
  readonly range?: CodeRange;
}
