/** @file The GatherBlockQuantized layout, read back by an independent decoder. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Rng } from "../util/rng.ts";
import { createKernels, gatherBlocksSizes, quantizeGatherBlocks } from "./index.ts";

fc.configureGlobal({ seed: 20 });

const backends = [createKernels({ backend: "wasm" }), createKernels({ backend: "reference" })] as const;
const specs = fc.record({
  bits: fc.constantFrom(2 as const, 4 as const, 8 as const),
  blockSize: fc.constantFrom(9, 16, 32),
  mode: fc.constantFrom("full" as const, "asymmetric" as const),
  ratios: fc.constantFrom(undefined, [1, 0.9]),
  rounding: fc.constantFrom("nearest" as const, { mode: "stochastic", seed: 3, key: 4 } as const),
});
const shape = fc.record({
  rows: fc.integer({ min: 1, max: 20 }),
  n: fc.integer({ min: 1, max: 100 }),
  seed: fc.integer(),
});

describe("quantizeGatherBlocks", () => {
  it("is the same on both back ends, and decodes to x within a step", () => {
    fc.assert(
      fc.property(shape, specs, ({ rows, n, seed }, spec) => {
        const rng = new Rng(seed);
        const values = Float32Array.from({ length: rows * n }, () => rng.normal());
        const sizes = gatherBlocksSizes(rows, n, spec);
        const [a, b] = backends.map((k) =>
          k.memory.scope(() => {
            const x = k.memory.alloc32(rows * n);
            k.memory.f32(x, rows * n).set(values);
            const [packed, scales, zeroPoints] = [sizes.packed, sizes.scales, sizes.zeroPoints].map((size) =>
              k.memory.alloc(size),
            ) as [number, number, number];
            expect(quantizeGatherBlocks(k, x, rows, n, spec, { packed, scales, zeroPoints })).toBe(true);
            return {
              packed: k.memory.u8(packed, sizes.packed).slice(),
              scales: k.memory.f32(scales, rows * sizes.blocks).slice(),
              zeroPoints: k.memory.u8(zeroPoints, sizes.zeroPoints).slice(),
            };
          }),
        );
        if (!a) throw new Error("two back ends expected");
        expect(a).toEqual(b);
        const field = (bytes: Uint8Array, row: number, length: number, i: number) => {
          const at = row * Math.ceil((length * spec.bits) / 8) + Math.floor((i * spec.bits) / 8);
          return ((bytes[at] as number) >> ((i * spec.bits) % 8)) & (2 ** spec.bits - 1);
        };
        let worst = 0;
        for (let i = 0; i < rows * n && !spec.ratios; i++) {
          const row = Math.floor(i / n);
          const block = Math.floor((i % n) / spec.blockSize);
          const scale = a.scales[row * sizes.blocks + block] as number;
          const code = field(a.packed, row, n, i % n) - field(a.zeroPoints, row, sizes.blocks, block);
          worst = Math.max(worst, Math.abs(code * scale - (values[i] as number)) / Math.abs(scale));
        }
        expect(worst).toBeLessThanOrEqual(1.001);
      }),
      { numRuns: 80 },
    );
  });
});
