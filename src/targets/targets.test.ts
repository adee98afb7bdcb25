/** @file Tests of the target table and of targets from JSON. */
import { expect, test } from "vitest";
import { kernelNames, kernelObstacle } from "./target.ts";
import { parseTarget, targetNamed, targets } from "./targets.ts";

test("every row survives JSON and knows every kernel", () => {
  for (const target of targets) {
    expect(parseTarget(JSON.parse(JSON.stringify(target)), "x.json")).toEqual(target);
    expect(Object.keys(target.kernels).sort()).toEqual([...kernelNames].sort());
    expect(target.evidence.length).toBeGreaterThan(0);
  }
});

test("no target that saturates is given 8-bit signed weights", () => {
  for (const { saturates, weights } of targets)
    if (saturates) expect(weights.dtype === "uint8" || weights.bits === 7).toBe(true);
});

test("an unknown name lists the nearest", () => {
  expect(targetNamed("web-wasm").runtime).toBe("ort-web");
  expect(() => targetNamed("node-x46")).toThrow(/no such target: expected node-x64, .*Nearest: node-x64/);
});

test("unknown keys and wrong values of a file are errors", () => {
  const row = JSON.parse(JSON.stringify(targetNamed("any")));
  expect(() => parseTarget({ ...row, saturate: true }, "phone.json")).toThrow(/phone\.json: is no target: .*saturate/s);
  expect(() => parseTarget({ ...row, accuracyLevel: 2 }, "phone.json")).toThrow(/accuracyLevel/);
  expect(() => parseTarget({ ...row, kernels: { Convolution: { runs: "integer" } } }, "phone.json")).toThrow(/kernels/);
});

test("an obstacle says what and why", () => {
  const wasm = targetNamed("web-wasm");
  expect(kernelObstacle(wasm, "Conv")).toBeUndefined();
  expect(kernelObstacle(wasm, "Conv depthwise")).toMatch(
    /^Conv depthwise: 4\.5 times the time of float32 on web-wasm \(3\.4 ms/,
  );
  expect(kernelObstacle(targetNamed("web-webgpu"), "Conv")).toMatch(/runs in float on web-webgpu/);
  expect(kernelObstacle({ ...wasm, kernels: {} }, "Add")).toMatch(/not listed/);
});
