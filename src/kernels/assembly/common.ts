/** @file Constants and one-vector building blocks of the SIMD kernels. Inlined everywhere: they hold no loops. */

/** 1.5 * 2^23: adding it to |t| < 2^22 rounds t to the nearest even integer, which is then in the low bits. */
// @ts-ignore: decorator
@inline export const MAGIC: f32 = 12582912.0;

// @ts-ignore: decorator
@inline export const NEAREST: i32 = 0;
// @ts-ignore: decorator
@inline export const HALF_UP: i32 = 1;
// @ts-ignore: decorator
@inline export const STOCHASTIC: i32 = 2;

/** Bit pattern of a float -> an integer with the same order (-NaN < -Inf < ... < -0 < +0 < ... < +Inf < +NaN); its own inverse. */
// @ts-ignore: decorator
@inline export function orderKey4(bits: v128): v128 {
  return v128.xor(bits, v128.and(i32x4.shr_s(bits, 31), i32x4.splat(0x7fffffff)));
}

// @ts-ignore: decorator
@inline export function orderKey(bits: i32): i32 {
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

// @ts-ignore: decorator
@inline export function isNonFinite(bits: i32): bool {
  return (bits & 0x7f800000) == 0x7f800000;
}

/** Whether one of `count` floats is not finite. */
export function anyNonFinite(p: usize, count: usize): i32 {
  for (const end = p + (count << 2); p < end; p += 4) if (isNonFinite(load<i32>(p))) return 1;
  return 0;
}

/** Scale -> divisor: a zero scale divides by infinity, so that every code is the zero point. */
// @ts-ignore: decorator
@inline export function divisor4(scale: v128): v128 {
  const zero = f32x4.eq(scale, f32x4.splat(0));
  return v128.bitselect(f32x4.splat(Infinity), scale, zero);
}

/** The counter hash of util/rng.ts on four counters. */
// @ts-ignore: decorator
@inline export function hash4(counter: v128, k1: v128, k2: v128): v128 {
  let x = i32x4.add(counter, k1);
  x = v128.xor(x, i32x4.shr_u(x, 16));
  x = v128.xor(i32x4.mul(x, i32x4.splat(0x21f0aaad)), k2);
  x = v128.xor(x, i32x4.shr_u(x, 15));
  x = i32x4.mul(x, i32x4.splat(0xd35a2d97));
  return v128.xor(x, i32x4.shr_u(x, 15));
}

/**
 * Four codes, each in the low byte of its lane: round(clamp(x / divisor, lo, hi)) + zeroPoint.
 * lo and hi are integers, so clamping before rounding gives the same code as after it. NaN gives lo.
 */
// @ts-ignore: decorator
@inline export function code4(
  mode: i32, x: v128, divisor: v128, lo: v128, hi: v128, zeroPoint: v128, counter: v128, k1: v128, k2: v128,
): v128 {
  const t = f32x4.pmin(hi, f32x4.pmax(lo, f32x4.div(x, divisor)));
  if (mode == NEAREST) return i32x4.add(f32x4.add(t, f32x4.splat(MAGIC)), zeroPoint);
  const whole = f32x4.floor(t);
  const part = f32x4.sub(t, whole);
  const code = i32x4.add(f32x4.add(whole, f32x4.splat(MAGIC)), zeroPoint);
  if (mode == HALF_UP) return i32x4.sub(code, f32x4.ge(part, f32x4.splat(0.5)));
  const h = hash4(counter, k1, k2);
  const u = f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_u(h, 8)), f32x4.splat(1.0 / 16777216.0));
  return i32x4.sub(code, f32x4.lt(u, part));
}

/** The low bytes of sixteen 32-bit lanes. */
// @ts-ignore: decorator
@inline export function lowBytes16(a: v128, b: v128, c: v128, d: v128): v128 {
  const mask = i32x4.splat(0xff);
  return i8x16.narrow_i16x8_u(
    i16x8.narrow_i32x4_u(v128.and(a, mask), v128.and(b, mask)),
    i16x8.narrow_i32x4_u(v128.and(c, mask), v128.and(d, mask)),
  );
}

/** The low bytes of four 32-bit lanes as one 32-bit integer. */
// @ts-ignore: decorator
@inline export function lowBytes4(a: v128): i32 {
  return i32x4.extract_lane(lowBytes16(a, a, a, a), 0);
}
