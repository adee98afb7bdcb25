/** @file The matrix, HQQ and codebook kernels: wasm against reference bit for bit, and what the results mean. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Rng } from "../util/rng.ts";
import { createKernels, type Kernels, type Pointer, SUM_ROWS } from "./index.ts";

fc.configureGlobal({ seed: 21 });
const wasm = createKernels({ backend: "wasm" });
const reference = createKernels({ backend: "reference" });

function normals(count: number, stream: string, spread = 1): Float32Array {
  const rng = new Rng(3, stream);
  return Float32Array.from({ length: count }, () => rng.normal() * spread);
}

function put(k: Kernels, values: ArrayLike<number>): Pointer {
  const at = k.memory.alloc32(values.length);
  k.memory.f32(at, values.length).set(values);
  return at;
}

/** Runs on both back ends and compares the bytes of the result. */
function agree(
  run: (k: Kernels) => Float32Array | Float64Array | Uint8Array,
): Float32Array | Float64Array | Uint8Array {
  const [a, b] = [wasm, reference].map((k) => k.memory.scope(() => run(k).slice()));
  if (!a || !b) throw new Error("two back ends expected");
  const bytes = (x: ArrayBufferView) => Buffer.from(x.buffer as ArrayBuffer, x.byteOffset, x.byteLength);
  expect(bytes(a).equals(bytes(b))).toBe(true);
  return a;
}

const size = fc.integer({ min: 1, max: 70 });
const pad16 = (n: number) => Math.ceil(n / 16) * 16;

/** X^T X / rows + I / 100, in a matrix with padded rows. */
function hessian(n: number, stride: number, seed: string): Float32Array {
  const rows = n + 7;
  const x = normals(rows * n, seed);
  const out = new Float32Array(n * stride);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = i === j ? 0.01 : 0;
      for (let r = 0; r < rows; r++) sum += ((x[r * n + i] as number) * (x[r * n + j] as number)) / rows;
      out[i * stride + j] = sum;
    }
  }
  return out;
}

describe("wasm is the reference, bit for bit", () => {
  it("gemmTn, also of the upper triangle", () => {
    const shape = fc.record({
      m: size,
      n: size,
      k: fc.integer({ min: 0, max: 300 }),
      gap: fc.nat(4),
      upper: fc.boolean(),
    });
    fc.assert(
      fc.property(shape, ({ m, n, k, gap, upper }) => {
        agree((kernels) => {
          const a = { at: put(kernels, normals(k * (m + gap), "a")), stride: m + gap };
          const b = { at: put(kernels, normals(k * (n + gap), "b")), stride: n + gap };
          const c = { at: put(kernels, normals(m * (n + gap), "c")), stride: n + gap };
          kernels.linalg.gemmTn({ m, n, k, a, b, c, alpha: -0.75 }, upper);
          return kernels.memory.f32(c.at, m * (n + gap));
        });
      }),
      { numRuns: 40 },
    );
  });

  it("Cholesky and the transposed inverse", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 150 }), (n) => {
        const stride = pad16(n);
        agree((k) => {
          const x = { at: put(k, hessian(n, stride, "h")), stride };
          expect(k.linalg.cholesky(n, x)).toBe(-1);
          const z = { at: put(k, new Float32Array(n * stride)), stride };
          k.linalg.invertTransposed(n, x, z);
          return k.memory.f32(x.at, (z.at - x.at) / 4 + n * stride);
        });
      }),
      { numRuns: 12 },
    );
  });

  it("gptqPanel", () => {
    const shape = fc.record({
      rows: fc.integer({ min: 1, max: 40 }),
      wide: fc.integer({ min: 1, max: 3 }),
      bits: fc.constantFrom(2, 4, 8),
    });
    fc.assert(
      fc.property(shape, ({ rows, wide, bits }) => {
        const n = wide * 16;
        agree((k) => {
          const scales = put(k, normals(n * 3, "scale", 0.2).fill(0, 0, 1));
          const [zeroPoints, groups] = [k.memory.alloc32(n * 3), k.memory.alloc32(rows)];
          k.memory.i32(zeroPoints, n * 3).set(Array.from({ length: n * 3 }, (_, i) => i % 2 ** bits));
          k.memory.u32(groups, rows).set(Array.from({ length: rows }, (_, i) => (i * 2) % 3));
          const codes = { at: k.memory.alloc(rows * n), stride: n };
          const err = { at: put(k, new Float32Array(rows * n)), stride: n };
          const w = { at: put(k, normals(rows * n, "w")), stride: n };
          const u = {
            at: put(
              k,
              normals(rows * rows, "u").map((x) => x + 3),
            ),
            stride: rows,
          };
          const range = { qmin: 0, qmax: 2 ** bits - 1 };
          k.linalg.gptqPanel({ rows, n, w, u, scales, zeroPoints, groups, range, codes, err });
          const values = k.memory.f32(err.at, rows * n).slice();
          return Float64Array.from([...k.memory.u8(codes.at, rows * n), ...values]);
        });
      }),
      { numRuns: 40 },
    );
  });

  it("hqqRuns", () => {
    const shape = fc.record({
      runLength: fc.integer({ min: 1, max: 70 }),
      count: fc.integer({ min: 1, max: 5 }),
      refine: fc.constantFrom<"zero" | "scale">("zero", "scale"),
      p: fc.constantFrom(0.3, 0.7, 1),
      beta: fc.constantFrom(1, 10, 1000),
    });
    fc.assert(
      fc.property(shape, fc.nat(1000), ({ runLength, count, refine, p, beta }, seed) => {
        agree((k) => {
          const x = put(k, normals(runLength * count, `${seed}`));
          const scales = put(
            k,
            normals(count, "s").map((s, i) => (i === 1 ? 0 : s / 3)),
          );
          const zeros = put(
            k,
            normals(count, "z").map((z) => 7 + z),
          );
          const errors = k.memory.alloc32(count);
          const spec = { refine, range: { qmin: 0, qmax: 15 }, iterations: 20, beta, kappa: 1.01, p };
          k.linalg.hqqRuns(x, { runLength, count }, scales, zeros, errors, spec);
          return Float32Array.from([scales, zeros, errors].flatMap((at) => [...k.memory.f32(at, count)]));
        });
      }),
    );
  });

  it("histogramOrdered and assignBounds", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.constantFrom(1, 3, 15, 24, 25, 255), (n, m) => {
        agree((k) => {
          const x = put(
            k,
            normals(n, "x").map((v, i) => (i % 5 === 0 ? Math.round(v) : v)),
          );
          const counts = k.memory.alloc32(65536);
          const sums = k.memory.alloc(65536 * 8);
          k.linalg.histogramOrdered(x, n, counts, sums);
          const bounds = put(
            k,
            normals(m, "b")
              .map((v, i) => (i % 3 === 0 ? Math.round(v) : v))
              .sort(),
          );
          const out = k.memory.alloc(n);
          k.linalg.assignBounds(x, n, bounds, m, out);
          return Float64Array.from([
            ...k.memory.u8(out, n),
            ...k.memory.u32(counts, 65536),
            ...k.memory.f64(sums, 65536),
          ]);
        });
      }),
      { numRuns: 15 },
    );
  });
});

describe("what the results mean", () => {
  const { linalg, memory } = wasm;

  it("gemmTn is the product, and its bits do not depend on how it is cut", () => {
    const [m, n, k] = [77, 130, 3 * SUM_ROWS + 9];
    memory.scope(() => {
      const [a, b] = [normals(k * m, "a"), normals(k * n, "b")];
      const [at, bt] = [put(wasm, a), put(wasm, b)];
      const whole = put(wasm, new Float32Array(m * n));
      const parts = put(wasm, new Float32Array(m * n));
      linalg.gemmTn({ m, n, k, a: { at, stride: m }, b: { at: bt, stride: n }, c: { at: whole, stride: n } });
      for (const [i, rows] of [
        [0, 30],
        [30, 47],
      ] as const) {
        for (const [p, depth] of [
          [0, 2 * SUM_ROWS],
          [2 * SUM_ROWS, SUM_ROWS + 9],
        ] as const) {
          linalg.gemmTn({
            m: rows,
            n,
            k: depth,
            a: { at: at + (p * m + i) * 4, stride: m },
            b: { at: bt + p * n * 4, stride: n },
            c: { at: parts + i * n * 4, stride: n },
          });
        }
      }
      const result = memory.f32(whole, m * n).slice();
      expect(memory.f32(parts, m * n)).toEqual(result);
      for (const [i, j] of [
        [0, 0],
        [76, 129],
        [40, 7],
      ] as const) {
        let sum = 0;
        for (let r = 0; r < k; r++) sum += (a[r * m + i] as number) * (b[r * n + j] as number);
        expect(result[i * n + j]).toBeCloseTo(sum, 3);
      }
    });
  });

  it("syrk mirrored is the whole product, bit for bit", () => {
    const [rows, n] = [300, 150];
    memory.scope(() => {
      const x = { at: put(wasm, normals(rows * n, "x")), stride: n };
      const half = put(wasm, new Float32Array(n * n));
      const full = put(wasm, new Float32Array(n * n));
      linalg.syrk(rows, n, x, { at: half, stride: n });
      linalg.mirrorUpper(n, half);
      linalg.gemmTn({ m: n, n, k: rows, a: x, b: x, c: { at: full, stride: n } });
      expect(memory.f32(half, n * n)).toEqual(memory.f32(full, n * n));
    });
  });

  it("R^T R is the matrix, and R times Z^T is one", () => {
    const n = 200;
    const stride = pad16(n);
    memory.scope(() => {
      const h = hessian(n, stride, "h");
      const x = { at: put(wasm, h), stride };
      const z = { at: put(wasm, new Float32Array(n * stride)), stride };
      expect(linalg.cholesky(n, x)).toBe(-1);
      linalg.invertTransposed(n, x, z);
      const [r, inverse] = [memory.f32(x.at, n * stride), memory.f32(z.at, n * stride)];
      let worst = 0;
      for (let i = 0; i < n; i += 7) {
        for (let j = i; j < n; j += 5) {
          let product = 0;
          let one = 0;
          for (let p = 0; p <= i; p++) product += (r[p * stride + i] as number) * (r[p * stride + j] as number);
          for (let p = i; p <= j; p++) one += (r[i * stride + p] as number) * (inverse[j * stride + p] as number);
          // Z = R^-T, so R Z^T = I: row i of R with row j of Z.
          for (let p = j + 1; p < n; p++) expect(inverse[j * stride + p]).toBe(0);
          worst = Math.max(worst, Math.abs(product - (h[i * stride + j] as number)), Math.abs(one - (i === j ? 1 : 0)));
        }
      }
      expect(worst).toBeLessThan(2e-5);
    });
  });

  it("a matrix that is not positive definite is found out", () => {
    const n = 100;
    const stride = pad16(n);
    memory.scope(() => {
      const h = hessian(n, stride, "h");
      h[80 * stride + 80] = -1;
      expect(linalg.cholesky(n, { at: put(wasm, h), stride })).toBe(80);
    });
  });
});
