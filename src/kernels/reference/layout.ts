/** @file Reference of packing, transposing and the 16-bit floats. Contract: RawKernels. */
import { floatToBfloat, floatToHalf, halfToFloat } from "../../tensor/half.ts";
import type { RawKernels, Views } from "../raw.ts";

type Layout = Pick<
  RawKernels,
  "pack4" | "pack2" | "packColumns" | "transpose32" | "floatToHalf" | "halfToFloat" | "floatToBfloat" | "bfloatToFloat"
>;

export function layout(views: () => Views): Layout {
  /** Packs `n` codes that are `step` bytes apart. */
  const pack = (bits: number, codes: number, n: number, step: number, out: number) => {
    const { u8 } = views();
    const mask = (1 << bits) - 1;
    const perByte = 8 / bits;
    for (let i = 0; i < n; i += perByte) {
      let byte = 0;
      for (let k = 0; k < Math.min(perByte, n - i); k++) {
        byte |= ((u8[codes + (i + k) * step] as number) & mask) << (k * bits);
      }
      u8[out + i / perByte] = byte;
    }
  };

  return {
    pack4: (codes, n, out) => pack(4, codes, n, 1, out),
    pack2: (codes, n, out) => pack(2, codes, n, 1, out),
    packColumns(codes, rows, n, stride, out, outStride, bits) {
      for (let j = 0; j < n; j++) pack(bits, codes + j, rows, stride, out + j * outStride);
    },
    transpose32(x, rows, n, stride, out, outStride) {
      const { u32 } = views();
      for (let r = 0; r < rows; r++) {
        for (let j = 0; j < n; j++) u32[(out >>> 2) + j * outStride + r] = u32[(x >>> 2) + r * stride + j] as number;
      }
    },
    floatToHalf(x, n, out) {
      const { f32, u16 } = views();
      let overflow = 0;
      for (let i = 0; i < n; i++) {
        const value = f32[(x >>> 2) + i] as number;
        const bits = sign16(views(), x, i) | (floatToHalf(value) & 0x7fff);
        u16[(out >>> 1) + i] = bits;
        if ((bits & 0x7fff) === 0x7c00 && Number.isFinite(value)) overflow++;
      }
      return overflow;
    },
    halfToFloat(x, n, out) {
      const { u16, u32, f32 } = views();
      for (let i = 0; i < n; i++) {
        const bits = u16[(x >>> 1) + i] as number;
        if ((bits & 0x7fff) > 0x7c00) u32[(out >>> 2) + i] = ((bits & 0x8000) << 16) | 0x7fc00000;
        else f32[(out >>> 2) + i] = halfToFloat(bits);
      }
    },
    floatToBfloat(x, n, out) {
      const { u32, f32, u16 } = views();
      for (let i = 0; i < n; i++) {
        const bits = u32[(x >>> 2) + i] as number;
        const nan = (bits & 0x7fffffff) > 0x7f800000;
        u16[(out >>> 1) + i] = nan ? (bits >>> 16) | 0x40 : floatToBfloat(f32[(x >>> 2) + i] as number);
      }
    },
    bfloatToFloat(x, n, out) {
      const { u16, u32 } = views();
      for (let i = 0; i < n; i++) u32[(out >>> 2) + i] = (u16[(x >>> 1) + i] as number) << 16;
    },
  };
}

/** The sign of f32 element i, in place for 16 bits: a JavaScript number may lose the sign of a NaN. */
function sign16({ u32 }: Views, x: number, i: number): number {
  return ((u32[(x >>> 2) + i] as number) >>> 16) & 0x8000;
}
