/** @file Criteria of single weights, a row each: what they look at, and how much every weight of a matrix matters. */
import type { Emitter } from "../../autodiff/emitter.ts";
import type { Gram } from "../../calibrate/gram.ts";
import type { Value } from "../../ir/value.ts";
import { keyOf, uniform } from "../../util/rng.ts";
import type { Objective } from "../evidence/gradients/objective.ts";
import type { WeightSite } from "./sites.ts";

/** What calibration gives of one weight. */
export interface Evidence {
  readonly gram?: Gram | undefined;
  /** Mean over batches of {@link WeightCriterion.gradients}, [rows, columns]. */
  readonly gradients?: Float64Array | undefined;
}

export interface WeightCriterion {
  readonly paper: string;
  readonly summary: string;
  readonly needs: "nothing" | "second moments" | "gradients";
  /** What is summed up of every batch's gradient, and of what. */
  readonly gradients?: {
    readonly of: (asked: "auto" | "labels" | "outputs") => "auto" | Objective;
    emit(op: Emitter, g: Value): Value;
  };
  /** Weights of different layers may be ranked against each other. */
  readonly isGlobal: boolean;
  saliency(site: WeightSite, matrix: Float32Array, evidence: Evidence, seed: number): Float32Array;
}

const magnitude = (_: WeightSite, matrix: Float32Array) => matrix.map(Math.abs);
const curvatureOf = (asked: "auto" | "labels" | "outputs") => (asked === "outputs" ? "outputs" : "curvature");
const squareOf = (op: Emitter, g: Value) => op.Mul(g, g);
const times = (matrix: Float32Array, { gradients }: Evidence, join: (w: number, g: number) => number) =>
  matrix.map((w, i) => join(w, gradients?.[i] ?? 0));

export const weightCriteria = {
  l1: {
    paper: "Han et al. 2015, https://arxiv.org/abs/1506.02626",
    summary: "magnitude",
    needs: "nothing",
    isGlobal: true,
    saliency: magnitude,
  },
  l2: {
    paper: "Han et al. 2015, https://arxiv.org/abs/1506.02626",
    summary: "magnitude, as `l1`",
    needs: "nothing",
    isGlobal: true,
    saliency: magnitude,
  },
  random: {
    paper: "none: a baseline",
    summary: "chance: the baseline",
    needs: "nothing",
    isGlobal: true,
    saliency: ({ value }, matrix, _, seed) => {
      const key = keyOf(`prune ${value.name}`);
      return Float32Array.from(matrix, (_w, i) => uniform(seed, key, i));
    },
  },
  wanda: {
    paper: "Sun et al. 2023, https://arxiv.org/abs/2306.11695",
    summary: "magnitude times the norm of its input, row by row",
    needs: "second moments",
    isGlobal: false,
    saliency: ({ columns }, matrix, { gram }) => {
      const norms = Float64Array.from({ length: columns }, (_, j) => Math.sqrt(gram?.sums[j * columns + j] ?? 0));
      return matrix.map((w, i) => Math.abs(w) * (norms[i % columns] as number));
    },
  },
  sparsegpt: {
    paper: "Frantar, Alistarh 2023, https://arxiv.org/abs/2301.00774",
    summary: "least error of the layer's output; what stays makes up for what goes",
    needs: "second moments",
    isGlobal: false,
    saliency: magnitude,
  },
  // mean |g w|
  taylor: {
    paper: "Molchanov et al. 2017, https://arxiv.org/abs/1611.06440, for single weights",
    summary: "mean of |g w| over single samples",
    needs: "gradients",
    gradients: { of: (asked) => asked, emit: (op, g) => op.Abs(g) },
    isGlobal: true,
    saliency: (_, matrix, evidence) => times(matrix, evidence, (w, g) => Math.abs(w) * g),
  },
  // mean g² w²
  fisher: {
    paper: "Theis et al. 2018, https://arxiv.org/abs/1801.05787",
    summary: "mean of g² w²: the diagonal of the empirical Fisher matrix",
    needs: "gradients",
    gradients: { of: (asked) => asked, emit: squareOf },
    isGlobal: true,
    saliency: (_, matrix, evidence) => times(matrix, evidence, (w, g) => w * w * g),
  },
  // h w² / 2
  obd: {
    paper: "LeCun, Denker, Solla 1990, https://papers.nips.cc/paper/250-optimal-brain-damage",
    summary: "h w² / 2, h the diagonal of the Gauss-Newton matrix",
    needs: "gradients",
    gradients: { of: curvatureOf, emit: squareOf },
    isGlobal: true,
    saliency: (_, matrix, evidence) => times(matrix, evidence, (w, h) => (w * w * h) / 2),
  },
} as const satisfies Record<string, WeightCriterion>;

export type WeightCriterionName = keyof typeof weightCriteria;

export function weightCriterion(name: string): WeightCriterion | undefined {
  return Object.hasOwn(weightCriteria, name) ? weightCriteria[name as WeightCriterionName] : undefined;
}
