/** @file Which steps the flags of `tersor quantize` ask for. */
import { describe, expect, test } from "vitest";
import { equalizeStepFor, quantizeStepFor } from "./quantize-modes.ts";

const naming = ([name]: readonly PropertyKey[]) => `--${String(name)}`;

describe("quantization", () => {
  test.each([
    [{ dtype: "int4" }, { quantize: { dtype: "int4" } }],
    [{ calibrate: "d", method: "gptq" }, { quantize: { calibrate: "d", method: "gptq" } }],
    [{ calibrate: "d", dtype: "int4" }, { quantize: { mode: "static", calibrate: "d", dtype: "int4" } }],
    [
      { calibrate: "d", method: "gptq", activations: "uint8" },
      { quantize: { mode: "static", calibrate: "d", method: "gptq", activations: "uint8" } },
    ],
    [{ dynamic: true, calibrate: "d", equalize: "smoothquant" }, { quantize: { mode: "dynamic", calibrate: "d" } }],
  ])("%j", async (options, step) => {
    expect(await quantizeStepFor(options, naming)).toEqual(step);
  });

  test("flags of two ways don't go together", async () => {
    await expect(quantizeStepFor({ dynamic: true, activations: "int8" }, naming)).rejects.toThrow(
      /--activations: does not go with dynamic quantization/,
    );
    expect(await quantizeStepFor({ dynamic: true, calibrate: "d" }, naming)).toEqual({
      quantize: { mode: "dynamic", calibrate: "d" },
    });
  });
});

test("integer layers take the methods that keep given scales", async () => {
  await expect(quantizeStepFor({ calibrate: "d", method: "awq", activations: "uint8" }, naming)).rejects.toThrow(
    /--method: expected one of rtn, gptq, adaround, brecq, got "awq"/,
  );
});

describe("equalization", () => {
  test("takes the flags that concern it", async () => {
    expect(await equalizeStepFor({ dtype: "int4" }, naming)).toBeUndefined();
    const options = { equalize: "cross-layer, awq", calibrate: "d", dtype: "int4", method: "gptq" };
    const own = { equalize: "cross-layer, awq", calibrate: "d", dtype: "int4" };
    expect(await equalizeStepFor(options, naming)).toEqual({ equalize: own });
  });

  test.each([
    [{ equalize: "smoothquant" }, /--equalize smoothquant: needs to see activations: expected --calibrate/],
    [{ equalize: "smoothqant" }, /--equalize: expected one of cross-layer, smoothquant, awq/],
    [{ equalize: "cross-layer", float16: true }, /--equalize: float16 gains nothing by it/],
    [{ alpha: 0.3 }, /--alpha: goes with --equalize/],
    [{ equalize: "cross-layer", alpha: 2 }, /--alpha: /],
  ])("%j is refused", async (options, message) => {
    await expect(equalizeStepFor(options, naming)).rejects.toThrow(message);
  });
});
