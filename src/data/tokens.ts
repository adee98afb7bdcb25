/** @file Token inputs: what transformer models call their inputs, filled from token ids; windows for language models. */
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { elementCount } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { fitInput, type InputInfo } from "./fit-input.ts";

/** One text as tokens, each list of the same length. */
export interface Tokens {
  readonly ids: readonly number[];
  /** 1 for a token, 0 for padding. */
  readonly mask: readonly number[];
  /** 0 for the first text of a pair, 1 for the second. */
  readonly types: readonly number[];
}

interface TokenInput {
  readonly name: RegExp;
  fill(tokens: Tokens, input: InputInfo): HostTensor;
}

const sequence = (values: readonly number[]) => hostTensor("int64", [1, values.length], values);

/** Names as Hugging Face's exporters give them. */
const tokenInputs: readonly TokenInput[] = [
  { name: /^(decoder_)?input_ids$/, fill: ({ ids }) => sequence(ids) },
  { name: /^(\w+_)?attention_mask$/, fill: ({ mask }) => sequence(mask) },
  { name: /^token_type_ids$/, fill: ({ types }) => sequence(types) },
  { name: /^position_ids$/, fill: ({ ids }) => sequence(ids.map((_, position) => position)) },
  { name: /^past_key_values\b/, fill: (_, input) => emptyPast(input) },
  { name: /^use_cache_branch$/, fill: () => hostTensor("bool", [1], [0]) },
];

/**
 * The inputs of a model for one text: by their usual names, or, where a model has a single input, as that.
 * @throws bad-data for an input that tokens do not fill, or not to the length that it has; `subject` opens the message.
 */
export function inputsOfTokens(tokens: Tokens, inputs: readonly InputInfo[], subject: string) {
  const filled = inputs.map((input) => {
    const row = inputs.length === 1 ? tokenInputs[0] : tokenInputs.find(({ name }) => name.test(input.name));
    if (!row)
      throw new TersorError(
        "bad-data",
        `${subject}: input "${input.name}" cannot be made from text: expected input_ids, attention_mask, token_type_ids, position_ids or past_key_values. Give the data as .npz, JSON lines or a module.`,
      );
    return [input.name, fitInput(row.fill(tokens, input), input, subject)] as const;
  });
  return Object.fromEntries(filled);
}

/** A cache of no tokens: batch 1, the declared heads and width, length 0. */
function emptyPast({ dims }: InputInfo): HostTensor {
  const empty = dims.map((dim, axis) => (typeof dim === "number" ? dim : axis === 0 ? 1 : 0));
  return hostTensor("float32", empty, new Float32Array(elementCount(empty)));
}

/** One text of a language model: the tokens, and after each the one that follows (−1 where that does not count). */
export interface Window {
  readonly tokens: Tokens;
  /** int64 [1, tokens]. */
  readonly label: HostTensor;
}

export interface NextTokenOptions {
  /** The id that stands for no token in the source. */
  readonly padding?: number | undefined;
  /** The id that the model is fed in its place. 0 when absent. */
  readonly fill?: number | undefined;
}

/** A run of n + 1 token ids as n tokens and their successors. */
export function nextTokens(ids: ArrayLike<number>, { padding, fill = 0 }: NextTokenOptions = {}): Window {
  const all = Array.from(ids);
  const inputs = all.slice(0, -1);
  const isToken = (id: number) => id !== padding;
  const following = all.slice(1).map((id) => (isToken(id) ? id : -1));
  return {
    tokens: {
      ids: inputs.map((id) => (isToken(id) ? id : fill)),
      mask: inputs.map((id) => (isToken(id) ? 1 : 0)),
      types: inputs.map(() => 0),
    },
    label: sequence(following),
  };
}

/** Cuts to `maxLength` and pads to it, at the end. A last special token ([SEP], </s>) is kept when `keepLast`. */
export function fitLength(tokens: Tokens, maxLength: number, padding: number | undefined, keepLast: boolean): Tokens {
  const cut = (values: readonly number[]) => {
    if (values.length <= maxLength) return values;
    return keepLast ? [...values.slice(0, maxLength - 1), values.at(-1) as number] : values.slice(0, maxLength);
  };
  const { ids, mask, types } = { ids: cut(tokens.ids), mask: cut(tokens.mask), types: cut(tokens.types) };
  if (padding === undefined) return { ids, mask, types };
  const pad = (values: readonly number[], value: number) => [
    ...values,
    ...Array<number>(maxLength - values.length).fill(value),
  ];
  return { ids: pad(ids, padding), mask: pad(mask, 0), types: pad(types, 0) };
}
