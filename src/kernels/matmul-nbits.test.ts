/** @file The MatMulNBits layout against the operator's contract, read back by an independent decoder. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Rng } from "../util/rng.ts";
import { createKernels, type MatMulNBitsSpec, matMulNBitsSizes, type Pointer, quantizeMatMulNBits } from "./index.ts";

fc.configureGlobal({ seed: 20 });

const [wasm, reference] = [createKernels({ backend: "wasm" }), createKernels({ backend: "reference" })];

interface Packed {
  readonly packed: Uint8Array;
  readonly scales: Float32Array;
  readonly zeroPoints: Uint8Array;
  readonly finite: boolean;
}

function run(k: typeof wasm, b: Float32Array, rows: number, n: number, spec: MatMulNBitsSpec): Packed {
  return k.memory.scope(() => {
    const sizes = matMulNBitsSizes({ rows, n }, spec);
    const x = k.memory.alloc32(b.length);
    k.memory.f32(x, b.length).set(b);
    const out = {
      packed: k.memory.alloc(sizes.packed),
      scales: k.memory.alloc(sizes.scales),
      zeroPoints: k.memory.alloc(sizes.zeroPoints),
    };
    const finite = quantizeMatMulNBits(k, x, { rows, n }, spec, out);
    return {
      packed: k.memory.u8(out.packed, sizes.packed).slice(),
      scales: k.memory.f32(out.scales, n * sizes.blocks).slice(),
      zeroPoints: k.memory.u8(out.zeroPoints, sizes.zeroPoints).slice(),
      finite,
    };
  });
}

/** B as the operator's documentation reads it; `code` of a padded place is returned too. */
function decode({ packed, scales, zeroPoints }: Packed, rows: number, n: number, { bits, blockSize }: MatMulNBitsSpec) {
  const blocks = Math.ceil(rows / blockSize);
  const field = (bytes: Uint8Array, row: number, i: number) =>
    ((bytes[row + Math.floor((i * bits) / 8)] as number) >> ((i * bits) % 8)) & (2 ** bits - 1);
  const blob = (blockSize * bits) / 8;
  return (row: number, column: number) => {
    const block = Math.floor(row / blockSize);
    const code = field(packed, (column * blocks + block) * blob, row % blockSize);
    const zeroPoint = field(zeroPoints, column * Math.ceil((blocks * bits) / 8), block);
    const scale = scales[column * blocks + block] as number;
    return { code, zeroPoint, scale, value: (code - zeroPoint) * scale, rows, n };
  };
}

const normals = (count: number, seed: number) => {
  const rng = new Rng(seed, "matmul");
  return Float32Array.from({ length: count }, () => rng.normal());
};
const specs = fc.record({
  bits: fc.constantFrom(2 as const, 4 as const, 8 as const),
  blockSize: fc.constantFrom(16, 32, 128),
  params: fc.constantFrom("full" as const, "restricted" as const, "asymmetric" as const),
  rounding: fc.constantFrom("nearest" as const, "half-up" as const, { mode: "stochastic", seed: 1, key: 2 } as const),
  ratios: fc.constantFrom(undefined, [1, 0.9, 0.8]),
});

describe("quantizeMatMulNBits", () => {
  it("is the same on both back ends, and decodes to B within a step", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 40 }),
        specs,
        fc.integer(),
        (rows, n, spec, seed) => {
          const b = normals(rows * n, seed);
          const result = run(wasm, b, rows, n, spec);
          expect(result).toEqual(run(reference, b, rows, n, spec));
          expect(result.finite).toBe(true);
          const at = decode(result, rows, n, spec);
          let worst = 0;
          let padding = 0;
          const padded = Math.ceil(rows / spec.blockSize) * spec.blockSize;
          for (let column = 0; column < n; column++) {
            for (let row = 0; row < padded; row++) {
              const { value, scale, code, zeroPoint } = at(row, column);
              if (row >= rows) padding += Math.abs(code - zeroPoint);
              else if (!spec.ratios)
                worst = Math.max(worst, Math.abs(value - (b[row * n + column] as number)) / Math.abs(scale));
            }
          }
          expect(padding).toBe(0);
          // Up to a step: stochastic rounding, and the end of "full" that has no code of its own.
          expect(worst).toBeLessThanOrEqual(1.001);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("full: the weight of greatest magnitude is exact, with code 0", () => {
    const b = normals(32 * 5, 3);
    const spec = { bits: 4, blockSize: 32, params: "full" } as const;
    const at = decode(run(wasm, b, 32, 5, spec), 32, 5, spec);
    for (let column = 0; column < 5; column++) {
      const values = Array.from({ length: 32 }, (_, row) => b[row * 5 + column] as number);
      const row = values.reduce((best, value, i) => (Math.abs(value) > Math.abs(values[best] as number) ? i : best), 0);
      expect(at(row, column)).toMatchObject({ code: 0, zeroPoint: 8, value: values[row] });
    }
  });

  it("takes scales that the caller chose", () => {
    const b = normals(64 * 3, 4);
    const spec = { bits: 4, blockSize: 32, params: "restricted" } as const;
    const first = run(wasm, b, 64, 3, spec);
    const given = wasm.memory.scope(() => {
      const scales: Pointer = wasm.memory.alloc32(6);
      const zeroPoints = wasm.memory.alloc32(6);
      wasm.memory
        .f32(scales, 6)
        .set(Float32Array.from({ length: 6 }, (_, i) => first.scales[(i % 3) * 2 + Math.floor(i / 3)] as number));
      wasm.memory.i32(zeroPoints, 6).fill(8);
      return run(wasm, b, 64, 3, { ...spec, params: { scales, zeroPoints } });
    });
    expect(given).toEqual(first);
  });

  it("says when a weight is not finite", () => {
    const b = normals(64, 5);
    b[40] = Number.NaN;
    expect(run(wasm, b, 32, 2, { bits: 4, blockSize: 16, params: "full" }).finite).toBe(false);
  });
});
