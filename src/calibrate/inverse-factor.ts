/** @file The upper factor of a damped inverse Hessian: one Cholesky and one triangular inverse, rows and columns flipped. */
import { kernels, type Matrix } from "../kernels/index.ts";
import { TersorError } from "../util/errors.ts";

export interface FactorOptions {
  /** Row i of the result is input order[i]; as they are if absent. */
  readonly order: Uint32Array | undefined;
  /** Share of the mean diagonal that is added to the diagonal. */
  readonly damping: number;
  /** Opens messages: `gptq: weight "fc.w"`. */
  readonly subject: string;
}

/**
 * U with H^-1 = U^T U, upper [k, k], H damped and in the order given. With J flipping the order and J H J = R^T R,
 * H = (J R^T J) (J R J), so U = J R^-T J. Stays allocated for the caller's scope. Only H's upper triangle is read.
 * @throws bad-data when H is not positive definite even with a thousand times the damping
 */
export function inverseFactor(hessian: Float32Array, k: number, { order, damping, subject }: FactorOptions): Matrix {
  const { memory, linalg } = kernels();
  // An odd number of cache lines: rows of a power of two of them would all fall into the same few sets of the cache.
  const stride = (Math.ceil(k / 16) | 1) * 16;
  const z = { at: memory.alloc32(k * stride), stride };
  memory.scope(() => {
    const r = { at: memory.alloc32(k * stride), stride };
    for (let attempt = 0; ; attempt++) {
      memory.f32(z.at, k * k).set(hessian);
      linalg.mirrorUpper(k, z.at);
      flip(memory.f32(z.at, k * k), memory.f32(r.at, k * stride), k, stride, order, damping * 10 ** attempt);
      if (linalg.cholesky(k, r) < 0) break;
      if (attempt === 3)
        throw new TersorError(
          "bad-data",
          `${subject}: X^T X [${k}, ${k}] of its inputs is not positive definite, whatever the damping: expected finite second moments. Check the calibration data for NaN.`,
        );
    }
    linalg.invertTransposed(k, r, z);
  });
  // U = J Z J for the lower Z = R^-T: all elements backwards, which puts the padding in front.
  memory.f32(z.at, k * stride).reverse();
  return { at: z.at + (stride - k) * 4, stride };
}

/** out = J (H + damping * mean diagonal) J, upper triangle, J flipping the order; inputs never active get the mean diagonal. */
function flip(
  h: Float32Array,
  out: Float32Array,
  k: number,
  stride: number,
  order: Uint32Array | undefined,
  damping: number,
): void {
  let trace = 0;
  for (let i = 0; i < k; i++) trace += h[i * (k + 1)] as number;
  const mean = trace > 0 ? trace / k : 1;
  out.fill(0);
  for (let i = 0; i < k; i++) {
    const row = (order ? (order[k - 1 - i] as number) : k - 1 - i) * k;
    const to = i * stride;
    if (order) for (let j = i; j < k; j++) out[to + j] = h[row + (order[k - 1 - j] as number)] as number;
    else for (let j = i, from = row + k - 1 - i; j < k; j++, from--) out[to + j] = h[from] as number;
    const diagonal = out[to + i] as number;
    out[to + i] = (diagonal === 0 ? mean : diagonal) + damping * mean;
  }
}
