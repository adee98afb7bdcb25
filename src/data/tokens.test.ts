import { describe, expect, it } from "vitest";
import { tinyTokenizer } from "../../test/tiny-tokenizer.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import type { InputInfo } from "./fit-input.ts";
import { TextTokenizer } from "./tokenizer.ts";
import { inputsOfTokens, nextTokens } from "./tokens.ts";

const int64 = (name: string): InputInfo => ({ name, dtype: "int64", dims: ["B", "T"] });
const tokenizer = new TextTokenizer(tinyTokenizer, "tokenizer.json");

describe("tokenizer", () => {
  it("adds special tokens and the types of a pair", () => {
    expect(tokenizer.encode("the cat", undefined, {}).ids).toEqual([2, 4, 5, 3]);
    expect(tokenizer.encode("the", "cat", {})).toEqual({
      ids: [2, 4, 3, 5, 3],
      mask: [1, 1, 1, 1, 1],
      types: [0, 0, 0, 1, 1],
    });
  });

  it("cuts to a length, keeps the last special token, and pads with the tokenizer's own", () => {
    expect(tokenizer.encode("the cat sat", undefined, { maxLength: 3 }).ids).toEqual([2, 4, 3]);
    expect(tokenizer.encode("the", undefined, { maxLength: 5, pad: true })).toEqual({
      ids: [2, 4, 3, 0, 0],
      mask: [1, 1, 1, 0, 0],
      types: [0, 0, 0, 0, 0],
    });
  });

  it("cuts a text into windows with their successors", () => {
    const windows = tokenizer.windows("the cat sat", 2);
    expect(windows.map(({ tokens }) => tokens.ids)).toEqual([
      [2, 4],
      [5, 6],
    ]);
    expect(windows.map(({ label }) => label)).toEqual([
      hostTensor("int64", [1, 2], [4, 5]),
      hostTensor("int64", [1, 2], [6, 3]),
    ]);
  });

  it.each(["", "[]", "{}"])("refuses %j", (json) => {
    expect(() => new TextTokenizer(json, "t.json")).toThrowError("t.json: not a readable tokenizer");
  });

  it("says of parts that do not fit what they are, not what an engine says", () => {
    const whole = JSON.parse(tinyTokenizer);
    const got = "expected a Hugging Face tokenizer.json, got: one whose parts do not fit together.";
    const { added_tokens: _, ...bare } = whole;
    expect(() => new TextTokenizer(JSON.stringify(bare), "t.json")).toThrowError(got);
    // What only pairs need, a first look does not see.
    const pairless = { ...whole, post_processor: { ...whole.post_processor, pair: undefined } };
    expect(() => new TextTokenizer(JSON.stringify(pairless), "t.json").encode("the", "cat", {})).toThrowError(got);
  });
});

describe("token inputs", () => {
  const tokens = { ids: [7, 8], mask: [1, 0], types: [0, 1] };

  it("fill what the model has, in its types", () => {
    const inputs: InputInfo[] = [
      { ...int64("input_ids"), dtype: "int32" },
      int64("attention_mask"),
      int64("token_type_ids"),
      int64("position_ids"),
      { name: "past_key_values.0.key", dtype: "float16", dims: ["B", 4, "past", 8] },
    ];
    expect(inputsOfTokens(tokens, inputs, "s")).toEqual({
      input_ids: hostTensor("int32", [1, 2], [7, 8]),
      attention_mask: hostTensor("int64", [1, 2], [1, 0]),
      token_type_ids: hostTensor("int64", [1, 2], [0, 1]),
      position_ids: hostTensor("int64", [1, 2], [0, 1]),
      "past_key_values.0.key": hostTensor("float16", [1, 4, 0, 8], []),
    });
  });

  it("fill a single input of any name, and refuse what they do not know", () => {
    expect(inputsOfTokens(tokens, [int64("x")], "s")).toEqual({ x: hostTensor("int64", [1, 2], [7, 8]) });
    expect(() => inputsOfTokens(tokens, [int64("input_ids"), int64("pixels")], "s")).toThrowError(
      's: input "pixels" cannot be made from text',
    );
  });

  it("shift by one, with padding fed as something else and not counted", () => {
    expect(nextTokens([1, 5, -1, -1], { padding: -1 })).toEqual({
      tokens: { ids: [1, 5, 0], mask: [1, 1, 0], types: [0, 0, 0] },
      label: hostTensor("int64", [1, 3], [5, -1, -1]),
    });
  });
});
