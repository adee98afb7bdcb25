/** @file Tests of fidelity without padding: what an attention mask marks does not count, whatever stands there. */
import { describe, expect, it } from "vitest";
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { FidelityMeter } from "./fidelity.ts";

const floats = (dims: readonly number[], data: readonly number[]) => hostTensor("float32", dims, data);
const mask = (dims: readonly number[], data: readonly number[], dtype: HostTensor["dtype"] = "int64") => ({
  attention_mask: hostTensor(dtype, dims, data),
});

/** Two positions of two values: right at the first, wrong at the second. */
const wanted = { y: floats([1, 2, 2], [1, 2, 3, 4]) };
const given = { y: floats([1, 2, 2], [1, 2.5, 9, Number.NaN]) };

function measured(inputs: Readonly<Record<string, HostTensor>>, known?: boolean) {
  const meter = new FidelityMeter(() => known);
  meter.add(wanted, given, inputs);
  return { ...meter.result().y, padding: meter.padding() };
}

describe("padding", () => {
  it.each(["int64", "int32", "uint8", "bool"] as const)("of a mask of %s does not count", (dtype) => {
    const { sqnr, elements, broken, cosine, padding } = measured(mask([1, 2], [1, 0], dtype));
    expect([elements, broken]).toEqual([2, 0]);
    expect(sqnr).toBeCloseTo(10 * Math.log10(5 / 0.25), 10);
    expect(cosine).toBeLessThan(1);
    expect(padding).toEqual([{ mask: "attention_mask", output: "y", positions: 1, of: 2 }]);
  });

  it("on the left does not count either", () => {
    const meter = new FidelityMeter();
    meter.add({ y: floats([1, 2, 1], [7, 1]) }, { y: floats([1, 2, 1], [0, 1]) }, mask([1, 2], [0, 1]));
    expect(meter.result().y?.sqnr).toBe(Number.POSITIVE_INFINITY);
  });

  it.each([
    ["a mask of all ones", mask([1, 2], [1, 1])],
    ["no mask", {}],
    ["a mask of other numbers", mask([1, 2], [1, 2])],
    ["floats, which may be added", mask([1, 2], [1, 0], "float32")],
    ["a mask of another length", mask([1, 3], [1, 0, 0])],
    ["an input of another name", { decoder_attention_mask: hostTensor("int64", [1, 2], [1, 0]) }],
  ])("changes nothing with %s", (_, inputs) => {
    expect(measured(inputs)).toMatchObject({ elements: 4, broken: 1, padding: [] });
  });

  it("changes nothing where the second axis is known to be something else", () => {
    expect(measured(mask([1, 2], [1, 0]), false)).toMatchObject({ elements: 4, padding: [] });
  });

  it("of two axes counts until the model says that they are positions", () => {
    const pooled = (known?: boolean) => {
      const meter = new FidelityMeter(() => known);
      meter.add({ y: floats([1, 2], [1, 2]) }, { y: floats([1, 2], [1, 3]) }, mask([1, 2], [1, 0]));
      return meter.result().y?.elements;
    };
    expect([pooled(), pooled(true)]).toEqual([2, 1]);
  });

  it("is told sample by sample in a batch", () => {
    const meter = new FidelityMeter();
    const y = floats([2, 2, 1], [1, 9, 9, 1]);
    meter.add({ y }, { y: floats([2, 2, 1], [1, 0, 0, 1]) }, mask([2, 2], [1, 0, 0, 1]));
    expect(meter.result().y).toMatchObject({ elements: 2, sqnr: Number.POSITIVE_INFINITY });
  });
});
