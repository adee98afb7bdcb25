/** @file What exceeds a target's limits is said, and nothing else. */
import { expect, test } from "vitest";
import { exceededLimits } from "./limits.ts";
import { targetNamed } from "./targets.ts";

const gpu = targetNamed("web-webgpu");
const MiB = 2 ** 20;

test("names the tensors, and the file, that are too large for the target", () => {
  expect(exceededLimits(gpu, new Map([["small", 128 * MiB]]))).toEqual([]);
  expect(exceededLimits(gpu, new Map([["w", 200 * MiB]]))).toEqual([
    '"w" has 200 MiB: web-webgpu may hold no more than 128 MiB in one tensor',
  ]);
  const many = new Map(Array.from({ length: 40 }, (_, i) => [`w${i}`, 110 * MiB] as const));
  expect(exceededLimits(gpu, many)).toEqual([
    "4,400 MiB of weights: more than the 4,096 MiB of memory that web-webgpu has",
    "4,400 MiB of weights: above 2,048 MiB a file needs external data on web-webgpu",
  ]);
  expect(exceededLimits(targetNamed("node-x64"), new Map([["w", 200 * MiB]]))).toEqual([]);
});
