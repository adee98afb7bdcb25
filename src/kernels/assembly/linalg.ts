/** @file Matrix products from packed panels, Cholesky, triangular solves, and GPTQ's inner loop. */
import { code4, divisor4, lowBytes16, MAGIC, NEAREST } from "./common";

/** Columns of x [rows, n] as panels [rows, width], zeros behind the last column. A cache line of each row is read at once. */
export function packPanels(x: usize, rows: usize, n: usize, stride: usize, width: usize, out: usize): void {
  const pitch = stride << 2;
  const panel = rows * (width << 2);
  let j: usize = 0;
  for (; j + 16 <= n; j += 16) {
    let p = x + (j << 2);
    const end = p + rows * pitch;
    if (width == 8) {
      let a = out;
      let b = out + panel;
      for (; p < end; p += pitch, a += 32, b += 32) {
        v128.store(a, v128.load(p));
        v128.store(a, v128.load(p, 16), 16);
        v128.store(b, v128.load(p, 32));
        v128.store(b, v128.load(p, 48), 16);
      }
      out += panel << 1;
    } else {
      let a = out;
      let b = a + panel;
      let c = b + panel;
      let d = c + panel;
      for (; p < end; p += pitch, a += 16, b += 16, c += 16, d += 16) {
        v128.store(a, v128.load(p));
        v128.store(b, v128.load(p, 16));
        v128.store(c, v128.load(p, 32));
        v128.store(d, v128.load(p, 48));
      }
      out += panel << 2;
    }
  }
  for (; j < n; j += width) {
    const left = n - j;
    let p = x + (j << 2);
    for (let r = rows; r > 0; r--, p += pitch) {
      for (let i: usize = 0; i < width; i++, out += 4) {
        store<f32>(out, i < left ? load<f32>(p + (i << 2)) : 0);
      }
    }
  }
}

// @ts-ignore: decorator
@inline function addTo(at: usize, factor: v128, sum: v128): void {
  v128.store(at, f32x4.add(v128.load(at), f32x4.mul(factor, sum)));
}

/** c += alpha * a^T b, tile by tile: eight accumulators, two loads of b and four broadcasts of a per row. */
export function gemmPanels(
  a: usize, b: usize, k: usize, m: usize, n: usize, alpha: f32, c: usize, stride: usize, diagonal: i32, tile: usize,
): void {
  const factor = f32x4.splat(alpha);
  const pitch = stride << 2;
  const panel = k << 4;
  for (let j: usize = 0; j < n; j += 8, b += k << 5) {
    let p = a;
    for (let i: usize = 0; i < m; i += 4) {
      const next = p + panel;
      if (i32(j) + 7 < i32(i) + diagonal) {
        p = next;
        continue;
      }
      let c00 = f32x4.splat(0);
      let c01 = c00;
      let c10 = c00;
      let c11 = c00;
      let c20 = c00;
      let c21 = c00;
      let c30 = c00;
      let c31 = c00;
      let q = b;
      // One row a round: with two, their operands do not fit the sixteen registers together.
      do {
        const b0 = v128.load(q);
        const b1 = v128.load(q, 16);
        let s = v128.load32_splat(p);
        c00 = f32x4.add(c00, f32x4.mul(s, b0));
        c01 = f32x4.add(c01, f32x4.mul(s, b1));
        s = v128.load32_splat(p, 4);
        c10 = f32x4.add(c10, f32x4.mul(s, b0));
        c11 = f32x4.add(c11, f32x4.mul(s, b1));
        s = v128.load32_splat(p, 8);
        c20 = f32x4.add(c20, f32x4.mul(s, b0));
        c21 = f32x4.add(c21, f32x4.mul(s, b1));
        s = v128.load32_splat(p, 12);
        c30 = f32x4.add(c30, f32x4.mul(s, b0));
        c31 = f32x4.add(c31, f32x4.mul(s, b1));
        p += 16;
        q += 32;
      } while (p < next);
      let to = c + i * pitch + (j << 2);
      if (i + 4 <= m && j + 8 <= n) {
        addTo(to, factor, c00);
        addTo(to + 16, factor, c01);
        to += pitch;
        addTo(to, factor, c10);
        addTo(to + 16, factor, c11);
        to += pitch;
        addTo(to, factor, c20);
        addTo(to + 16, factor, c21);
        to += pitch;
        addTo(to, factor, c30);
        addTo(to + 16, factor, c31);
      } else {
        v128.store(tile, c00);
        v128.store(tile, c01, 16);
        v128.store(tile, c10, 32);
        v128.store(tile, c11, 48);
        v128.store(tile, c20, 64);
        v128.store(tile, c21, 80);
        v128.store(tile, c30, 96);
        v128.store(tile, c31, 112);
        const rows = min<usize>(4, m - i);
        const columns = min<usize>(8, n - j);
        for (let r: usize = 0; r < rows; r++, to += pitch) {
          for (let e: usize = 0; e < columns; e++) {
            const at = to + (e << 2);
            store<f32>(at, load<f32>(at) + alpha * load<f32>(tile + (r << 5) + (e << 2)));
          }
        }
      }
    }
  }
}

/** The upper factor in place of a small block. */
export function cholesky(x: usize, n: usize, stride: usize): i32 {
  const pitch = stride << 2;
  for (let i: usize = 0; i < n; i++) {
    const row = x + i * pitch;
    const diagonal = row + (i << 2);
    const end = row + (n << 2);
    for (let p: usize = 0; p < i; p++) {
      const above = x + p * pitch;
      const factor = load<f32>(above + (i << 2));
      let from = above + (i << 2);
      for (let at = diagonal; at < end; at += 4, from += 4) store<f32>(at, load<f32>(at) - factor * load<f32>(from));
    }
    const pivot = load<f32>(diagonal);
    if (!(pivot > 0)) return i32(i);
    const root = sqrt<f32>(pivot);
    store<f32>(diagonal, root);
    for (let at = diagonal + 4; at < end; at += 4) store<f32>(at, load<f32>(at) / root);
  }
  return -1;
}

/** Forward substitution with the transposed upper factor, sixteen columns at a time. */
export function solvePanel(r: usize, rStride: usize, rows: usize, x: usize, n: usize, stride: usize): void {
  const pitch = stride << 2;
  const rPitch = rStride << 2;
  for (const end = x + (n << 2); x < end; x += 64) {
    let row = x;
    for (let i: usize = 0; i < rows; i++, row += pitch) {
      let a = v128.load(row);
      let b = v128.load(row, 16);
      let c = v128.load(row, 32);
      let d = v128.load(row, 48);
      let f = r + (i << 2);
      for (let p = x; p < row; p += pitch, f += rPitch) {
        const s = v128.load32_splat(f);
        a = f32x4.sub(a, f32x4.mul(s, v128.load(p)));
        b = f32x4.sub(b, f32x4.mul(s, v128.load(p, 16)));
        c = f32x4.sub(c, f32x4.mul(s, v128.load(p, 32)));
        d = f32x4.sub(d, f32x4.mul(s, v128.load(p, 48)));
      }
      const s = v128.load32_splat(f);
      v128.store(row, f32x4.div(a, s));
      v128.store(row, f32x4.div(b, s), 16);
      v128.store(row, f32x4.div(c, s), 32);
      v128.store(row, f32x4.div(d, s), 48);
    }
  }
}

/** (v - dequantize(quantize(v))) / d of four weights; the codes go to the scratch lanes that the caller packs. */
// @ts-ignore: decorator
@inline function error4(v: v128, divisor: v128, scale: v128, lo: v128, hi: v128, d: v128): v128 {
  const magic = f32x4.splat(MAGIC);
  const t = f32x4.pmin(hi, f32x4.pmax(lo, f32x4.div(v, divisor)));
  return f32x4.div(f32x4.sub(v, f32x4.mul(f32x4.sub(f32x4.add(t, magic), magic), scale)), d);
}

// @ts-ignore: decorator
@inline function nearest4(v: v128, divisor: v128, lo: v128, hi: v128, zp: v128): v128 {
  return code4(NEAREST, v, divisor, lo, hi, zp, zp, zp, zp);
}

/** Rounds rows one after another, sixteen columns at a time, each corrected by the errors of those before. */
export function gptqPanel(
  w: usize, rows: usize, n: usize, stride: usize, u: usize, uStride: usize, scales: usize, zeroPoints: usize, groups: usize,
  sliceStride: usize, qmin: i32, qmax: i32, codes: usize, codesStride: usize,
  err: usize, errStride: usize,
): void {
  const pitch = stride << 2;
  const uPitch = uStride << 2;
  const errPitch = errStride << 2;
  const slicePitch = sliceStride << 2;
  const least = i32x4.splat(qmin);
  const most = i32x4.splat(qmax);
  for (const end = w + (n << 2); w < end; w += 64, err += 64, codes += 16, scales += 64, zeroPoints += 64) {
    let row = w;
    let errRow = err;
    let codeRow = codes;
    for (let i: usize = 0; i < rows; i++, row += pitch, errRow += errPitch, codeRow += codesStride) {
      let a = v128.load(row);
      let b = v128.load(row, 16);
      let c = v128.load(row, 32);
      let d = v128.load(row, 48);
      let f = u + (i << 2);
      for (let p = err; p < errRow; p += errPitch, f += uPitch) {
        const s = v128.load32_splat(f);
        a = f32x4.sub(a, f32x4.mul(s, v128.load(p)));
        b = f32x4.sub(b, f32x4.mul(s, v128.load(p, 16)));
        c = f32x4.sub(c, f32x4.mul(s, v128.load(p, 32)));
        d = f32x4.sub(d, f32x4.mul(s, v128.load(p, 48)));
      }
      const pivot = v128.load32_splat(f);
      const slice = usize(load<u32>(groups + (i << 2))) * slicePitch;
      const zeros = zeroPoints + slice;
      const steps = scales + slice;
      const za = v128.load(zeros);
      const zb = v128.load(zeros, 16);
      const zc = v128.load(zeros, 32);
      const zd = v128.load(zeros, 48);
      let scale = v128.load(steps);
      let divisor = divisor4(scale);
      let lo = f32x4.convert_i32x4_s(i32x4.sub(least, za));
      let hi = f32x4.convert_i32x4_s(i32x4.sub(most, za));
      const ca = nearest4(a, divisor, lo, hi, za);
      v128.store(errRow, error4(a, divisor, scale, lo, hi, pivot));
      scale = v128.load(steps, 16);
      divisor = divisor4(scale);
      lo = f32x4.convert_i32x4_s(i32x4.sub(least, zb));
      hi = f32x4.convert_i32x4_s(i32x4.sub(most, zb));
      const cb = nearest4(b, divisor, lo, hi, zb);
      v128.store(errRow, error4(b, divisor, scale, lo, hi, pivot), 16);
      scale = v128.load(steps, 32);
      divisor = divisor4(scale);
      lo = f32x4.convert_i32x4_s(i32x4.sub(least, zc));
      hi = f32x4.convert_i32x4_s(i32x4.sub(most, zc));
      const cc = nearest4(c, divisor, lo, hi, zc);
      v128.store(errRow, error4(c, divisor, scale, lo, hi, pivot), 32);
      scale = v128.load(steps, 48);
      divisor = divisor4(scale);
      lo = f32x4.convert_i32x4_s(i32x4.sub(least, zd));
      hi = f32x4.convert_i32x4_s(i32x4.sub(most, zd));
      const cd = nearest4(d, divisor, lo, hi, zd);
      v128.store(errRow, error4(d, divisor, scale, lo, hi, pivot), 48);
      v128.store(codeRow, lowBytes16(ca, cb, cc, cd));
    }
  }
}
