/** @file Elements smaller than a byte, and the 8-bit floats, one value at a time. Bulk packing is in kernels/. */
import { type DType, dtypeInfo } from "./dtype.ts";

/** Unpacks 2- and 4-bit elements (first element in the low bits) into one number each; signed types are sign-extended. */
export function unpackBits(packed: Uint8Array, dtype: DType, count: number): Float32Array {
  const { bits, kind } = dtypeInfo(dtype);
  const perByte = 8 / bits;
  const mask = (1 << bits) - 1;
  const signBit = kind === "int" ? 1 << (bits - 1) : 0;
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const code = ((packed[Math.floor(i / perByte)] as number) >> ((i % perByte) * bits)) & mask;
    out[i] = dtype === "float4e2m1" ? (float4Values[code] as number) : code & signBit ? code - (mask + 1) : code;
  }
  return out;
}

/** Packs integer codes of a 2- or 4-bit type, first element in the low bits; the last byte is padded with zeros. */
export function packBits(codes: ArrayLike<number>, dtype: DType): Uint8Array {
  const { bits } = dtypeInfo(dtype);
  const perByte = 8 / bits;
  const mask = (1 << bits) - 1;
  const out = new Uint8Array(Math.ceil(codes.length / perByte));
  for (let i = 0; i < codes.length; i++) {
    const at = Math.floor(i / perByte);
    out[at] = (out[at] as number) | (((codes[i] as number) & mask) << ((i % perByte) * bits));
  }
  return out;
}

const float4Values = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6];

interface Float8Layout {
  readonly exponentBits: number;
  readonly bias: number;
  /** IEEE: top exponent is infinity and NaN. fn: only the all-ones code is NaN. fnuz: only 0x80 is NaN, no negative zero. */
  readonly special: "ieee" | "fn" | "fnuz";
}

const float8Layouts: { readonly [dtype in DType]?: Float8Layout } = {
  float8e4m3fn: { exponentBits: 4, bias: 7, special: "fn" },
  float8e4m3fnuz: { exponentBits: 4, bias: 8, special: "fnuz" },
  float8e5m2: { exponentBits: 5, bias: 15, special: "ieee" },
  float8e5m2fnuz: { exponentBits: 5, bias: 16, special: "fnuz" },
};

/** The value of an 8-bit float code (ONNX documentation, "Float stored in 8 bits"; OCP MX for e8m0). */
export function decodeFloat8(dtype: DType, code: number): number {
  const layout = float8Layouts[dtype];
  if (!layout) return code === 0xff ? Number.NaN : 2 ** (code - 127);
  const { exponentBits, bias, special } = layout;
  const fractionBits = 7 - exponentBits;
  const sign = code & 0x80 ? -1 : 1;
  const exponent = (code & 0x7f) >> fractionBits;
  const fraction = code & ((1 << fractionBits) - 1);
  const top = (1 << exponentBits) - 1;
  if (special === "fnuz" && code === 0x80) return Number.NaN;
  if (special === "fn" && (code & 0x7f) === 0x7f) return Number.NaN;
  if (special === "ieee" && exponent === top) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  const unit = 2 ** -fractionBits;
  return exponent === 0
    ? sign * fraction * unit * 2 ** (1 - bias)
    : sign * (1 + fraction * unit) * 2 ** (exponent - bias);
}
