/** @file wasm against reference, bit for bit: every kernel, hostile floats, odd shapes. What the results mean: meaning.test.ts. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createKernels, type Kernels, type Pointer, type RangeMode, type Rounding } from "./index.ts";

fc.configureGlobal({ seed: 20 });

const wasm = createKernels({ backend: "wasm" });
const reference = createKernels({ backend: "reference" });
const bitsOf = new Float32Array(1);
const fromBits = (bits: number) => {
  new Uint32Array(bitsOf.buffer)[0] = bits;
  return bitsOf[0] as number;
};

/** Any float that a file can hold, as bits; ordinary weights, ties of a step of 1/8, and the edges of every range more often. */
const edges = [
  0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x477fefff, 0x477ff000, 0x33000000,
];
const nonFinite = [0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xffbfffff];
const asBits = (value: number) => {
  bitsOf[0] = value;
  return new Uint32Array(bitsOf.buffer)[0] as number;
};
const finiteBits = fc.oneof(
  { weight: 4, arbitrary: fc.double({ min: -4, max: 4, noNaN: true }).map(asBits) },
  { weight: 3, arbitrary: fc.integer({ min: -600, max: 600 }).map((n) => asBits(n / 16)) },
  { weight: 1, arbitrary: fc.constantFrom(...edges) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0x7f7fffff }).chain((b) => fc.constantFrom(b, b + 0x80000000)) },
);
const anyBits = fc.oneof(
  { weight: 12, arbitrary: finiteBits },
  { weight: 1, arbitrary: fc.constantFrom(...nonFinite) },
);
const lengths = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 700 }));
/** Data of any length is cut from a generated pattern: cheap to shrink, and long enough for the wide loops. */
const pattern = (bits: fc.Arbitrary<number>) => fc.array(bits, { minLength: 1, maxLength: 80 });
const fill = (values: readonly number[], count: number) =>
  Uint32Array.from({ length: count }, (_, i) => values[(i * 7 + (i >> 3)) % values.length] as number);
const scaleBits = fc.oneof(
  { weight: 6, arbitrary: fc.double({ min: 0.001, max: 2, noNaN: true }).map(asBits) },
  { weight: 3, arbitrary: fc.constantFrom(asBits(0.125), asBits(-0.25), asBits(1), asBits(0.0625)) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1, 0x7f7fffff) },
);
const ranges = [
  { qmin: -128, qmax: 127 },
  { qmin: 0, qmax: 255 },
  { qmin: -8, qmax: 7 },
  { qmin: 0, qmax: 15 },
  { qmin: -2, qmax: 1 },
  { qmin: -127, qmax: 127 },
];
const range = fc.constantFrom(...ranges);
const rounding: fc.Arbitrary<Rounding> = fc.oneof(
  fc.constant<Rounding>("nearest"),
  fc.constant<Rounding>("half-up"),
  fc.record({
    mode: fc.constant("stochastic" as const),
    seed: fc.maxSafeInteger(),
    key: fc.integer({ min: 0, max: 0xffffffff }),
    start: fc.oneof(fc.constant(0), fc.constantFrom(2 ** 32 - 5, 2 ** 40 + 3, 2 ** 31 - 7)),
  }),
);

function put(k: Kernels, bits: ArrayLike<number>): Pointer {
  const at = k.memory.alloc32(bits.length);
  k.memory.u32(at, bits.length).set(bits);
  return at;
}

/** Fresh output, filled so that a byte that is written where it should not be shows. */
function room(k: Kernels, bytes: number): Pointer {
  const at = k.memory.alloc(bytes + 64);
  k.memory.u8(at, bytes + 64).fill(0xa5);
  return at;
}

/** Runs on both back ends and compares everything the two memories hold, and the result. */
function agree<T>(run: (k: Kernels) => T): T {
  const [a, b] = [wasm, reference].map((k) =>
    k.memory.scope(() => {
      const from = k.memory.mark();
      const result = run(k);
      return { result, bytes: k.memory.u8(from, k.memory.mark() - from).slice() };
    }),
  );
  if (!a || !b) throw new Error("two back ends expected");
  const differs = a.bytes.findIndex((byte, i) => byte !== b.bytes[i]);
  expect({ result: a.result, differs }).toEqual({ result: b.result, differs: -1 });
  expect(a.bytes.length).toBe(b.bytes.length);
  return a.result;
}

const runsShape = fc.record({ runLength: lengths, count: fc.integer({ min: 1, max: 9 }) });
const columnsShape = fc.record({
  rows: fc.integer({ min: 1, max: 150 }),
  n: fc.integer({ min: 1, max: 70 }),
  gap: fc.nat(5),
});
const slices = <T>(values: readonly T[], count: number) =>
  Array.from({ length: count }, (_, i) => values[i % values.length] as T);

describe("wasm is the reference, bit for bit", () => {
  it("absMax and minMax of runs", () => {
    fc.assert(
      fc.property(runsShape, pattern(anyBits), fc.boolean(), (runs, values, accumulate) => {
        const data = fill(values, runs.runLength * runs.count);
        const finite = data.every((bits) => (bits & 0x7f800000) !== 0x7f800000);
        const ok = agree((k) => {
          const x = put(k, data);
          const [out, min, max] = [0, 1, 2].map(() => put(k, new Uint32Array(runs.count))) as [number, number, number];
          return [k.absMaxRuns(x, runs, out, accumulate), k.minMaxRuns(x, runs, min, max, accumulate)];
        });
        expect(ok).toEqual([finite, finite]);
      }),
    );
  });

  it("absMax and minMax of columns", () => {
    fc.assert(
      fc.property(columnsShape, pattern(anyBits), fc.boolean(), ({ rows, n, gap }, values, accumulate) => {
        const columns = { rows, n, stride: n + gap };
        const data = fill(values, rows * columns.stride);
        const finite = data.every((b, i) => i % columns.stride >= n || (b & 0x7f800000) !== 0x7f800000);
        const ok = agree((k) => {
          const x = put(k, data);
          const [out, min, max] = [0, 1, 2].map(() => put(k, new Uint32Array(n))) as [number, number, number];
          return [k.absMaxColumns(x, columns, out, accumulate), k.minMaxColumns(x, columns, min, max, accumulate)];
        });
        expect(ok).toEqual([finite, finite]);
      }),
    );
  });

  it("qparams", () => {
    const modes = fc.constantFrom<RangeMode>("full", "restricted", "asymmetric");
    fc.assert(
      fc.property(pattern(finiteBits), pattern(finiteBits), range, modes, (a, b, codes, mode) => {
        agree((k) => {
          const low = put(
            k,
            slices(a, 40).map((bits, i) => asBits(Math.min(fromBits(bits), fromBits(b[i % b.length] as number)))),
          );
          const high = put(
            k,
            slices(a, 40).map((bits, i) => asBits(Math.max(fromBits(bits), fromBits(b[i % b.length] as number)))),
          );
          k.qparams(low, high, 40, codes, mode, { scales: room(k, 160), zeroPoints: room(k, 160) });
        });
      }),
    );
  });

  it("quantize and dequantize runs", () => {
    fc.assert(
      fc.property(
        ...([runsShape, pattern(anyBits), pattern(scaleBits), range, rounding, fc.nat(15)] as const),
        (runs, values, scales, codes, mode, z) => {
          const size = runs.runLength * runs.count;
          agree((k) => {
            const x = put(k, fill(values, size));
            const zeroPoints = put(
              k,
              slices([0, codes.qmin, codes.qmin + (z % (codes.qmax - codes.qmin + 1))], runs.count),
            );
            const params = { scales: put(k, slices(scales, runs.count)), zeroPoints: z === 0 ? undefined : zeroPoints };
            const out = room(k, size);
            k.quantizeRuns(x, runs, params, codes, out, mode);
            k.dequantizeRuns(out, codes.qmin < 0, runs, params, room(k, size * 4));
          });
        },
      ),
    );
  });

  it("quantize and dequantize columns", () => {
    fc.assert(
      fc.property(
        ...([columnsShape, pattern(anyBits), pattern(scaleBits), range, rounding, fc.nat(15)] as const),
        ({ rows, n, gap }, values, scales, codes, mode, z) => {
          const columns = { rows, n, stride: n + gap };
          agree((k) => {
            const x = put(k, fill(values, rows * columns.stride));
            const zeroPoints = put(k, slices([0, codes.qmin, codes.qmin + (z % (codes.qmax - codes.qmin + 1))], n));
            const params = { scales: put(k, slices(scales, n)), zeroPoints: z === 0 ? undefined : zeroPoints };
            const out = room(k, rows * (n + 3));
            k.quantizeColumns(x, columns, params, codes, out, mode, n + 3);
            const codesIn = { rows, n, stride: n + 3 };
            k.dequantizeColumns(out, codes.qmin < 0, codesIn, params, room(k, rows * (n + gap) * 4), n + gap);
          });
        },
      ),
    );
  });

  it("scale search of runs and columns", () => {
    const ratios = [1, 0.97, 0.9, 0.8, 0.5];
    fc.assert(
      fc.property(
        columnsShape,
        pattern(finiteBits),
        pattern(scaleBits),
        range,
        ({ rows, n, gap }, values, scales, codes) => {
          agree((k) => {
            const x = put(k, fill(values, rows * (n + gap)));
            const first = { scales: put(k, slices(scales, n)) };
            k.searchColumns(x, { rows, n, stride: n + gap }, first, codes, ratios);
            const second = {
              scales: put(k, slices(scales, n)),
              zeroPoints: put(k, slices([codes.qmin, codes.qmax], n)),
            };
            k.searchRuns(x, { runLength: rows, count: n }, second, codes, ratios);
          });
        },
      ),
      { numRuns: 60 },
    );
  });

  it("sums of squares", () => {
    fc.assert(
      fc.property(lengths, pattern(finiteBits), pattern(finiteBits), (n, a, b) => {
        agree((k) => {
          const x = put(k, fill(a, n));
          return [k.sumSquares(x, n), k.sumSquaredDifference(x, put(k, fill(b, n)), n)];
        });
      }),
    );
  });

  it("packing and transposing", () => {
    fc.assert(
      fc.property(columnsShape, pattern(fc.nat(0xffffffff)), ({ rows, n, gap }, values) => {
        agree((k) => {
          const stride = n + gap;
          const codes = put(k, fill(values, Math.ceil((rows * stride) / 4)));
          k.pack(codes, rows * stride, 4, room(k, rows * stride));
          k.pack(codes, rows * stride, 2, room(k, rows * stride));
          for (const bits of [2, 4, 8] as const)
            k.packColumns(codes, { rows, n, stride }, bits, room(k, n * rows + n), rows + 1);
          k.transpose32(put(k, fill(values, rows * stride)), { rows, n, stride }, room(k, rows * n * 4));
        });
      }),
    );
  });

  it("the 16-bit floats", () => {
    fc.assert(
      fc.property(lengths, pattern(fc.oneof(anyBits, fc.nat(0xffffffff))), (n, values) => {
        agree((k) => {
          const x = put(k, fill(values, n));
          const overflow = k.floatToHalf(x, n, room(k, n * 2));
          k.floatToBfloat(x, n, room(k, n * 2));
          k.halfToFloat(x, n * 2, room(k, n * 8));
          k.bfloatToFloat(x, n * 2, room(k, n * 8));
          return overflow;
        });
      }),
    );
  });

  it("long operands, cut into several calls", () => {
    const n = 200_003;
    agree((k) => {
      const x = k.memory.alloc32(n);
      const data = k.memory.f32(x, n);
      for (let i = 0; i < n; i++) data[i] = Math.fround(Math.sin(i * 1.37) * Math.sin(i * 0.001));
      const one = put(k, [asBits(1 / 127), asBits(1 / 100)]);
      const codes = { qmin: -128, qmax: 127 };
      k.minMaxRuns(x, { runLength: n, count: 1 }, room(k, 4), room(k, 4));
      k.quantizeRuns(x, { runLength: n, count: 1 }, { scales: one }, codes, room(k, n));
      k.quantizeRuns(x, { runLength: 100_001, count: 2 }, { scales: one }, codes, room(k, n), {
        mode: "stochastic",
        seed: 1,
        key: 2,
      });
      k.searchRuns(x, { runLength: 100_001, count: 2 }, { scales: one }, { qmin: -8, qmax: 7 }, [1, 0.9, 0.5]);
      k.floatToHalf(x, n, room(k, n * 2));
      return [k.sumSquares(x, n), k.selectAbs(x, n, 100_000), k.selectAbs(x, n, n - 1), k.selectAbs(x, 900, 450)];
    });
  });
});
