/** @file Half-quadratic refinement of scales and zeros, and the kernels of codebooks. */
import { divisor4, MAGIC, orderKey } from "./common";

// @ts-ignore: decorator
@inline function total(v: v128): f32 {
  return (f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1)) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/** The last one to three elements; the other lanes are 0. */
// @ts-ignore: decorator
@inline function loadTail(p: usize, end: usize): v128 {
  let v = v128.load32_zero(p);
  if (p + 4 < end) v = v128.load32_lane(p, v, 1, 4);
  if (p + 8 < end) v = v128.load32_lane(p, v, 2, 8);
  return v;
}

/** Constants in memory, one after another at `sums + 16`: literals in a loop would be rebuilt in every round. */
function putConstants(at: usize): void {
  store<f32>(at, MAGIC);
  store<f32>(at, 1e-30, 4);
  store<i32>(at, 0x3f800000, 8);
  store<i32>(at, 0x80000000, 12);
  store<i32>(at, -1, 16);
}

/** One iteration's three sums over one run, at `sums`. */
function hqqSums(
  x: usize, end: usize, scale: f32, zero: f32, qmin: f32, qmax: f32, mode: i32, inverseBeta: f32, power: i32, sums: usize,
): void {
  const magic = v128.load32_splat(sums, 16);
  const least = v128.load32_splat(sums, 20);
  const one = v128.load32_splat(sums, 24);
  const signBit = v128.load32_splat(sums, 28);
  let mask = v128.load32_splat(sums, 32);
  const divisor = divisor4(f32x4.splat(scale));
  const z = f32x4.splat(zero);
  const lo = f32x4.splat(qmin);
  const hi = f32x4.splat(qmax);
  const weight = f32x4.splat(inverseBeta);
  const exponent = i32x4.splat(power);
  const none = f32x4.splat(0);
  let first = none;
  let second = none;
  let third = none;
  for (; x < end; x += 16) {
    let v: v128;
    if (x + 16 <= end) v = v128.load(x);
    else {
      v = loadTail(x, end);
      mask = i32x4(-1, x + 4 < end ? -1 : 0, x + 8 < end ? -1 : 0, 0);
    }
    const t = f32x4.div(v, divisor);
    const clamped = f32x4.pmin(hi, f32x4.pmax(lo, f32x4.add(t, z)));
    const q = f32x4.sub(f32x4.add(clamped, magic), magic);
    const r = f32x4.sub(q, z);
    const d = f32x4.sub(t, r);
    const size = v128.andnot(d, signBit);
    // size^exponent: the bits of a float, less those of 1, are its logarithm to within 0.09.
    const log = i32x4.shr_s(i32x4.sub(f32x4.pmax(size, least), one), 8);
    const threshold = f32x4.mul(weight, i32x4.add(i32x4.mul(log, exponent), one));
    const kept = f32x4.pmax(none, f32x4.sub(size, threshold));
    const target = f32x4.sub(t, v128.or(kept, v128.and(d, signBit)));
    first = f32x4.add(first, v128.and(size, mask));
    if (mode == 0) second = f32x4.add(second, v128.and(f32x4.sub(q, target), mask));
    else {
      second = f32x4.add(second, v128.and(f32x4.mul(r, target), mask));
      third = f32x4.add(third, v128.and(f32x4.mul(r, r), mask));
    }
  }
  store<f32>(sums, total(first));
  store<f32>(sums, total(second), 4);
  store<f32>(sums, total(third), 8);
}

/** Refines scale (mode 1) or zero (mode 0) of each run while the error falls. */
export function hqqRuns(
  x: usize, runLength: usize, count: usize, scales: usize, zeros: usize, errors: usize, qmin: i32, qmax: i32, mode: i32,
  iterations: i32, beta: f32, kappa: f32, power: i32, sums: usize,
): void {
  putConstants(sums + 16);
  for (const stop = scales + (count << 2); scales < stop; scales += 4, zeros += 4, errors += 4) {
    const end = x + (runLength << 2);
    let scale = load<f32>(scales);
    let zero = load<f32>(zeros);
    let bestScale = scale;
    let bestZero = zero;
    let best = f32(Infinity);
    let weight = beta;
    for (let i = 0; i < iterations; i++) {
      hqqSums(x, end, scale, zero, f32(qmin), f32(qmax), mode, f32(1) / weight, power, sums);
      const error = abs<f32>(scale) * load<f32>(sums);
      if (!(error < best)) break;
      const settled = error > best * f32(0.998);
      best = error;
      bestScale = scale;
      bestZero = zero;
      if (settled) break;
      if (mode == 0) zero = load<f32>(sums, 4) / f32(runLength);
      else {
        const factor = load<f32>(sums, 4) / load<f32>(sums, 8);
        if (factor > 0) scale = scale * factor;
      }
      weight = weight * kappa;
    }
    store<f32>(scales, bestScale);
    store<f32>(zeros, bestZero);
    store<f32>(errors, best);
    x = end;
  }
}

export function histogramOrdered(x: usize, n: usize, counts: usize, sums: usize): void {
  for (const end = x + (n << 2); x < end; x += 4) {
    const bin = u32(orderKey(load<i32>(x)) ^ 0x80000000) >>> 16;
    const count = counts + (bin << 2);
    const sum = sums + (bin << 3);
    store<u32>(count, load<u32>(count) + 1);
    store<f64>(sum, load<f64>(sum) + f64(load<f32>(x)));
  }
}

/** How many ascending bounds are below each element: compared with all while they are few, searched otherwise. */
export function assignBounds(x: usize, n: usize, bounds: usize, m: usize, out: usize): void {
  const end = x + (n << 2);
  const boundsEnd = bounds + (m << 2);
  if (m <= 24) {
    for (const end4 = x + ((n & ~3) << 2); x < end4; x += 16, out += 4) {
      const v = v128.load(x);
      let count = i32x4.splat(0);
      for (let b = bounds; b < boundsEnd; b += 4) count = i32x4.sub(count, f32x4.lt(v128.load32_splat(b), v));
      const half = i16x8.narrow_i32x4_u(count, count);
      store<i32>(out, i32x4.extract_lane(i8x16.narrow_i16x8_u(half, half), 0));
    }
  }
  for (; x < end; x += 4, out++) {
    const v = load<f32>(x);
    let low: usize = 0;
    let high = m;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (load<f32>(bounds + (middle << 2)) < v) low = middle + 1;
      else high = middle;
    }
    store<u8>(out, u8(low));
  }
}
