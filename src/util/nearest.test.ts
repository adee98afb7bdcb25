import { expect, test } from "vitest";
import { nearestNames } from "./nearest.ts";

test("lists what a typing error may have meant, closest first", () => {
  const known = ["Conv", "ConvTranspose", "Concat", "Gemm", "Cos"];
  expect(nearestNames("Cov", known)).toEqual(["Conv", "Cos"]);
  expect(nearestNames("conv", known)).toEqual(["Conv"]);
  expect(nearestNames("MatMulNBitz", ["MatMulNBits", "MatMulBnb4", "MatMul"], 1)).toEqual(["MatMulNBits"]);
});

test("offers nothing when nothing resembles the name", () => {
  expect(nearestNames("Frobnicate", ["Conv", "Gemm"])).toEqual([]);
});
