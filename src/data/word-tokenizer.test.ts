import { describe, expect, it } from "vitest";
import { TextTokenizer } from "./tokenizer.ts";
import { wordTokenizer } from "./word-tokenizer.ts";

const texts = ["The cat sat.", "the dog sat, too.", "A cat's 2 dogs: naïve, naïve!"];

describe("wordTokenizer", () => {
  it("makes a tokenizer of the words that occur, the commonest first", () => {
    const json = wordTokenizer(texts);
    const { vocab } = JSON.parse(json).model;
    expect(Object.keys(vocab)).toEqual(["[PAD]", "[UNK]", ",", ".", "cat", "naïve", "sat", "the"]);
    const tokenizer = new TextTokenizer(json, "words.json");
    const names = Object.keys(vocab);
    const words = (text: string) => tokenizer.encode(text, undefined, {}).ids.map((id) => names[id]);
    expect(words("The  NAÏVE cat,sat?")).toEqual(["the", "naïve", "cat", ",", "sat", "[UNK]"]);
    expect(tokenizer.encode("the cat", undefined, { maxLength: 4, pad: true })).toMatchObject({
      ids: [7, 4, 0, 0],
      mask: [1, 1, 0, 0],
    });
  });

  it("keeps as many as asked for, and the same for the same texts in another order", () => {
    const three = wordTokenizer(texts, { size: 3 });
    expect(Object.keys(JSON.parse(three).model.vocab)).toEqual(["[PAD]", "[UNK]", ",", ".", "cat"]);
    expect(wordTokenizer([...texts].reverse(), { size: 3 })).toBe(three);
    expect(Object.keys(JSON.parse(wordTokenizer(texts, { least: 1 })).model.vocab)).toContain("dogs");
  });

  it("refuses texts without a word that is common enough", () => {
    expect(() => wordTokenizer(["a b c"])).toThrow("none of 3 words occurs 2 times");
  });
});
