/** @file Tests of smaller tokenizers: on the corpus they give the same tokens under new ids, and they can spell the rest. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tinyTokenizer } from "../../../test/tiny-tokenizer.ts";
import { TextTokenizer } from "../../data/tokenizer.ts";
import { pruneTokenizer } from "./prune-tokenizer.ts";

const letters = Array.from("abcde");

/** Byte-level BPE without prefix space; merges over five letters, some of which stand in the way of others. */
const merges = ["a b", "b c", "c d", "ab c", "bc d", "d e", "abc de", "a a", "aa b", "e e", "ee ee"];
const bpe = JSON.stringify({
  version: "1.0",
  added_tokens: [
    { id: 0, content: "<s>", special: true, single_word: false, lstrip: false, rstrip: false, normalized: false },
  ],
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: { type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: true },
  decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: {
    type: "BPE",
    vocab: Object.fromEntries(
      ["<s>", "Ġ", ...letters, ...merges.map((merge) => merge.replace(" ", ""))].map((token, id) => [token, id]),
    ),
    merges,
  },
});

const pieces: [string, number][] = [
  ["<unk>", 0],
  ["▁", -3],
  ...letters.map((letter, i): [string, number] => [letter, -6 - i]),
  ["ab", -5],
  ["bc", -5.5],
  ["▁ab", -4],
  ["cde", -7],
  ["abc", -9],
  ["eee", -8],
  ["q", -20],
];
const unigram = JSON.stringify({
  version: "1.0",
  added_tokens: [
    { id: 0, content: "<unk>", special: true, single_word: false, lstrip: false, rstrip: false, normalized: false },
  ],
  normalizer: null,
  pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", add_prefix_space: true },
  post_processor: null,
  decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", add_prefix_space: true },
  model: { type: "Unigram", unk_id: 0, vocab: pieces },
});

const wordPiece = JSON.stringify({
  version: "1.0",
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: "Whitespace" },
  post_processor: null,
  decoder: null,
  model: {
    type: "WordPiece",
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(
      ["[UNK]", "a", "b", "c", "ab", "abc", "##a", "##b", "##c", "##d", "##ab", "##cd", "##de"].map((token, id) => [
        token,
        id,
      ]),
    ),
  },
});

const encode = (json: string, text: string) => new TextTokenizer(json, "t").encode(text, undefined, {}).ids;

describe.each([
  ["whole words", tinyTokenizer, ["the", "cat", "sat", "dog"]],
  ["BPE", bpe, letters],
  ["Unigram", unigram, [...letters, "x"]],
  ["WordPiece", wordPiece, letters],
])("a smaller tokenizer of %s", (_, json, alphabet) => {
  const text = fc
    .array(fc.array(fc.constantFrom(...alphabet), { minLength: 1, maxLength: 7 }), { minLength: 1, maxLength: 4 })
    .map((list) => list.map((word) => word.join(json === tinyTokenizer ? " " : "")).join(" "));

  it("gives the same tokens for the corpus, and for all of it what is in the file", () => {
    let gone = 0;
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 3 }), text, (corpus, other) => {
        const old = corpus.map((line) => encode(json, line));
        const { kept, json: smaller } = pruneTokenizer(json, "t", old.flat(), 100);
        const place = new Map(kept.map((id, at) => [id, at]));
        expect(corpus.map((line) => encode(smaller(), line))).toEqual(old.map((ids) => ids.map((id) => place.get(id))));
        expect(encode(smaller(), other).every((id) => id < kept.length)).toBe(true);
        gone += Object.keys(JSON.parse(json).model.vocab).length - kept.length;
      }),
      { numRuns: 60, seed: 3 },
    );
    expect(gone).toBeGreaterThan(10);
  });
});

describe("a smaller tokenizer", () => {
  it("keeps special tokens and moves their ids everywhere", () => {
    const smaller = JSON.parse(pruneTokenizer(tinyTokenizer, "t", [5], 7).json());
    expect(smaller.model.vocab).toEqual({ "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, cat: 4 });
    const moved = { ...JSON.parse(tinyTokenizer), padding: { pad_id: 6 } };
    moved.post_processor = {
      type: "Sequence",
      processors: [{ type: "BertProcessing", sep: ["[SEP]", 3], cls: ["sat", 6] }, moved.post_processor],
    };
    const { padding, post_processor: processor } = JSON.parse(
      pruneTokenizer(JSON.stringify(moved), "t", [6], 7).json(),
    );
    expect([padding.pad_id, processor.processors[0].cls, processor.processors[1].special_tokens["[SEP]"].ids]).toEqual([
      4,
      ["sat", 4],
      [3],
    ]);
  });

  it.each([
    ["{", "bad-data", "not a readable tokenizer"],
    ["{}", "bad-data", "expected a Hugging Face tokenizer.json with a vocabulary"],
    [JSON.stringify({ model: { type: "Strange", vocab: {} } }), "unsupported-op", "its model is Strange"],
    [tinyTokenizer.replace('"id":3', '"id":30'), "bad-data", 'token "[SEP]" has the id 30: expected ids below 7'],
  ])("refuses %j", (json, code, message) => {
    expect(() => pruneTokenizer(json, "t.json", [1], 7)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    );
  });
});
