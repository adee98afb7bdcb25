/** @file Squared rounding error of many candidate scales over one slice: the inner loop of the scale search. */
import { divisor4, MAGIC } from "./common";

/** (x - dequantize(quantize(x)))^2 of four elements, nearest rounding. */
// @ts-ignore: decorator
@inline function squaredError4(x: v128, divisor: v128, scale: v128, lo: v128, hi: v128): v128 {
  const magic = f32x4.splat(MAGIC);
  const t = f32x4.pmin(hi, f32x4.pmax(lo, f32x4.div(x, divisor)));
  const d = f32x4.sub(x, f32x4.mul(f32x4.sub(f32x4.add(t, magic), magic), scale));
  return f32x4.mul(d, d);
}

/**
 * err[i * candidates + c] += error of run i with scale base[i] * ratio[c]. Every 256 elements: four f32 lanes (lane l takes
 * elements l, l + 4, ...), added as (l0 + l1) + (l2 + l3) in f64 to the sum, then the last n mod 4 elements in order.
 */
export function errorRuns(
  x: usize, runLength: usize, count: usize, base: usize, zeroPoints: usize, qmin: i32, qmax: i32, ratios: usize,
  candidates: usize, err: usize,
): void {
  for (const baseEnd = base + (count << 2); base < baseEnd; base += 4, zeroPoints += 4) {
    const zp = load<i32>(zeroPoints);
    const lo = f32x4.splat(f32(qmin - zp));
    const hi = f32x4.splat(f32(qmax - zp));
    const end = x + (runLength << 2);
    const end4 = x + ((runLength & ~3) << 2);
    for (let r = ratios, stop = ratios + (candidates << 2); r < stop; r += 4, err += 8) {
      const scale = f32x4.splat(load<f32>(base) * load<f32>(r));
      const divisor = divisor4(scale);
      let sum = load<f64>(err);
      let p = x;
      while (p < end4) {
        let acc = f32x4.splat(0);
        for (const blockEnd = p + min(end4 - p, 1024); p < blockEnd; p += 16) {
          acc = f32x4.add(acc, squaredError4(v128.load(p), divisor, scale, lo, hi));
        }
        sum += (f64(f32x4.extract_lane(acc, 0)) + f64(f32x4.extract_lane(acc, 1)))
          + (f64(f32x4.extract_lane(acc, 2)) + f64(f32x4.extract_lane(acc, 3)));
      }
      for (; p < end; p += 4) {
        sum += f64(f32x4.extract_lane(squaredError4(v128.load32_splat(p), divisor, scale, lo, hi), 0));
      }
      store<f64>(err, sum);
    }
    x = end;
  }
}

/** err[c * n + j] += error of column j with scale base[j] * ratio[c]: f32 over each 64 rows, added to the f64 sum. */
export function errorColumns(
  x: usize, rows: usize, n: usize, stride: usize, base: usize, zeroPoints: usize, qmin: i32, qmax: i32, ratios: usize,
  candidates: usize, err: usize,
): void {
  const pitch = stride << 2;
  let j: usize = 0;
  while (j < n) {
    const wide = j + 4 <= n;
    const zp = wide ? v128.load(zeroPoints + (j << 2)) : v128.load32_splat(zeroPoints + (j << 2));
    const first = wide ? v128.load(base + (j << 2)) : v128.load32_splat(base + (j << 2));
    const lo = f32x4.convert_i32x4_s(i32x4.sub(i32x4.splat(qmin), zp));
    const hi = f32x4.convert_i32x4_s(i32x4.sub(i32x4.splat(qmax), zp));
    let e = err + (j << 3);
    for (let r = ratios, stop = ratios + (candidates << 2); r < stop; r += 4, e += n << 3) {
      const scale = f32x4.mul(first, v128.load32_splat(r));
      const divisor = divisor4(scale);
      let p = x + (j << 2);
      let left = rows;
      while (left > 0) {
        const part = min(left, 64);
        left -= part;
        let acc = f32x4.splat(0);
        if (wide) {
          for (let k = part; k > 0; k--, p += pitch) {
            acc = f32x4.add(acc, squaredError4(v128.load(p), divisor, scale, lo, hi));
          }
          v128.store(e, f64x2.add(v128.load(e), f64x2.promote_low_f32x4(acc)));
          const high = i8x16.shuffle(acc, acc, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
          v128.store(e, f64x2.add(v128.load(e, 16), f64x2.promote_low_f32x4(high)), 16);
        } else {
          for (let k = part; k > 0; k--, p += pitch) {
            acc = f32x4.add(acc, squaredError4(v128.load32_splat(p), divisor, scale, lo, hi));
          }
          store<f64>(e, load<f64>(e) + f64(f32x4.extract_lane(acc, 0)));
        }
      }
    }
    j += wide ? 4 : 1;
  }
}
