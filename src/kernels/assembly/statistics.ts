/** @file Min, max, absmax, sums of squares and radix histograms. Ranges are kept as integers: order-free, and NaN cannot hide. */
import { anyNonFinite, isNonFinite, orderKey, orderKey4 } from "./common";

/** out[i] = max(out[i], |x|) over run i. Returns 1 if an element so far is not finite. */
export function absMaxRuns(x: usize, runLength: usize, count: usize, out: usize): i32 {
  const bytes = runLength << 2;
  const mask = i32x4.splat(0x7fffffff);
  let top = 0;
  for (const outEnd = out + (count << 2); out < outEnd; out += 4) {
    const end = x + bytes;
    let m = load<i32>(out);
    if (bytes >= 16) {
      let a = i32x4.splat(0);
      let b = a;
      for (const stop = x + (bytes & ~63); x < stop; x += 64) {
        a = i32x4.max_s(a, v128.and(v128.load(x), mask));
        b = i32x4.max_s(b, v128.and(v128.load(x, 16), mask));
        a = i32x4.max_s(a, v128.and(v128.load(x, 32), mask));
        b = i32x4.max_s(b, v128.and(v128.load(x, 48), mask));
      }
      for (const stop = x + ((end - x) & ~15); x < stop; x += 16) a = i32x4.max_s(a, v128.and(v128.load(x), mask));
      if (x < end) b = i32x4.max_s(b, v128.and(v128.load(end - 16), mask));
      a = i32x4.max_s(a, b);
      a = i32x4.max_s(a, i8x16.shuffle(a, a, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
      m = max(m, max(i32x4.extract_lane(a, 0), i32x4.extract_lane(a, 1)));
    } else {
      for (; x < end; x += 4) m = max(m, load<i32>(x) & 0x7fffffff);
    }
    x = end;
    store<i32>(out, m);
    top = max(top, m);
  }
  return top >= 0x7f800000 ? 1 : 0;
}

/** min[i], max[i] over run i, accumulating. Returns 1 if an element so far is not finite. */
export function minMaxRuns(x: usize, runLength: usize, count: usize, minOut: usize, maxOut: usize): i32 {
  const bytes = runLength << 2;
  let bad = 0;
  for (const outEnd = minOut + (count << 2); minOut < outEnd; minOut += 4, maxOut += 4) {
    const end = x + bytes;
    let low = orderKey(load<i32>(minOut));
    let high = orderKey(load<i32>(maxOut));
    if (bytes >= 16) {
      let a = orderKey4(v128.load(x));
      let b = a;
      let c = a;
      let d = a;
      for (const stop = x + (bytes & ~31); x < stop; x += 32) {
        const v = orderKey4(v128.load(x));
        const w = orderKey4(v128.load(x, 16));
        a = i32x4.min_s(a, v);
        b = i32x4.max_s(b, v);
        c = i32x4.min_s(c, w);
        d = i32x4.max_s(d, w);
      }
      if (x < end) {
        const v = orderKey4(v128.load(end - 16));
        a = i32x4.min_s(a, v);
        b = i32x4.max_s(b, v);
        if (x + 16 < end) {
          const w = orderKey4(v128.load(x));
          c = i32x4.min_s(c, w);
          d = i32x4.max_s(d, w);
        }
      }
      a = i32x4.min_s(a, c);
      b = i32x4.max_s(b, d);
      a = i32x4.min_s(a, i8x16.shuffle(a, a, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
      b = i32x4.max_s(b, i8x16.shuffle(b, b, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
      low = min(low, min(i32x4.extract_lane(a, 0), i32x4.extract_lane(a, 1)));
      high = max(high, max(i32x4.extract_lane(b, 0), i32x4.extract_lane(b, 1)));
    } else {
      for (; x < end; x += 4) {
        const v = orderKey(load<i32>(x));
        low = min(low, v);
        high = max(high, v);
      }
    }
    x = end;
    low = orderKey(low);
    high = orderKey(high);
    store<i32>(minOut, low);
    store<i32>(maxOut, high);
    bad |= i32(isNonFinite(low)) | i32(isNonFinite(high));
  }
  return bad;
}

/** out[j] = max(out[j], |x|) over column j of a [rows, n] block whose rows are `stride` elements apart. */
export function absMaxColumns(x: usize, rows: usize, n: usize, stride: usize, out: usize): i32 {
  const pitch = stride << 2;
  const mask = i32x4.splat(0x7fffffff);
  const last = (n << 2) - 16;
  for (; rows >= 4 && n >= 4; rows -= 4, x += pitch << 2) {
    let at: usize = 0;
    while (true) {
      const p = x + at;
      let m = i32x4.max_s(v128.load(out + at), v128.and(v128.load(p), mask));
      const w = i32x4.max_s(v128.and(v128.load(p + pitch), mask), v128.and(v128.load(p + (pitch << 1)), mask));
      m = i32x4.max_s(i32x4.max_s(m, w), v128.and(v128.load(p + pitch * 3), mask));
      v128.store(out + at, m);
      if (at == last) break;
      at = min(at + 16, last);
    }
  }
  for (; rows > 0; rows--, x += pitch) {
    for (let at: usize = 0; at < n << 2; at += 4) {
      store<i32>(out + at, max(load<i32>(out + at), load<i32>(x + at) & 0x7fffffff));
    }
  }
  return anyNonFinite(out, n);
}

/** min[j], max[j] over column j, accumulating. */
export function minMaxColumns(x: usize, rows: usize, n: usize, stride: usize, minOut: usize, maxOut: usize): i32 {
  const pitch = stride << 2;
  const last = (n << 2) - 16;
  for (; rows >= 4 && n >= 4; rows -= 4, x += pitch << 2) {
    let at: usize = 0;
    while (true) {
      const p = x + at;
      const a = orderKey4(v128.load(p));
      const b = orderKey4(v128.load(p + pitch));
      const c = orderKey4(v128.load(p + (pitch << 1)));
      const d = orderKey4(v128.load(p + pitch * 3));
      const low = i32x4.min_s(i32x4.min_s(a, b), i32x4.min_s(c, d));
      const high = i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d));
      v128.store(minOut + at, orderKey4(i32x4.min_s(low, orderKey4(v128.load(minOut + at)))));
      v128.store(maxOut + at, orderKey4(i32x4.max_s(high, orderKey4(v128.load(maxOut + at)))));
      if (at == last) break;
      at = min(at + 16, last);
    }
  }
  for (; rows > 0; rows--, x += pitch) {
    for (let at: usize = 0; at < n << 2; at += 4) {
      const v = orderKey(load<i32>(x + at));
      store<i32>(minOut + at, orderKey(min(v, orderKey(load<i32>(minOut + at)))));
      store<i32>(maxOut + at, orderKey(max(v, orderKey(load<i32>(maxOut + at)))));
    }
  }
  return anyNonFinite(minOut, n) | anyNonFinite(maxOut, n);
}

/** Sum of squares in f64: lane l takes elements l, l + 4, ...; (l0 + l2) + (l1 + l3), then the last n mod 4 in order. */
export function sumSquares(x: usize, n: usize): f64 {
  let a = f64x2.splat(0);
  let b = a;
  for (const stop = x + ((n & ~3) << 2); x < stop; x += 16) {
    const v = v128.load(x);
    const low = f64x2.promote_low_f32x4(v);
    const high = f64x2.promote_low_f32x4(i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    a = f64x2.add(a, f64x2.mul(low, low));
    b = f64x2.add(b, f64x2.mul(high, high));
  }
  a = f64x2.add(a, b);
  let sum = f64x2.extract_lane(a, 0) + f64x2.extract_lane(a, 1);
  for (const end = x + ((n & 3) << 2); x < end; x += 4) {
    const v = f64(load<f32>(x));
    sum += v * v;
  }
  return sum;
}

/** Sum of (a - b)^2 in f64, the difference taken in f64 too; order as in sumSquares. */
export function sumSquaredDifference(x: usize, y: usize, n: usize): f64 {
  let a = f64x2.splat(0);
  let b = a;
  for (const stop = x + ((n & ~3) << 2); x < stop; x += 16, y += 16) {
    const v = v128.load(x);
    const w = v128.load(y);
    const low = f64x2.sub(f64x2.promote_low_f32x4(v), f64x2.promote_low_f32x4(w));
    const high = f64x2.sub(
      f64x2.promote_low_f32x4(i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)),
      f64x2.promote_low_f32x4(i8x16.shuffle(w, w, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)),
    );
    a = f64x2.add(a, f64x2.mul(low, low));
    b = f64x2.add(b, f64x2.mul(high, high));
  }
  a = f64x2.add(a, b);
  let sum = f64x2.extract_lane(a, 0) + f64x2.extract_lane(a, 1);
  for (const end = x + ((n & 3) << 2); x < end; x += 4, y += 4) {
    const v = f64(load<f32>(x)) - f64(load<f32>(y));
    sum += v * v;
  }
  return sum;
}

// @ts-ignore: decorator
@inline function increment(slot: usize): void {
  store<u32>(slot, load<u32>(slot) + 1);
}

/** Counts the top 16 bits of |x| into 65,536 u32 bins. */
export function histogramTop(x: usize, n: usize, bins: usize): void {
  for (const stop = x + ((n & ~3) << 2); x < stop; x += 16) {
    increment(bins + (((load<u32>(x) & 0x7fffffff) >>> 15) << 2));
    increment(bins + (((load<u32>(x, 4) & 0x7fffffff) >>> 15) << 2));
    increment(bins + (((load<u32>(x, 8) & 0x7fffffff) >>> 15) << 2));
    increment(bins + (((load<u32>(x, 12) & 0x7fffffff) >>> 15) << 2));
  }
  for (const end = x + ((n & 3) << 2); x < end; x += 4) increment(bins + (((load<u32>(x) & 0x7fffffff) >>> 15) << 2));
}

/** Counts the 65,536 magnitudes from the one with the bits `from` on into as many u32 bins. Returns how many are less. */
export function histogramFrom(x: usize, n: usize, from: u32, bins: usize): u32 {
  const first = i32x4.splat(from);
  const span = i32x4.splat(0x10000);
  const mask = i32x4.splat(0x7fffffff);
  let less = i32x4.splat(0);
  for (const stop = x + ((n & ~3) << 2); x < stop; x += 16) {
    const bits = v128.and(v128.load(x), mask);
    // A lane that holds is -1.
    less = i32x4.sub(less, i32x4.lt_s(bits, first));
    const hit = i32x4.lt_u(i32x4.sub(bits, first), span);
    if (!v128.any_true(hit)) continue;
    const lanes = i32x4.bitmask(hit);
    if (lanes & 1) increment(bins + (((load<u32>(x) & 0x7fffffff) - from) << 2));
    if (lanes & 2) increment(bins + (((load<u32>(x, 4) & 0x7fffffff) - from) << 2));
    if (lanes & 4) increment(bins + (((load<u32>(x, 8) & 0x7fffffff) - from) << 2));
    if (lanes & 8) increment(bins + (((load<u32>(x, 12) & 0x7fffffff) - from) << 2));
  }
  let below =
    i32x4.extract_lane(less, 0) + i32x4.extract_lane(less, 1) + i32x4.extract_lane(less, 2) + i32x4.extract_lane(less, 3);
  for (const end = x + ((n & 3) << 2); x < end; x += 4) {
    const bits = load<u32>(x) & 0x7fffffff;
    if (bits < from) below++;
    else if (bits - from < 0x10000) increment(bins + ((bits - from) << 2));
  }
  return below;
}
