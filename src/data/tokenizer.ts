/** @file TextTokenizer: texts to tokens with a Hugging Face tokenizer.json. */
import { Tokenizer } from "@huggingface/tokenizers";
import { messageOf, TersorError } from "../util/errors.ts";
import { parseJson } from "../util/json.ts";
import { fitLength, nextTokens, type Tokens, type Window } from "./tokens.ts";

export interface EncodeOptions {
  /** Tokens kept of a text, special ones included. */
  readonly maxLength?: number | undefined;
  /** Pad every text to `maxLength`. Without, texts keep their length. */
  readonly pad?: boolean | undefined;
  /** The id to pad with; what the tokenizer calls its padding token when absent. */
  readonly padding?: number | undefined;
}

/** Encodes texts for a model. */
export class TextTokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #file: string;
  readonly #padding: number | undefined;
  readonly #endsSpecial: boolean;

  /** @param json the content of tokenizer.json @param file its name, for messages @throws bad-data when it is not one. */
  constructor(json: string, file: string) {
    this.#file = file;
    try {
      const description = parseJson(json) as TokenizerFile;
      // Models of whole words are only told by the second argument what an unknown word is.
      const unknown = description.model?.unk_token;
      this.#tokenizer = new Tokenizer(description, typeof unknown === "string" ? { unk_token: unknown } : {});
      this.#padding = paddingOf(description, this.#tokenizer);
      const bare = this.#tokenizer.encode("a", { add_special_tokens: false }).ids;
      this.#endsSpecial = this.#tokenizer.encode("a").ids.at(-1) !== bare.at(-1);
    } catch (error) {
      throw unreadable(file, error);
    }
  }

  /** The tokens of a text, or of a pair of texts. @throws bad-data when padding is asked for and the tokenizer has none. */
  encode(text: string, pair: string | undefined, options: EncodeOptions): Tokens {
    const encoded = this.#encoded(text, {
      return_token_type_ids: true,
      ...(pair === undefined ? {} : { text_pair: pair }),
    });
    const types = encoded.token_type_ids ?? encoded.ids.map(() => 0);
    const tokens = { ids: encoded.ids, mask: encoded.ids.map(() => 1), types };
    const { maxLength, pad, padding = this.#padding } = options;
    if (maxLength === undefined) return tokens;
    if (pad && padding === undefined)
      throw new TersorError(
        "bad-data",
        `${this.#file}: the tokenizer names no padding token: expected option "padding" (a token id). Give one, or leave out "pad".`,
      );
    return fitLength(tokens, maxLength, pad ? padding : undefined, this.#endsSpecial);
  }

  /** A text cut into windows of `length` tokens that do not overlap; the rest at its end is a shorter window. */
  windows(text: string, length: number): Window[] {
    const { ids } = this.#encoded(text);
    const starts = Array.from({ length: Math.ceil((ids.length - 1) / length) }, (_, i) => i * length);
    return starts.map((start) => nextTokens(ids.slice(start, start + length + 1)));
  }

  /** Some parts of a tokenizer are looked at only when a text needs them. */
  #encoded(...args: Parameters<Tokenizer["encode"]>): ReturnType<Tokenizer["encode"]> {
    try {
      return this.#tokenizer.encode(...args);
    } catch (error) {
      throw unreadable(this.#file, error);
    }
  }
}

/** A part that is not there shows as the engine's own error, whose words are about code. */
function unreadable(file: string, error: unknown): TersorError {
  const got = error instanceof TypeError ? "one whose parts do not fit together" : messageOf(error);
  return new TersorError(
    "bad-data",
    `${file}: not a readable tokenizer: expected a Hugging Face tokenizer.json, got: ${got}.`,
    { cause: error },
  );
}

interface TokenizerFile {
  readonly padding?: { readonly pad_id?: number } | null;
  readonly model?: { readonly unk_token?: string | null };
}

/** What the file's own padding section says, else the token that goes by a usual name. */
function paddingOf(description: TokenizerFile, tokenizer: Tokenizer): number | undefined {
  const names = ["[PAD]", "<pad>", "<|pad|>", "<|endoftext|>"];
  return description.padding?.pad_id ?? names.map((name) => tokenizer.token_to_id(name)).find((id) => id !== undefined);
}
