/** @file Codes of one byte each to 2- and 4-bit codes, straight and transposed (MatMulNBits), and a 4-byte transpose. */

/** Packs n codes, first element in the low bits; a partial last byte is padded with zeros. */
export function pack4(codes: usize, n: usize, out: usize): void {
  const low = i8x16.splat(0x0f);
  const byte = i16x8.splat(0xff);
  for (const stop = codes + (n & ~31); codes < stop; codes += 32, out += 16) {
    const a = v128.and(v128.load(codes), low);
    const b = v128.and(v128.load(codes, 16), low);
    v128.store(out, i8x16.narrow_i16x8_u(
      v128.and(v128.or(a, i16x8.shr_u(a, 4)), byte),
      v128.and(v128.or(b, i16x8.shr_u(b, 4)), byte),
    ));
  }
  for (const stop = codes + (n & 30); codes < stop; codes += 2, out += 1) {
    store<u8>(out, (load<u8>(codes) & 15) | (load<u8>(codes, 1) << 4));
  }
  if (n & 1) store<u8>(out, load<u8>(codes) & 15);
}

// @ts-ignore: decorator
@inline function quarter(codes: usize): v128 {
  const v = v128.and(v128.load(codes), i8x16.splat(3));
  const pairs = v128.and(v128.or(v, i16x8.shr_u(v, 6)), i16x8.splat(15));
  return v128.and(v128.or(pairs, i32x4.shr_u(pairs, 12)), i32x4.splat(0xff));
}

export function pack2(codes: usize, n: usize, out: usize): void {
  for (const stop = codes + (n & ~63); codes < stop; codes += 64, out += 16) {
    v128.store(out, i8x16.narrow_i16x8_u(
      i16x8.narrow_i32x4_u(quarter(codes), quarter(codes + 16)),
      i16x8.narrow_i32x4_u(quarter(codes + 32), quarter(codes + 48)),
    ));
  }
  let byte: i32 = 0;
  let shift = 0;
  for (const end = codes + (n & 63); codes < end; codes += 1) {
    byte |= (load<u8>(codes) & 3) << shift;
    shift += 2;
    if (shift == 8) {
      store<u8>(out++, byte);
      byte = 0;
      shift = 0;
    }
  }
  if (shift) store<u8>(out, byte);
}

// @ts-ignore: decorator
@inline function low(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

// @ts-ignore: decorator
@inline function high(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** The packed byte of 8 / bits successive rows, for sixteen columns. */
// @ts-ignore: decorator
@inline function byteRow(bits: i32, codes: usize, stride: usize): v128 {
  if (bits == 8) return v128.load(codes);
  const mask = i8x16.splat(bits == 4 ? 15 : 3);
  let v = v128.and(v128.load(codes), mask);
  if (bits == 4) return v128.or(v, i16x8.shl(v128.and(v128.load(codes + stride), mask), 4));
  v = v128.or(v, i16x8.shl(v128.and(v128.load(codes + stride), mask), 2));
  v = v128.or(v, i16x8.shl(v128.and(v128.load(codes + stride * 2), mask), 4));
  return v128.or(v, i16x8.shl(v128.and(v128.load(codes + stride * 3), mask), 6));
}

/** Sixteen packed bytes of sixteen columns. Four perfect shuffles of sixteen vectors transpose a 16 x 16 byte block. */
// @ts-ignore: decorator
@inline function block16(bits: i32, codes: usize, stride: usize, out: usize, outStride: usize): void {
  const step = stride * (8 / bits);
  const a0 = byteRow(bits, codes + 0 * step, stride);
  const a1 = byteRow(bits, codes + 1 * step, stride);
  const a2 = byteRow(bits, codes + 2 * step, stride);
  const a3 = byteRow(bits, codes + 3 * step, stride);
  const a4 = byteRow(bits, codes + 4 * step, stride);
  const a5 = byteRow(bits, codes + 5 * step, stride);
  const a6 = byteRow(bits, codes + 6 * step, stride);
  const a7 = byteRow(bits, codes + 7 * step, stride);
  const a8 = byteRow(bits, codes + 8 * step, stride);
  const a9 = byteRow(bits, codes + 9 * step, stride);
  const aa = byteRow(bits, codes + 10 * step, stride);
  const ab = byteRow(bits, codes + 11 * step, stride);
  const ac = byteRow(bits, codes + 12 * step, stride);
  const ad = byteRow(bits, codes + 13 * step, stride);
  const ae = byteRow(bits, codes + 14 * step, stride);
  const af = byteRow(bits, codes + 15 * step, stride);
  const b0 = low(a0, a8); const b1 = high(a0, a8);
  const b2 = low(a1, a9); const b3 = high(a1, a9);
  const b4 = low(a2, aa); const b5 = high(a2, aa);
  const b6 = low(a3, ab); const b7 = high(a3, ab);
  const b8 = low(a4, ac); const b9 = high(a4, ac);
  const ba = low(a5, ad); const bb = high(a5, ad);
  const bc = low(a6, ae); const bd = high(a6, ae);
  const be = low(a7, af); const bf = high(a7, af);
  const c0 = low(b0, b8); const c1 = high(b0, b8);
  const c2 = low(b1, b9); const c3 = high(b1, b9);
  const c4 = low(b2, ba); const c5 = high(b2, ba);
  const c6 = low(b3, bb); const c7 = high(b3, bb);
  const c8 = low(b4, bc); const c9 = high(b4, bc);
  const ca = low(b5, bd); const cb = high(b5, bd);
  const cc = low(b6, be); const cd = high(b6, be);
  const ce = low(b7, bf); const cf = high(b7, bf);
  const d0 = low(c0, c8); const d1 = high(c0, c8);
  const d2 = low(c1, c9); const d3 = high(c1, c9);
  const d4 = low(c2, ca); const d5 = high(c2, ca);
  const d6 = low(c3, cb); const d7 = high(c3, cb);
  const d8 = low(c4, cc); const d9 = high(c4, cc);
  const da = low(c5, cd); const db = high(c5, cd);
  const dc = low(c6, ce); const dd = high(c6, ce);
  const de = low(c7, cf); const df = high(c7, cf);
  const e0 = low(d0, d8); const e1 = high(d0, d8);
  const e2 = low(d1, d9); const e3 = high(d1, d9);
  const e4 = low(d2, da); const e5 = high(d2, da);
  const e6 = low(d3, db); const e7 = high(d3, db);
  const e8 = low(d4, dc); const e9 = high(d4, dc);
  const ea = low(d5, dd); const eb = high(d5, dd);
  const ec = low(d6, de); const ed = high(d6, de);
  const ee = low(d7, df); const ef = high(d7, df);
  v128.store(out + 0 * outStride, e0);
  v128.store(out + 1 * outStride, e1);
  v128.store(out + 2 * outStride, e2);
  v128.store(out + 3 * outStride, e3);
  v128.store(out + 4 * outStride, e4);
  v128.store(out + 5 * outStride, e5);
  v128.store(out + 6 * outStride, e6);
  v128.store(out + 7 * outStride, e7);
  v128.store(out + 8 * outStride, e8);
  v128.store(out + 9 * outStride, e9);
  v128.store(out + 10 * outStride, ea);
  v128.store(out + 11 * outStride, eb);
  v128.store(out + 12 * outStride, ec);
  v128.store(out + 13 * outStride, ed);
  v128.store(out + 14 * outStride, ee);
  v128.store(out + 15 * outStride, ef);
}

// @ts-ignore: decorator
@inline function columns(bits: i32, codes: usize, rows: usize, n: usize, stride: usize, out: usize, outStride: usize): void {
  const rowsPerBlock = 128 / bits;
  const blockRows = rows - rows % rowsPerBlock;
  const wide = n & ~15;
  let j: usize = 0;
  // Columns outside, rows inside: with sixteen columns at a time the cache lines of `out` are written in one go.
  for (; j < wide; j += 16) {
    let target = out + j * outStride;
    for (let row: usize = 0; row < blockRows; row += rowsPerBlock, target += 16) {
      block16(bits, codes + row * stride + j, stride, target, outStride);
    }
    if (blockRows == rows) continue;
    for (let c: usize = 0; c < 16; c++) {
      bytes(bits, codes + blockRows * stride + j + c, rows - blockRows, stride, target + c * outStride);
    }
  }
  for (; j < n; j++) bytes(bits, codes + j, rows, stride, out + j * outStride);
}

/** Packs `rows` codes of one column. */
function bytes(bits: i32, codes: usize, rows: usize, stride: usize, out: usize): void {
  const mask = (1 << bits) - 1;
  let byte: i32 = 0;
  let shift = 0;
  for (; rows > 0; rows--, codes += stride) {
    byte |= (load<u8>(codes) & mask) << shift;
    shift += bits;
    if (shift == 8) {
      store<u8>(out++, byte);
      byte = 0;
      shift = 0;
    }
  }
  if (shift) store<u8>(out, byte);
}

/** Column j of the codes [rows, n] becomes the packed bytes at out + j * outStride. */
export function packColumns(
  codes: usize, rows: usize, n: usize, stride: usize, out: usize, outStride: usize, bits: i32,
): void {
  if (bits == 4) columns(4, codes, rows, n, stride, out, outStride);
  else if (bits == 2) columns(2, codes, rows, n, stride, out, outStride);
  else columns(8, codes, rows, n, stride, out, outStride);
}

/** out [n, rows] = x [rows, n] transposed; elements of four bytes, rows of out `outStride` elements apart. */
export function transpose32(x: usize, rows: usize, n: usize, stride: usize, out: usize, outStride: usize): void {
  const pitch = stride << 2;
  const outPitch = outStride << 2;
  for (let i: usize = 0; i < rows; i += 4) {
    const tall = i + 4 <= rows;
    for (let j: usize = 0; j < n; j += 4) {
      const p = x + i * pitch + (j << 2);
      const o = out + j * outPitch + (i << 2);
      if (tall && j + 4 <= n) {
        const a = v128.load(p);
        const b = v128.load(p + pitch);
        const c = v128.load(p + pitch * 2);
        const d = v128.load(p + pitch * 3);
        const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
        const cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
        const AB = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
        const CD = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
        v128.store(o, v128.shuffle<i64>(ab, cd, 0, 2));
        v128.store(o + outPitch, v128.shuffle<i64>(ab, cd, 1, 3));
        v128.store(o + outPitch * 2, v128.shuffle<i64>(AB, CD, 0, 2));
        v128.store(o + outPitch * 3, v128.shuffle<i64>(AB, CD, 1, 3));
        continue;
      }
      for (let r: usize = 0; r < min(rows - i, 4); r++) {
        for (let c: usize = 0; c < min(n - j, 4); c++) store<u32>(o + c * outPitch + (r << 2), load<u32>(p + r * pitch + (c << 2)));
      }
    }
  }
}
