/** @file Forms of operators that have no gradient say which, and what to do. */
import { expect, test } from "vitest";
import { parse } from "../../ir/text/index.ts";
import { gradient } from "../gradient.ts";

test.each([
  [
    "Einsum of a diagonal",
    '(float[3,3] x) => (loss) { y = Einsum<equation = "ii->i">(x) loss = ReduceSum<keepdims = 0>(y) }',
    /"ii" repeats an index/,
  ],
  [
    "Resize that keeps the aspect ratio",
    '(float[1,1,4,4] x) => (loss) <int64[2] n = {6, 8}> { y = Resize<axes = [2, 3], mode = "linear", keep_aspect_ratio_policy = "not_larger">(x, "", "", n) loss = ReduceSum<keepdims = 0>(y) }',
    /expected stretch, got not_larger/,
  ],
  [
    "a recurrent layer with an activation of its own",
    '(float[2,1,3] x, float[1,4,3] w, float[1,4,4] r) => (loss) { y = RNN<hidden_size = 4, activations = ["Cube"]>(x, w, r) loss = ReduceSum<keepdims = 0>(y) }',
    /activation: expected one of sigmoid, .*got "Cube"/,
  ],
  [
    "MatMulNBits with its groups out of order",
    `(float[2,32] x) => (loss) <uint8[1,1,16] w = {${Array(16).fill(0)}}, float[1] s = {1}, int32[32] g = {${Array(32).fill(0)}}> {
      y = com.microsoft.MatMulNBits<K = 32, N = 1, bits = 4, block_size = 32>(x, w, s, "", g) loss = ReduceSum<keepdims = 0>(y)
    }`,
    /no g_idx/,
  ],
])("%s", (_, text, message) => {
  const model = parse(text);
  expect(() => gradient(model, { of: "loss", with: ["x"] })).toThrow(message);
});
