/** @file What the kernels compute, against definitions written down independently of both implementations. */
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { floatToHalf, halfToFloat } from "../tensor/half.ts";
import { packBits, unpackBits } from "../tensor/pack.ts";
import { TersorError } from "../util/errors.ts";
import { Rng } from "../util/rng.ts";
import { createKernels, initKernels, kernels, type Pointer, type Rounding } from "./index.ts";

fc.configureGlobal({ seed: 20 });

const k = createKernels();

function put(values: ArrayLike<number>): Pointer {
  const at = k.memory.alloc32(values.length);
  k.memory.f32(at, values.length).set(values);
  return at;
}

/** int8 codes of `values` with one scale. */
function codesOf(values: ArrayLike<number>, scale: number, rounding?: Rounding): number[] {
  return k.memory.scope(() => {
    const out = k.memory.alloc(values.length);
    const runs = { runLength: values.length, count: 1 };
    k.quantizeRuns(put(values), runs, { scales: put([scale]) }, { qmin: -128, qmax: 127 }, out, rounding);
    return [...k.memory.i8(out, values.length)];
  });
}

const normals = (n: number, seed: number) => {
  const rng = new Rng(seed);
  return Float32Array.from({ length: n }, () => rng.normal());
};

describe("quantize", () => {
  it("rounds ties to even, or up", () => {
    const ties = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 126.5, 300, -300];
    expect(codesOf(ties, 1)).toEqual([-2, -2, 0, 0, 2, 2, 126, 127, -128]);
    expect(codesOf(ties, 1, "half-up")).toEqual([-2, -1, 0, 1, 2, 3, 127, 127, -128]);
  });

  it("half-up does not lift a number just below one half", () => {
    expect(codesOf([0.49999997, -1e-20, 0.5], 1, "half-up")).toEqual([0, 0, 1]);
  });

  it("rounds before it adds the zero point, as ONNX does", () => {
    k.memory.scope(() => {
      const out = k.memory.alloc(4);
      const zeroPoints = k.memory.alloc32(1);
      k.memory.i32(zeroPoints, 1)[0] = 3;
      const params = { scales: put([1]), zeroPoints };
      k.quantizeRuns(put([0.5, 1.5, -9, 999]), { runLength: 4, count: 1 }, params, { qmin: 0, qmax: 255 }, out);
      expect([...k.memory.u8(out, 4)]).toEqual([3, 5, 0, 255]);
    });
  });

  it("gives the zero point where the scale is zero", () => {
    expect(codesOf([0, 1, -5], 0)).toEqual([0, 0, 0]);
  });

  it("stays within half a step of what it rounds, in range", () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 10, noNaN: true }), fc.integer(), (step, seed) => {
        const scale = Math.fround(step);
        const x = normals(257, seed).map((value) => Math.max(-127, Math.min(127, value * 40)) * scale);
        for (const mode of ["nearest", "half-up"] as const) {
          const worst = codesOf(x, scale, mode).reduce(
            (most, code, i) => Math.max(most, Math.abs(code * scale - (x[i] as number))),
            0,
          );
          expect(worst).toBeLessThanOrEqual(scale * 0.50002);
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe("stochastic rounding", () => {
  const rounding = { mode: "stochastic", seed: 7, key: 99 } as const;

  it("is unbiased: the mean over seeds is the value", () => {
    const x = Float32Array.from({ length: 64 }, (_, i) => -3.2 + i * 0.1013);
    const draws = 4000;
    const mean = new Float64Array(x.length);
    for (let seed = 0; seed < draws; seed++) {
      codesOf(x, 1, { ...rounding, seed }).forEach((code, i) => {
        mean[i] = (mean[i] as number) + code / draws;
      });
    }
    // The standard deviation of a mean is at most 0.5 / sqrt(4000) = 0.008.
    for (const [i, value] of x.entries()) expect(Math.abs((mean[i] as number) - value)).toBeLessThan(0.034);
  });

  it("keeps integers and only ever picks a neighbour", () => {
    expect(codesOf([-3, 0, 127, -128, 200], 1, rounding)).toEqual([-3, 0, 127, -128, 127]);
    const x = normals(1000, 1);
    codesOf(x, 0.25, rounding).forEach((code, i) => {
      expect(Math.abs(code - (x[i] as number) / 0.25)).toBeLessThan(1);
    });
  });

  it("does not depend on where the tensor is cut, also across 2^32", () => {
    const x = normals(300, 2);
    for (const start of [0, 2 ** 32 - 130]) {
      const whole = codesOf(x, 0.1, { ...rounding, start });
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 299 }), (cut) => {
          const parts = [
            ...codesOf(x.subarray(0, cut), 0.1, { ...rounding, start }),
            ...codesOf(x.subarray(cut), 0.1, { ...rounding, start: start + cut }),
          ];
          expect(parts).toEqual(whole);
        }),
        { numRuns: 20 },
      );
    }
  });

  it("gives columns and runs of the same matrix the same codes", () => {
    for (const start of [5, 2 ** 32 - 100]) {
      k.memory.scope(() => {
        const x = put(normals(20 * 31, 3));
        const scales = put(new Float32Array(31).fill(0.1));
        const range = { qmin: -128, qmax: 127 };
        const [a, b] = [k.memory.alloc(620), k.memory.alloc(620)];
        k.quantizeRuns(x, { runLength: 31, count: 20 }, { scales }, range, a, { ...rounding, start });
        k.quantizeColumns(x, { rows: 20, n: 31 }, { scales }, range, b, { ...rounding, start });
        expect(k.memory.u8(b, 620)).toEqual(k.memory.u8(a, 620));
      });
    }
  });
});

describe("scale search", () => {
  it("takes the candidate of least error, for runs and columns alike", () => {
    const ratios = Array.from({ length: 30 }, (_, i) => 1 - i * 0.025);
    const [n, length] = [3, 200];
    const x = normals(n * length, 4);
    const range = { qmin: -8, qmax: 7 };
    const errorOf = (slice: number, scale: number) => {
      let sum = 0;
      for (let i = 0; i < length; i++) {
        const value = x[slice * length + i] as number;
        const code = Math.max(-8, Math.min(7, Math.round(value / scale)));
        sum += (value - code * scale) ** 2;
      }
      return sum;
    };
    k.memory.scope(() => {
      const scales = put([0.5, 0.4, 0.6]);
      const base = [...k.memory.f32(scales, n)];
      const columns = put(base);
      const transposed = k.memory.alloc32(x.length);
      const at = put(x);
      k.searchRuns(at, { runLength: length, count: n }, { scales }, range, ratios);
      k.transpose32(at, { rows: n, n: length }, transposed);
      k.searchColumns(transposed, { rows: length, n }, { scales: columns }, range, ratios);
      for (let i = 0; i < n; i++) {
        const best = Math.min(...ratios.map((ratio) => errorOf(i, (base[i] as number) * ratio)));
        expect(errorOf(i, k.memory.f32(scales, n)[i] as number)).toBeCloseTo(best, 3);
        expect(errorOf(i, k.memory.f32(columns, n)[i] as number)).toBeCloseTo(best, 3);
      }
    });
  });
});

describe("selectAbs", () => {
  it("is the k-th of the sorted magnitudes, short and long", () => {
    for (const n of [1, 7, 4096, 5000, 70_000]) {
      k.memory.scope(() => {
        const values = normals(n, n);
        const sorted = values.map(Math.abs).sort();
        const x = put(values);
        for (const rank of [0, n >> 1, n - 1]) expect(k.selectAbs(x, n, rank)).toBe(sorted[rank]);
      });
    }
  });

  it.each([undefined, 0, 0.67, 0.7, 1e9, -0.68])(
    "is found from any guess, with the number of lesser ones: %f",
    (guess) => {
      k.memory.scope(() => {
        const values = normals(9000, 3);
        const sorted = values.map(Math.abs).sort();
        const x = put(values);
        for (const rank of [0, 4500, 8999]) {
          const found = k.selectAbsAcross((visit) => visit(x, 9000), rank, guess);
          expect(found).toEqual({ value: sorted[rank], below: sorted.indexOf(sorted[rank] as number) });
        }
      });
    },
  );
});

describe("pack", () => {
  it("writes ONNX' int4 and int2", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -8, max: 7 }), { minLength: 1, maxLength: 200 }), (values) => {
        k.memory.scope(() => {
          const codes = k.memory.alloc(values.length);
          const out = k.memory.alloc(values.length);
          k.memory.i8(codes, values.length).set(values);
          for (const [bits, dtype] of [
            [4, "int4"],
            [2, "int2"],
          ] as const) {
            const packed = packBits(values, dtype);
            k.pack(codes, values.length, bits, out);
            expect(k.memory.u8(out, packed.length)).toEqual(packed);
          }
          k.pack(codes, values.length, 4, out);
          expect([...unpackBits(k.memory.u8(out, values.length), "int4", values.length)]).toEqual(values);
        });
      }),
    );
  });
});

describe("16-bit floats", () => {
  it("reads all 65,536 halves and writes them back", () => {
    k.memory.scope(() => {
      const halves = k.memory.alloc(131072);
      const floats = k.memory.alloc32(65536);
      const back = k.memory.alloc(131072);
      k.memory.u16(halves, 65536).set(Uint16Array.from({ length: 65536 }, (_, i) => i));
      k.halfToFloat(halves, 65536, floats);
      expect([...k.memory.f32(floats, 65536)]).toEqual(Array.from({ length: 65536 }, (_, i) => halfToFloat(i)));
      expect(k.floatToHalf(floats, 65536, back)).toBe(0);
      const isNaN16 = (bits: number) => (bits & 0x7fff) > 0x7c00;
      const wrong = k.memory.u16(back, 65536).findIndex((bits, i) => (isNaN16(i) ? !isNaN16(bits) : bits !== i));
      expect(wrong).toBe(-1);
    });
  });

  it("rounds the middle of every pair of neighbours to even, and counts what overflows", () => {
    const middles = Array.from({ length: 0x7c00 }, (_, i) => {
      const next = i === 0x7bff ? 65536 : halfToFloat(i + 1);
      return (halfToFloat(i) + next) / 2;
    });
    k.memory.scope(() => {
      const out = k.memory.alloc(middles.length * 2);
      expect(k.floatToHalf(put(middles), middles.length, out)).toBe(1);
      expect([...k.memory.u16(out, middles.length)]).toEqual(middles.map((_, i) => i + (i & 1)));
      expect(middles.map(floatToHalf)).toEqual([...k.memory.u16(out, middles.length)]);
    });
  });
});

describe("memory", () => {
  it("grows without losing what is there, and refuses what does not fit", () => {
    for (const backend of ["wasm", "reference"] as const) {
      const small = createKernels({ backend, memoryLimit: 4 << 20 });
      const at = small.memory.alloc(16);
      small.memory.u8(at, 16).fill(7);
      small.memory.alloc(3 << 20);
      expect([...small.memory.u8(at, 2)]).toEqual([7, 7]);
      expect(() => small.memory.alloc(2 << 20)).toThrow(TersorError);
      expect(() => small.memory.alloc(Number.NaN)).toThrow(TersorError);
      expect(small.memory.alloc(64)).toBeGreaterThan(at);
    }
  });

  it("is given back by a scope, also when it throws", () => {
    const before = k.memory.mark();
    expect(() =>
      k.memory.scope(() => {
        k.memory.alloc(100);
        throw new RangeError("stop");
      }),
    ).toThrow("stop");
    expect(k.memory.mark()).toBe(before);
  });
});

describe("kernels()", () => {
  it("is one instance, on wasm where SIMD is there", async () => {
    await initKernels();
    expect(kernels()).toBe(kernels());
    expect(kernels().backend).toBe("wasm");
  });

  it("chooses the reference when asked to", () => {
    vi.stubEnv("TERSOR_KERNELS", "reference");
    try {
      expect(createKernels().backend).toBe("reference");
    } finally {
      vi.unstubAllEnvs();
    }
  });
});
