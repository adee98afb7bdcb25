/** @file A vocabulary of whole words, made from texts, as a Hugging Face tokenizer.json: for models that are trained from scratch. */
import { TersorError } from "../util/errors.ts";

export interface WordTokenizerOptions {
  /** Most words that are kept, the commonest first. Default 20,000. */
  readonly size?: number;
  /** Words that occur fewer times are unknown ones. Default 2, so that the model learns what an unknown word is. */
  readonly least?: number;
}

const PADDING = "[PAD]";
const UNKNOWN = "[UNK]";

/** A run of letters and digits, or any other sign by itself. */
const WORD = "[\\p{L}\\p{M}\\p{N}_]+|[^\\s\\p{L}\\p{M}\\p{N}_]";

/**
 * The text of a tokenizer.json: words in lower case, 0 for padding, 1 for unknown words. Make it from training data only.
 * @throws bad-data when no word occurs often enough
 */
export function wordTokenizer(
  texts: Iterable<string>,
  { size = 20_000, least = 2 }: WordTokenizerOptions = {},
): string {
  const counts = new Map<string, number>();
  const word = new RegExp(WORD, "gu");
  for (const text of texts)
    for (const [found] of text.toLowerCase().matchAll(word)) counts.set(found, (counts.get(found) ?? 0) + 1);
  const order = (a: readonly [string, number], b: readonly [string, number]) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1);
  const kept = [...counts]
    .filter(([, count]) => count >= least)
    .sort(order)
    .slice(0, size);
  if (kept.length === 0)
    throw new TersorError(
      "bad-data",
      `wordTokenizer: none of ${counts.size} words occurs ${least} times. Give more texts, or a smaller "least".`,
    );
  const vocabulary = [PADDING, UNKNOWN, ...kept.map(([found]) => found)];
  const special = (content: string, id: number) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  return JSON.stringify({
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [special(PADDING, 0), special(UNKNOWN, 1)],
    normalizer: { type: "Lowercase" },
    pre_tokenizer: { type: "Split", pattern: { Regex: WORD }, behavior: "Removed", invert: true },
    post_processor: null,
    decoder: null,
    model: {
      type: "WordLevel",
      vocab: Object.fromEntries(vocabulary.map((found, id) => [found, id])),
      unk_token: UNKNOWN,
    },
  });
}
