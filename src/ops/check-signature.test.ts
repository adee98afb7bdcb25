import { expect, test } from "vitest";
import { checkSignature } from "./check-signature.ts";

const node = (opType: string, inputs: number, attributes: Record<string, string> = {}, domain = "") => ({
  domain,
  opType,
  inputs: new Array<boolean>(inputs).fill(true),
  outputs: [true],
  attributes: Object.entries(attributes),
});

test("accepts what the schema allows", () => {
  expect(checkSignature(node("Conv", 2), 13)).toEqual([]);
  expect(checkSignature(node("Conv", 3, { pads: "ints", auto_pad: "string" }), 22)).toEqual([]);
  expect(checkSignature(node("Concat", 40, { axis: "int" }), 13)).toEqual([]);
  expect(checkSignature({ ...node("Resize", 4), inputs: [true, false, false, true] }, 13)).toEqual([]);
  expect(checkSignature({ ...node("LSTM", 3), outputs: [false, true] }, 14)).toEqual([]);
  expect(
    checkSignature(node("MatMulNBits", 3, { K: "int", N: "int", bits: "int", block_size: "int" }, "com.microsoft"), 1),
  ).toEqual([]);
});

test("does not judge a domain that it has no schemas of", () => {
  expect(checkSignature(node("Anything", 9, {}, "com.example"), 1)).toEqual([]);
});

test.each<[string, readonly string[], ReturnType<typeof node>, number]>([
  ["a name in the wrong case", ['unknown operator of ai.onnx; did you mean "MatMul"?'], node("Matmul", 2), 13],
  ["a name like no other", ["unknown operator of com.microsoft"], node("Xyzzyx", 2, {}, "com.microsoft"), 1],
  [
    "an operator of the future",
    ["the operator came with opset 20 of ai.onnx: the model imports opset 17"],
    node("Gelu", 1),
    17,
  ],
  [
    "a deprecated operator",
    ["the operator is deprecated since opset 10: expected another one at opset 13"],
    node("Upsample", 2),
    13,
  ],
  ["too many inputs", ["too many inputs: expected at most 3, got 4"], node("Conv", 4), 13],
  ["a missing input", ['input "W" is missing'], node("Conv", 1), 13],
  ["a required input left empty", ['input "W" is missing'], { ...node("Conv", 3), inputs: [true, false, true] }, 13],
  [
    "too few of a variadic input",
    ["too few inputs: expected at least 1, got 0"],
    node("Concat", 0, { axis: "int" }),
    13,
  ],
  ["a missing output", ['output "Y" is missing'], { ...node("Relu", 1), outputs: [] }, 13],
  [
    "too many outputs",
    ["too many outputs: expected at most 1, got 2"],
    { ...node("Relu", 1), outputs: [true, true] },
    13,
  ],
  ["a missing attribute", ['attribute "axis" (int) is missing'], node("Concat", 2), 13],
  [
    "an attribute that came later",
    ['unknown attribute "axis" of version 10'],
    node("DequantizeLinear", 2, { axis: "int" }),
    10,
  ],
  [
    "a misspelt attribute",
    ['unknown attribute "dilation" of version 11; did you mean "dilations"?'],
    node("Conv", 2, { dilation: "ints" }),
    13,
  ],
  [
    "an attribute of the wrong type",
    ['attribute "alpha": expected type float, got int'],
    node("Gemm", 3, { alpha: "int" }),
    13,
  ],
])("reports %s", (_name, problems, signature, opset) => {
  expect(checkSignature(signature, opset)).toEqual(problems);
});

test("reports everything at once", () => {
  expect(checkSignature(node("Concat", 0, { axes: "int" }), 13)).toEqual([
    "too few inputs: expected at least 1, got 0",
    'unknown attribute "axes" of version 13; did you mean "axis"?',
    'attribute "axis" (int) is missing',
  ]);
});
