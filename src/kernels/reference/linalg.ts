/** @file Reference of the matrix kernels. Contract: RawLinalg. */

import type { Views } from "../raw.ts";
import type { RawLinalg } from "../raw-linalg.ts";
import { clampedQuotient, divisorOf, nearestEven } from "./rounding.ts";

type Matrices = Pick<RawLinalg, "packPanels" | "gemmPanels" | "cholesky" | "solvePanel" | "gptqPanel">;

const { fround } = Math;

export function linalg(views: () => Views): Matrices {
  return {
    packPanels(x, rows, n, stride, width, out) {
      const { f32 } = views();
      let o = out >>> 2;
      for (let j = 0; j < n; j += width) {
        for (let r = 0; r < rows; r++) {
          for (let i = j; i < j + width; i++) f32[o++] = i < n ? (f32[(x >>> 2) + r * stride + i] as number) : 0;
        }
      }
    },
    gemmPanels(a, b, k, m, n, alpha, c, stride, diagonal, _tile) {
      const { f32 } = views();
      const factor = fround(alpha);
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          if ((j & ~7) + 7 < (i & ~3) + diagonal) continue;
          const left = (a >>> 2) + (i >> 2) * k * 4 + (i & 3);
          const right = (b >>> 2) + (j >> 3) * k * 8 + (j & 7);
          let sum = 0;
          for (let r = 0; r < k; r++) {
            sum = fround(sum + fround((f32[left + r * 4] as number) * (f32[right + r * 8] as number)));
          }
          const at = (c >>> 2) + i * stride + j;
          f32[at] = (f32[at] as number) + fround(factor * sum);
        }
      }
    },
    cholesky(x, n, stride) {
      const { f32 } = views();
      const at = (i: number, j: number) => (x >>> 2) + i * stride + j;
      for (let i = 0; i < n; i++) {
        for (let p = 0; p < i; p++) {
          const factor = f32[at(p, i)] as number;
          for (let j = i; j < n; j++) {
            f32[at(i, j)] = (f32[at(i, j)] as number) - fround(factor * (f32[at(p, j)] as number));
          }
        }
        const pivot = f32[at(i, i)] as number;
        if (!(pivot > 0)) return i;
        const root = fround(Math.sqrt(pivot));
        f32[at(i, i)] = root;
        for (let j = i + 1; j < n; j++) f32[at(i, j)] = (f32[at(i, j)] as number) / root;
      }
      return -1;
    },
    solvePanel(r, rStride, rows, x, n, stride) {
      const { f32 } = views();
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < n; j++) {
          const at = (x >>> 2) + i * stride + j;
          let v = f32[at] as number;
          for (let p = 0; p < i; p++) {
            const factor = f32[(r >>> 2) + p * rStride + i] as number;
            v = fround(v - fround(factor * (f32[(x >>> 2) + p * stride + j] as number)));
          }
          f32[at] = v / (f32[(r >>> 2) + i * rStride + i] as number);
        }
      }
    },
    gptqPanel(w, rows, n, stride, u, uStride, scales, zeroPoints, groups, sliceStride, qmin, qmax, ...out) {
      const [codes, codesStride, err, errStride] = out;
      const { f32, i32, u8, u32 } = views();
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < n; j++) {
          let v = f32[(w >>> 2) + i * stride + j] as number;
          for (let p = 0; p < i; p++) {
            const factor = f32[(u >>> 2) + p * uStride + i] as number;
            v = fround(v - fround(factor * (f32[(err >>> 2) + p * errStride + j] as number)));
          }
          const slice = (u32[(groups >>> 2) + i] as number) * sliceStride + j;
          const scale = f32[(scales >>> 2) + slice] as number;
          const zp = i32[(zeroPoints >>> 2) + slice] as number;
          const whole = nearestEven(clampedQuotient(v, divisorOf(scale), qmin - zp, qmax - zp));
          u8[codes + i * codesStride + j] = whole + zp;
          const pivot = f32[(u >>> 2) + i * uStride + i] as number;
          f32[(err >>> 2) + i * errStride + j] = fround(v - fround(whole * scale)) / pivot;
        }
      }
    },
  };
}
