/** @file float32 to and from the 16-bit floats, round to nearest even. */

/** Four floats as float16 bits in 32-bit lanes (scaling trick of M. Dukhan's FP16 library; NaN becomes a quiet NaN). */
// @ts-ignore: decorator
@inline function half4(x: v128): v128 {
  const doubled = i32x4.add(x, x);
  const sign = v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000));
  const bias = i32x4.max_u(v128.and(doubled, i32x4.splat(0xff000000)), i32x4.splat(0x71000000));
  const scaled = f32x4.mul(f32x4.mul(f32x4.abs(x), f32x4.splat(5192296858534827628530496329220096.0)), f32x4.splat(7.70371977754894341222391177033970927e-34));
  const bits = f32x4.add(i32x4.add(i32x4.shr_u(bias, 1), i32x4.splat(0x07800000)), scaled);
  const finite = i32x4.add(v128.and(i32x4.shr_u(bits, 13), i32x4.splat(0x7c00)), v128.and(bits, i32x4.splat(0x0fff)));
  const nan = i32x4.gt_u(doubled, i32x4.splat(0xff000000));
  return v128.or(sign, v128.bitselect(i32x4.splat(0x7e00), finite, nan));
}

/** Lanes (-1) that are finite and became infinite. */
// @ts-ignore: decorator
@inline function overflowed4(x: v128, half: v128): v128 {
  const infinite = i32x4.eq(v128.and(half, i32x4.splat(0x7fff)), i32x4.splat(0x7c00));
  const finite = i32x4.lt_s(v128.and(x, i32x4.splat(0x7fffffff)), i32x4.splat(0x7f800000));
  return v128.and(infinite, finite);
}

/** Returns how many finite elements became infinite. */
export function floatToHalf(x: usize, n: usize, out: usize): i32 {
  let overflow = i32x4.splat(0);
  for (const stop = x + ((n & ~7) << 2); x < stop; x += 32, out += 16) {
    const v = v128.load(x);
    const w = v128.load(x, 16);
    const a = half4(v);
    const b = half4(w);
    overflow = i32x4.sub(i32x4.sub(overflow, overflowed4(v, a)), overflowed4(w, b));
    v128.store(out, i16x8.narrow_i32x4_u(a, b));
  }
  let total = i32x4.extract_lane(overflow, 0) + i32x4.extract_lane(overflow, 1)
    + i32x4.extract_lane(overflow, 2) + i32x4.extract_lane(overflow, 3);
  for (const end = x + ((n & 7) << 2); x < end; x += 4, out += 2) {
    const v = v128.load32_splat(x);
    const a = half4(v);
    total -= i32x4.extract_lane(overflowed4(v, a), 0);
    store<u16>(out, i32x4.extract_lane(a, 0));
  }
  return total;
}

/** Four float16 bit patterns in 32-bit lanes as floats; NaN becomes the quiet NaN of its sign. */
// @ts-ignore: decorator
@inline function float4(h: v128): v128 {
  const sign = i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16);
  const magnitude = v128.and(h, i32x4.splat(0x7fff));
  const value = f32x4.mul(i32x4.shl(magnitude, 13), f32x4.splat(5192296858534827628530496329220096.0));
  const special = i32x4.ge_s(magnitude, i32x4.splat(0x7c00));
  const nan = i32x4.gt_s(magnitude, i32x4.splat(0x7c00));
  const top = v128.or(i32x4.splat(0x7f800000), v128.and(nan, i32x4.splat(0x00400000)));
  return v128.or(sign, v128.bitselect(top, value, special));
}

export function halfToFloat(x: usize, n: usize, out: usize): void {
  for (const stop = x + ((n & ~7) << 1); x < stop; x += 16, out += 32) {
    const v = v128.load(x);
    v128.store(out, float4(i32x4.extend_low_i16x8_u(v)));
    v128.store(out, float4(i32x4.extend_high_i16x8_u(v)), 16);
  }
  for (const end = x + ((n & 7) << 1); x < end; x += 2, out += 4) {
    store<i32>(out, i32x4.extract_lane(float4(i32x4.splat(load<u16>(x))), 0));
  }
}

// @ts-ignore: decorator
@inline function bfloat4(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  const rounded = i32x4.shr_u(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), 16);
  const quiet = v128.or(i32x4.shr_u(x, 16), i32x4.splat(0x40));
  const nan = i32x4.gt_s(v128.and(x, i32x4.splat(0x7fffffff)), i32x4.splat(0x7f800000));
  return v128.bitselect(quiet, rounded, nan);
}

export function floatToBfloat(x: usize, n: usize, out: usize): void {
  for (const stop = x + ((n & ~7) << 2); x < stop; x += 32, out += 16) {
    v128.store(out, i16x8.narrow_i32x4_u(bfloat4(v128.load(x)), bfloat4(v128.load(x, 16))));
  }
  for (const end = x + ((n & 7) << 2); x < end; x += 4, out += 2) {
    store<u16>(out, i32x4.extract_lane(bfloat4(v128.load32_splat(x)), 0));
  }
}

export function bfloatToFloat(x: usize, n: usize, out: usize): void {
  for (const stop = x + ((n & ~7) << 1); x < stop; x += 16, out += 32) {
    const v = v128.load(x);
    v128.store(out, i32x4.shl(i32x4.extend_low_i16x8_u(v), 16));
    v128.store(out, i32x4.shl(i32x4.extend_high_i16x8_u(v), 16), 16);
  }
  for (const end = x + ((n & 7) << 1); x < end; x += 2, out += 4) store<u32>(out, <u32>load<u16>(x) << 16);
}
