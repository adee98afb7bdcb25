import { expect, test } from "vitest";
import { MemorySource } from "../util/bytes.ts";
import { byteSize, dtypes } from "./dtype.ts";
import { bfloatToFloat, floatToBfloat, floatToHalf, halfToFloat } from "./half.ts";
import { packBits } from "./pack.ts";
import { float32, fromNumbers, int64, Tensor } from "./tensor.ts";

test("every float16 value survives the way to float and back", () => {
  for (let bits = 0; bits < 0x10000; bits++) {
    const value = halfToFloat(bits);
    if (Number.isNaN(value)) expect(Number.isNaN(halfToFloat(floatToHalf(value)))).toBe(true);
    else if (floatToHalf(value) !== bits) expect.fail(`${bits} -> ${value} -> ${floatToHalf(value)}`);
  }
});

test("float16 rounds to nearest even, overflows to infinity, keeps subnormals", () => {
  expect(floatToHalf(1 + 2 ** -11)).toBe(0x3c00);
  expect(floatToHalf(1 + 3 * 2 ** -11)).toBe(0x3c02);
  expect(floatToHalf(65519)).toBe(0x7bff);
  expect(floatToHalf(65520)).toBe(0x7c00);
  expect(floatToHalf(-(2 ** -24))).toBe(0x8001);
  expect(floatToHalf(2 ** -25)).toBe(0);
});

test("bfloat16 keeps the top half of the float and rounds to even", () => {
  expect(bfloatToFloat(floatToBfloat(1 / 3))).toBeCloseTo(1 / 3, 2);
  expect(floatToBfloat(Number.NEGATIVE_INFINITY)).toBe(0xff80);
  expect(Number.isNaN(bfloatToFloat(floatToBfloat(Number.NaN)))).toBe(true);
});

test("packed types read back sign-extended, in order", () => {
  const codes = [-8, 7, -1, 0, 3];
  const packed = packBits(codes, "int4");
  expect([...packed]).toEqual([0x78, 0x0f, 0x03]);
  expect([...new Tensor("int4", [5], new MemorySource(packed)).toNumbers()]).toEqual(codes);
  expect([...new Tensor("uint2", [4], new MemorySource(packBits([3, 0, 1, 2], "uint2"))).toNumbers()]).toEqual([
    3, 0, 1, 2,
  ]);
});

test("float8 codes decode as the OCP tables say", () => {
  const one = (dtype: "float8e4m3fn" | "float8e5m2" | "float8e4m3fnuz", code: number) =>
    new Tensor(dtype, [1], new MemorySource(Uint8Array.of(code))).toNumbers()[0];
  expect(one("float8e4m3fn", 0x7e)).toBe(448);
  expect(one("float8e4m3fn", 0x7f)).toBeNaN();
  expect(one("float8e5m2", 0x7b)).toBe(57344);
  expect(one("float8e5m2", 0xfc)).toBe(Number.NEGATIVE_INFINITY);
  expect(one("float8e4m3fnuz", 0x7f)).toBe(240);
});

test("dims and bytes must agree", () => {
  expect(() => new Tensor("float32", [2, 3], new MemorySource(new Uint8Array(20)))).toThrow(/expected 24, got 20/);
  expect(float32([2], [1, 2]).size).toBe(2);
  expect([...int64([2], [1, -1n]).toNumbers()]).toEqual([1, -1]);
  expect([...fromNumbers("float16", [2], [0.5, 2]).toFloat32()]).toEqual([0.5, 2]);
});

test("type codes are dense and unique", () => {
  expect(dtypes.map((row) => row.code).sort((a, b) => a - b)).toEqual(Array.from({ length: 26 }, (_, i) => i + 1));
  expect(byteSize("int4", 3)).toBe(2);
});
