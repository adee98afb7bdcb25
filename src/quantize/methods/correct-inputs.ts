/**
 * @file The weights that make up for changed inputs: W' with X W' nearest to X' W, where X' is what the layer read before the layers
 * in front of it were quantized. Since |X' W - X Q|^2 = |X (W' - Q)|^2 + constant, a method that minimises the error of W' on X
 * also corrects what came before. GPTAQ (Li et al. 2025, https://arxiv.org/abs/2504.02692) minimises the same error, a column at a time.
 *
 * Deviation: W' = W + (X^T X + damping)^-1 X^T (X' - X) W is computed at once, damped towards W so that few samples don't lead it astray.
 */

import { inverseFactor } from "../../calibrate/inverse-factor.ts";
import { kernels } from "../../kernels/index.ts";
import { hessianOf } from "./matrix.ts";
import type { LayerStats, WeightMatrix } from "./method.ts";

/** Share of the mean second moment that is added to each input's. */
const DAMPING = 0.05;

/** The matrix itself where its inputs are not known to have changed. @throws bad-data as {@link inverseFactor} */
export function correctInputs(matrix: WeightMatrix, stats: LayerStats): WeightMatrix {
  const { shift } = stats;
  if (!shift?.some((value) => value !== 0)) return matrix;
  const { memory, linalg } = kernels();
  const { k, n, data, name } = matrix;
  const hessian = hessianOf(matrix, stats, "sequential");
  return memory.scope(() => {
    const result = memory.alloc32(k * n);
    memory.scope(() => {
      // H^-1 = U^T U. U times a product needs U^T.
      const u = inverseFactor(hessian, k, { order: undefined, damping: DAMPING, subject: `gptq: weight "${name}"` });
      // What lies below the diagonal was never written.
      for (let i = 1; i < k; i++) memory.f32(u.at + i * u.stride * 4, i).fill(0);
      const turned = memory.alloc32(k * k);
      kernels().transpose32(u.at, { rows: k, n: k, stride: u.stride }, turned);
      const [w, a, b] = [memory.alloc32(k * n), memory.alloc32(k * n), memory.alloc32(k * n)];
      const by = memory.alloc32(k * k);
      memory.f32(w, k * n).set(data);
      memory.f32(by, k * k).set(shift);
      memory.f32(result, k * n).set(data);
      const multiply = (left: { at: number; stride: number }, right: number, out: number) =>
        linalg.gemmTn({ m: k, n, k, a: left, b: { at: right, stride: n }, c: { at: out, stride: n } });
      memory.f32(a, k * n).fill(0);
      memory.f32(b, k * n).fill(0);
      multiply({ at: by, stride: k }, w, a);
      multiply({ at: turned, stride: k }, a, b);
      multiply(u, b, result);
    });
    return { ...matrix, data: memory.f32(result, k * n).slice() };
  });
}
