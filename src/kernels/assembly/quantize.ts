/** @file Floats to integer codes and back, for runs (contiguous slices) and columns (one slice per column). */
import { code4, divisor4, HALF_UP, lowBytes16, lowBytes4, NEAREST, STOCHASTIC } from "./common";

/** Modes of qparams. */
const FULL = 0;
const RESTRICTED = 1;
const ASYMMETRIC = 2;

// @ts-ignore: decorator
@inline function scale4(mode: i32, min: v128, max: v128, qmin: i32, qmax: i32): v128 {
  const half = (qmax - qmin + 1) >> 1;
  const low = f32x4.abs(min);
  const high = f32x4.abs(max);
  if (mode == FULL) return f32x4.div(v128.bitselect(max, min, f32x4.gt(high, low)), f32x4.splat(f32(-half)));
  if (mode == RESTRICTED) return f32x4.div(f32x4.max(high, low), f32x4.splat(f32(half - 1)));
  const zero = f32x4.splat(0);
  const width = f32x4.min(f32x4.sub(f32x4.max(max, zero), f32x4.min(min, zero)), f32x4.splat(3.4028234663852886e38));
  return f32x4.div(width, f32x4.splat(f32(qmax - qmin)));
}

// @ts-ignore: decorator
@inline function zeroPoint4(mode: i32, min: v128, scale: v128, qmin: i32, qmax: i32): v128 {
  if (mode != ASYMMETRIC) return i32x4.splat(qmin + ((qmax - qmin + 1) >> 1));
  const lo = f32x4.splat(f32(qmin));
  const shift = f32x4.div(f32x4.min(min, f32x4.splat(0)), divisor4(scale));
  const z = f32x4.nearest(f32x4.sub(lo, shift));
  return i32x4.trunc_sat_f32x4_s(f32x4.min(f32x4.max(z, lo), f32x4.splat(f32(qmax))));
}

/** Scale and zero point of `n` slices from their ranges; see RawKernels.qparams. */
export function qparams(
  minIn: usize, maxIn: usize, n: usize, qmin: i32, qmax: i32, mode: i32, scales: usize, zeroPoints: usize,
): void {
  for (const end = minIn + ((n & ~3) << 2); minIn < end; minIn += 16, maxIn += 16, scales += 16, zeroPoints += 16) {
    const min = v128.load(minIn);
    const scale = scale4(mode, min, v128.load(maxIn), qmin, qmax);
    v128.store(scales, scale);
    v128.store(zeroPoints, zeroPoint4(mode, min, scale, qmin, qmax));
  }
  for (const end = minIn + ((n & 3) << 2); minIn < end; minIn += 4, maxIn += 4, scales += 4, zeroPoints += 4) {
    const min = v128.load32_splat(minIn);
    const scale = scale4(mode, min, v128.load32_splat(maxIn), qmin, qmax);
    store<i32>(scales, i32x4.extract_lane(scale, 0));
    store<i32>(zeroPoints, i32x4.extract_lane(zeroPoint4(mode, min, scale, qmin, qmax), 0));
  }
}

// @ts-ignore: decorator
@inline function runs(
  mode: i32, x: usize, runLength: usize, count: usize, scales: usize, zeroPoints: usize, qmin: i32, qmax: i32, out: usize,
  start: i32, k1: i32, k2: i32,
): void {
  const key1 = i32x4.splat(k1);
  const key2 = i32x4.splat(k2);
  const four = i32x4.splat(4);
  for (const scalesEnd = scales + (count << 2); scales < scalesEnd; scales += 4, zeroPoints += 4, start += i32(runLength)) {
    const divisor = divisor4(v128.load32_splat(scales));
    const z = load<i32>(zeroPoints);
    const zp = i32x4.splat(z);
    const lo = f32x4.splat(f32(qmin - z));
    const hi = f32x4.splat(f32(qmax - z));
    const end = x + (runLength << 2);
    let counter = i32x4.add(i32x4.splat(start), i32x4(0, 1, 2, 3));
    const out0 = out;
    const length = runLength;
    for (const stop = x + ((runLength & ~15) << 2); x < stop; x += 64, out += 16) {
      const a = code4(mode, v128.load(x), divisor, lo, hi, zp, counter, key1, key2);
      if (mode == STOCHASTIC) counter = i32x4.add(counter, four);
      const b = code4(mode, v128.load(x, 16), divisor, lo, hi, zp, counter, key1, key2);
      if (mode == STOCHASTIC) counter = i32x4.add(counter, four);
      const c = code4(mode, v128.load(x, 32), divisor, lo, hi, zp, counter, key1, key2);
      if (mode == STOCHASTIC) counter = i32x4.add(counter, four);
      const d = code4(mode, v128.load(x, 48), divisor, lo, hi, zp, counter, key1, key2);
      if (mode == STOCHASTIC) counter = i32x4.add(counter, four);
      v128.store(out, lowBytes16(a, b, c, d));
    }
    for (const stop = x + ((end - x) & ~15); x < stop; x += 16, out += 4) {
      store<i32>(out, lowBytes4(code4(mode, v128.load(x), divisor, lo, hi, zp, counter, key1, key2)));
      if (mode == STOCHASTIC) counter = i32x4.add(counter, four);
    }
    for (; x < end; x += 4, out += 1) {
      store<u8>(out, lowBytes4(code4(mode, v128.load32_splat(x), divisor, lo, hi, zp, counter, key1, key2)));
      if (mode == STOCHASTIC) counter = i32x4.add(counter, i32x4.splat(1));
    }
    out = out0 + length;
  }
}

export function quantizeRunsNearest(
  x: usize, runLength: usize, count: usize, scales: usize, zeroPoints: usize, qmin: i32, qmax: i32, out: usize,
): void {
  runs(NEAREST, x, runLength, count, scales, zeroPoints, qmin, qmax, out, 0, 0, 0);
}

export function quantizeRunsHalfUp(
  x: usize, runLength: usize, count: usize, scales: usize, zeroPoints: usize, qmin: i32, qmax: i32, out: usize,
): void {
  runs(HALF_UP, x, runLength, count, scales, zeroPoints, qmin, qmax, out, 0, 0, 0);
}

export function quantizeRunsStochastic(
  x: usize, runLength: usize, count: usize, scales: usize, zeroPoints: usize, qmin: i32, qmax: i32, out: usize,
  start: i32, k1: i32, k2: i32,
): void {
  runs(STOCHASTIC, x, runLength, count, scales, zeroPoints, qmin, qmax, out, start, k1, k2);
}

// @ts-ignore: decorator
@inline function column4(
  mode: i32, x: v128, scales: usize, zeroPoints: usize, qmin: v128, qmax: v128, counter: v128, k1: v128, k2: v128,
): v128 {
  const zp = v128.load(zeroPoints);
  const lo = f32x4.convert_i32x4_s(i32x4.sub(qmin, zp));
  const hi = f32x4.convert_i32x4_s(i32x4.sub(qmax, zp));
  return code4(mode, x, divisor4(v128.load(scales)), lo, hi, zp, counter, k1, k2);
}

// @ts-ignore: decorator
@inline function columns(
  mode: i32, x: usize, rows: usize, n: usize, stride: usize, scales: usize, zeroPoints: usize, qmin: i32, qmax: i32,
  out: usize, outStride: usize, start: i32, k1: i32, k2: i32,
): void {
  const key1 = i32x4.splat(k1);
  const key2 = i32x4.splat(k2);
  const low = i32x4.splat(qmin);
  const high = i32x4.splat(qmax);
  const four = i32x4.splat(4);
  for (; rows > 0; rows--, x += stride << 2, out += outStride, start += i32(stride)) {
    let counter = i32x4.add(i32x4.splat(start), i32x4(0, 1, 2, 3));
    let p = x;
    let s = scales;
    let z = zeroPoints;
    let o = out;
    for (const stop = x + ((n & ~15) << 2); p < stop; p += 64, s += 64, z += 64, o += 16) {
      const a = column4(mode, v128.load(p), s, z, low, high, counter, key1, key2);
      if (mode == STOCHASTIC) counter = i32x4.add(counter, four);
      const b = column4(mode, v128.load(p, 16), s + 16, z + 16, low, high, counter, key1, key2);
      if (mode == STOCHASTIC) counter = i32x4.add(counter, four);
      const c = column4(mode, v128.load(p, 32), s + 32, z + 32, low, high, counter, key1, key2);
      if (mode == STOCHASTIC) counter = i32x4.add(counter, four);
      const d = column4(mode, v128.load(p, 48), s + 48, z + 48, low, high, counter, key1, key2);
      if (mode == STOCHASTIC) counter = i32x4.add(counter, four);
      v128.store(o, lowBytes16(a, b, c, d));
    }
    for (const stop = x + ((n & ~3) << 2); p < stop; p += 16, s += 16, z += 16, o += 4) {
      store<i32>(o, lowBytes4(column4(mode, v128.load(p), s, z, low, high, counter, key1, key2)));
      if (mode == STOCHASTIC) counter = i32x4.add(counter, four);
    }
    for (const stop = x + (n << 2); p < stop; p += 4, s += 4, z += 4, o += 1) {
      const zp = v128.load32_splat(z);
      const lo = f32x4.convert_i32x4_s(i32x4.sub(low, zp));
      const hi = f32x4.convert_i32x4_s(i32x4.sub(high, zp));
      const divisor = divisor4(v128.load32_splat(s));
      store<u8>(o, lowBytes4(code4(mode, v128.load32_splat(p), divisor, lo, hi, zp, counter, key1, key2)));
      if (mode == STOCHASTIC) counter = i32x4.add(counter, i32x4.splat(1));
    }
  }
}

export function quantizeColumnsNearest(
  x: usize, rows: usize, n: usize, stride: usize, scales: usize, zeroPoints: usize, qmin: i32, qmax: i32, out: usize,
  outStride: usize,
): void {
  columns(NEAREST, x, rows, n, stride, scales, zeroPoints, qmin, qmax, out, outStride, 0, 0, 0);
}

export function quantizeColumnsHalfUp(
  x: usize, rows: usize, n: usize, stride: usize, scales: usize, zeroPoints: usize, qmin: i32, qmax: i32, out: usize,
  outStride: usize,
): void {
  columns(HALF_UP, x, rows, n, stride, scales, zeroPoints, qmin, qmax, out, outStride, 0, 0, 0);
}

export function quantizeColumnsStochastic(
  x: usize, rows: usize, n: usize, stride: usize, scales: usize, zeroPoints: usize, qmin: i32, qmax: i32, out: usize,
  outStride: usize, start: i32, k1: i32, k2: i32,
): void {
  columns(STOCHASTIC, x, rows, n, stride, scales, zeroPoints, qmin, qmax, out, outStride, start, k1, k2);
}

// @ts-ignore: decorator
@inline function widen(signed: i32, codes: usize): v128 {
  return signed ? v128.load8x8_s(codes) : v128.load8x8_u(codes);
}

// @ts-ignore: decorator
@inline function loadCode(signed: i32, codes: usize): i32 {
  return signed ? i32(load<i8>(codes)) : i32(load<u8>(codes));
}

// @ts-ignore: decorator
@inline function value4(code: v128, zp: v128, scale: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(code, zp)), scale);
}

// @ts-ignore: decorator
@inline function runValues(
  signed: i32, codes: usize, runLength: usize, count: usize, scales: usize, zeroPoints: usize, out: usize,
): void {
  for (const scalesEnd = scales + (count << 2); scales < scalesEnd; scales += 4, zeroPoints += 4) {
    const scale = v128.load32_splat(scales);
    const zp = v128.load32_splat(zeroPoints);
    const end = codes + runLength;
    for (const stop = codes + (runLength & ~7); codes < stop; codes += 8, out += 32) {
      const q = widen(signed, codes);
      v128.store(out, value4(i32x4.extend_low_i16x8_s(q), zp, scale));
      v128.store(out, value4(i32x4.extend_high_i16x8_s(q), zp, scale), 16);
    }
    for (; codes < end; codes += 1, out += 4) {
      store<f32>(out, f32(loadCode(signed, codes) - load<i32>(zeroPoints)) * load<f32>(scales));
    }
  }
}

export function dequantizeRuns(
  codes: usize, runLength: usize, count: usize, scales: usize, zeroPoints: usize, out: usize, signed: i32,
): void {
  if (signed) runValues(1, codes, runLength, count, scales, zeroPoints, out);
  else runValues(0, codes, runLength, count, scales, zeroPoints, out);
}

// @ts-ignore: decorator
@inline function columnValues(
  signed: i32, codes: usize, rows: usize, n: usize, codesStride: usize, scales: usize, zeroPoints: usize, out: usize,
  outStride: usize,
): void {
  for (; rows > 0; rows--, codes += codesStride, out += outStride << 2) {
    let at: usize = 0;
    for (const stop = n & ~7; at < stop; at += 8) {
      const q = widen(signed, codes + at);
      const o = out + (at << 2);
      const s = scales + (at << 2);
      const z = zeroPoints + (at << 2);
      v128.store(o, value4(i32x4.extend_low_i16x8_s(q), v128.load(z), v128.load(s)));
      v128.store(o, value4(i32x4.extend_high_i16x8_s(q), v128.load(z, 16), v128.load(s, 16)), 16);
    }
    for (; at < n; at += 1) {
      const zp = load<i32>(zeroPoints + (at << 2));
      store<f32>(out + (at << 2), f32(loadCode(signed, codes + at) - zp) * load<f32>(scales + (at << 2)));
    }
  }
}

export function dequantizeColumns(
  codes: usize, rows: usize, n: usize, codesStride: usize, scales: usize, zeroPoints: usize, out: usize,
  outStride: usize, signed: i32,
): void {
  if (signed) columnValues(1, codes, rows, n, codesStride, scales, zeroPoints, out, outStride);
  else columnValues(0, codes, rows, n, codesStride, scales, zeroPoints, out, outStride);
}
