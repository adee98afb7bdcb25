import { expect, test } from "vitest";
import { irVersionForOpset, maxIrVersion, maxOpset, newestOpsetForIr } from "./opset.ts";

test("IR version that an opset needs", () => {
  const opsets = [1, 8, 9, 13, 14, 15, 18, 19, 20, 21, 22, 23, 24, 25];
  expect(opsets.map(irVersionForOpset)).toEqual([3, 3, 4, 7, 7, 8, 8, 9, 9, 10, 10, 11, 12, 13]);
  expect(irVersionForOpset(maxOpset)).toBe(maxIrVersion);
});

test("newest opset of an IR version", () => {
  const versions = [1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13];
  expect(versions.map(newestOpsetForIr)).toEqual([1, 1, 8, 9, 14, 18, 20, 22, 23, 24, 25]);
});
