/** @file Reference of quantize, dequantize and the scale search. Contract: RawKernels. */
import { hashLow } from "../../util/rng.ts";
import type { QuantizeColumnsArgs, QuantizeRunsArgs, RawKernels, Views } from "../raw.ts";
import { clampedQuotient, divisorOf, nearestEven } from "./rounding.ts";

type Quantize = Pick<
  RawKernels,
  | "qparams"
  | "quantizeRunsNearest"
  | "quantizeRunsHalfUp"
  | "quantizeRunsStochastic"
  | "quantizeColumnsNearest"
  | "quantizeColumnsHalfUp"
  | "quantizeColumnsStochastic"
  | "dequantizeRuns"
  | "dequantizeColumns"
  | "errorRuns"
  | "errorColumns"
>;

/** t and the low word of the element's index to an integer. */
type Round = (t: number, index: number) => number;

const halfUp: Round = (t) => {
  const whole = Math.floor(t);
  return Math.fround(t - whole) >= 0.5 ? whole + 1 : whole;
};
const stochastic =
  (k1: number, k2: number): Round =>
  (t, index) => {
    const whole = Math.floor(t);
    return (hashLow(index, k1, k2) >>> 8) / 0x1000000 < Math.fround(t - whole) ? whole + 1 : whole;
  };

export function quantize(views: () => Views): Quantize {
  const runs = (round: Round, args: QuantizeRunsArgs, start = 0) => {
    const [x, runLength, count, scales, zeroPoints, qmin, qmax, out] = args;
    const { f32, i32, u8 } = views();
    for (let i = 0, p = 0; i < count; i++) {
      const divisor = divisorOf(f32[(scales >>> 2) + i] as number);
      const zp = i32[(zeroPoints >>> 2) + i] as number;
      for (let k = 0; k < runLength; k++, p++) {
        const t = clampedQuotient(f32[(x >>> 2) + p] as number, divisor, qmin - zp, qmax - zp);
        u8[out + p] = round(t, start + p) + zp;
      }
    }
  };
  const columns = (round: Round, args: QuantizeColumnsArgs, start = 0) => {
    const [x, rows, n, stride, scales, zeroPoints, qmin, qmax, out, outStride] = args;
    const { f32, i32, u8 } = views();
    for (let r = 0; r < rows; r++) {
      for (let j = 0; j < n; j++) {
        const divisor = divisorOf(f32[(scales >>> 2) + j] as number);
        const zp = i32[(zeroPoints >>> 2) + j] as number;
        const at = r * stride + j;
        const t = clampedQuotient(f32[(x >>> 2) + at] as number, divisor, qmin - zp, qmax - zp);
        u8[out + r * outStride + j] = round(t, start + at) + zp;
      }
    }
  };
  const squaredError = (x: number, scale: number, lo: number, hi: number) => {
    const q = nearestEven(clampedQuotient(x, divisorOf(scale), lo, hi));
    const d = Math.fround(x - Math.fround(q * scale));
    return Math.fround(d * d);
  };

  return {
    qparams(minIn, maxIn, n, qmin, qmax, mode, scales, zeroPoints) {
      const { f32, i32 } = views();
      const half = (qmax - qmin + 1) >> 1;
      for (let i = 0; i < n; i++) {
        const min = f32[(minIn >>> 2) + i] as number;
        const max = f32[(maxIn >>> 2) + i] as number;
        let scale: number;
        let zeroPoint = qmin + half;
        if (mode === 0) scale = (Math.abs(max) > Math.abs(min) ? max : min) / -half;
        else if (mode === 1) scale = Math.max(Math.abs(max), Math.abs(min)) / (half - 1);
        else {
          const low = Math.min(min, 0);
          const width = Math.min(Math.fround(Math.max(max, 0) - low), 3.4028234663852886e38);
          scale = Math.fround(width / (qmax - qmin));
          const shift = scale === 0 ? 0 : Math.fround(low / scale);
          zeroPoint = Math.min(Math.max(nearestEven(Math.fround(qmin - shift)), qmin), qmax);
        }
        f32[(scales >>> 2) + i] = scale;
        i32[(zeroPoints >>> 2) + i] = zeroPoint;
      }
    },
    quantizeRunsNearest: (...args) => runs(nearestEven, args),
    quantizeRunsHalfUp: (...args) => runs(halfUp, args),
    quantizeRunsStochastic(...args) {
      const [x, runLength, count, scales, zeroPoints, qmin, qmax, out, start, k1, k2] = args;
      runs(stochastic(k1, k2), [x, runLength, count, scales, zeroPoints, qmin, qmax, out], start);
    },
    quantizeColumnsNearest: (...args) => columns(nearestEven, args),
    quantizeColumnsHalfUp: (...args) => columns(halfUp, args),
    quantizeColumnsStochastic(...args) {
      const [x, rows, n, stride, scales, zeroPoints, qmin, qmax, out, outStride, start, k1, k2] = args;
      columns(stochastic(k1, k2), [x, rows, n, stride, scales, zeroPoints, qmin, qmax, out, outStride], start);
    },
    dequantizeRuns(codes, runLength, count, scales, zeroPoints, out, signed) {
      const { f32, i32, i8, u8 } = views();
      const source = signed ? i8 : u8;
      for (let i = 0, p = 0; i < count; i++) {
        const scale = f32[(scales >>> 2) + i] as number;
        const zp = i32[(zeroPoints >>> 2) + i] as number;
        for (let k = 0; k < runLength; k++, p++) f32[(out >>> 2) + p] = ((source[codes + p] as number) - zp) * scale;
      }
    },
    dequantizeColumns(codes, rows, n, codesStride, scales, zeroPoints, out, outStride, signed) {
      const { f32, i32, i8, u8 } = views();
      const source = signed ? i8 : u8;
      for (let r = 0; r < rows; r++) {
        for (let j = 0; j < n; j++) {
          const zp = i32[(zeroPoints >>> 2) + j] as number;
          const code = source[codes + r * codesStride + j] as number;
          f32[(out >>> 2) + r * outStride + j] = (code - zp) * (f32[(scales >>> 2) + j] as number);
        }
      }
    },
    errorRuns(x, runLength, count, base, zeroPoints, qmin, qmax, ratios, candidates, err) {
      const { f32, i32, f64 } = views();
      const whole = runLength - (runLength % 4);
      const lanes = new Float32Array(4);
      for (let i = 0; i < count; i++) {
        const zp = i32[(zeroPoints >>> 2) + i] as number;
        const p = (x >>> 2) + i * runLength;
        for (let c = 0; c < candidates; c++) {
          const scale = Math.fround((f32[(base >>> 2) + i] as number) * (f32[(ratios >>> 2) + c] as number));
          const slot = (err >>> 3) + i * candidates + c;
          const term = (k: number) => squaredError(f32[p + k] as number, scale, qmin - zp, qmax - zp);
          let sum = f64[slot] as number;
          for (let from = 0; from < whole; from += 256) {
            lanes.fill(0);
            for (let k = from; k < Math.min(from + 256, whole); k++) lanes[k & 3] = (lanes[k & 3] as number) + term(k);
            const [a, b, c, d] = lanes as unknown as [number, number, number, number];
            sum += a + b + (c + d);
          }
          for (let k = whole; k < runLength; k++) sum += term(k);
          f64[slot] = sum;
        }
      }
    },
    errorColumns(x, rows, n, stride, base, zeroPoints, qmin, qmax, ratios, candidates, err) {
      const { f32, i32, f64 } = views();
      for (let j = 0; j < n; j++) {
        const zp = i32[(zeroPoints >>> 2) + j] as number;
        for (let c = 0; c < candidates; c++) {
          const scale = Math.fround((f32[(base >>> 2) + j] as number) * (f32[(ratios >>> 2) + c] as number));
          const slot = (err >>> 3) + c * n + j;
          for (let from = 0; from < rows; from += 64) {
            let sum = 0;
            for (let r = from; r < Math.min(from + 64, rows); r++) {
              const at = (x >>> 2) + r * stride + j;
              sum = Math.fround(sum + squaredError(f32[at] as number, scale, qmin - zp, qmax - zp));
            }
            f64[slot] = (f64[slot] as number) + sum;
          }
        }
      }
    },
  };
}
