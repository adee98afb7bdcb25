/** @file What a quantization method is: pure, one weight matrix in, codes with their scales and zero points out. */
import type * as z from "zod";
import type { CodeRange } from "../../kernels/index.ts";
import type { DType } from "../../tensor/dtype.ts";
import type { ScaleParams } from "../grid/scales.ts";
import type { MethodName, QuantSpec } from "../grid/spec.ts";

/**
 * Weights f32 [k, n], inputs by outputs (y = x W), row-major, whatever the operator stores: what methods do to an input runs
 * along a row, and the groups that share a scale are blocks of rows.
 */
export interface WeightMatrix {
  /** Names the weight in errors. */
  readonly name: string;
  /** Inputs. */
  readonly k: number;
  /** Outputs. */
  readonly n: number;
  readonly data: Float32Array;
  /** Consecutive rows that share scales; k for scales per channel. The last group may be shorter. */
  readonly groupSize: number;
  /** Neighbouring columns that share a scale: 1, or n for one scale. */
  readonly fold: number;
  /** Float type that the scales are stored in; they are rounded to it before they are used. */
  readonly dtype: DType;
  /** Scales and zero points given from outside, [groups, n / fold]. */
  readonly fixed?: ScaleParams | undefined;
  /** Codes that may be used, where they are fewer than the spec's. */
  readonly range?: CodeRange | undefined;
}

export interface QuantizedMatrix {
  /** [k, n], one byte each: int8 or uint8 as the spec's type is signed or not. */
  readonly codes: Uint8Array;
  /** [groups, n / fold]: w = scale * (code - zeroPoint). */
  readonly scales: Float32Array;
  readonly zeroPoints: Int32Array;
}

/** What a method may know about a layer's inputs x [samples, k]; rows of the statistics are in the order of the matrix' rows. */
export interface LayerStats {
  /** X^T X [k, k] up to a factor; only the upper triangle is read. */
  readonly hessian?: Float32Array | undefined;
  /** (X' - X)^T X [k, k] up to the same factor: X' is what the layer read before those before it were quantized. */
  readonly shift?: Float32Array | undefined;
  /** mean |x| [k]. */
  readonly meanAbs?: Float32Array | undefined;
}

/** The statistic that a method can't do without. */
export type StatsNeed = "nothing" | "hessian" | "inputMagnitude";

export interface QuantMethod<Options = unknown> {
  readonly name: MethodName;
  readonly paper: string;
  /** One line for help and documents. */
  readonly summary: string;
  readonly options: z.ZodType<Options>;
  readonly needs: StatsNeed;
  /** @throws bad-data for weights or statistics that are not finite or of the wrong length */
  quantize(matrix: WeightMatrix, spec: QuantSpec, stats: LayerStats, options: Options): QuantizedMatrix;
}
