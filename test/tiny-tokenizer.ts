/** @file A tokenizer.json of seven words for tests: word level, [CLS] … [SEP], padding 0. */

const vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat"];

const special = (content: string) => ({
  id: vocabulary.indexOf(content),
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

const piece = (id: string, type: number) => ({ Sequence: { id, type_id: type } });
const mark = (id: string, type: number) => ({ SpecialToken: { id, type_id: type } });

export const tinyTokenizer = JSON.stringify({
  version: "1.0",
  added_tokens: ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(special),
  normalizer: { type: "Lowercase" },
  pre_tokenizer: { type: "Whitespace" },
  post_processor: {
    type: "TemplateProcessing",
    single: [mark("[CLS]", 0), piece("A", 0), mark("[SEP]", 0)],
    pair: [mark("[CLS]", 0), piece("A", 0), mark("[SEP]", 0), piece("B", 1), mark("[SEP]", 1)],
    special_tokens: Object.fromEntries(
      ["[CLS]", "[SEP]"].map((id) => [id, { id, ids: [vocabulary.indexOf(id)], tokens: [id] }]),
    ),
  },
  decoder: null,
  model: {
    type: "WordLevel",
    vocab: Object.fromEntries(vocabulary.map((word, index) => [word, index])),
    unk_token: "[UNK]",
  },
});
