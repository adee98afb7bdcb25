/**
 * @file A tokenizer.json without the tokens that a corpus does not need: it gives the same tokens for that corpus, under new ids, and spells
 * everything else in smaller pieces. Models of whole words, WordPiece, BPE and Unigram: one row each.
 */
import { messageOf, TersorError } from "../../util/errors.ts";

/** A Hugging Face tokenizer.json, as far as ids go. What is not named here stays as it is. */
interface TokenizerFile {
  readonly model: TokenizerModel;
  readonly added_tokens?: readonly AddedToken[];
  readonly post_processor?: PostProcessor | null;
  readonly padding?: { readonly pad_id?: number } | null;
  readonly pre_tokenizer?: unknown;
  readonly decoder?: unknown;
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
}

interface TokenizerModel {
  readonly type?: string;
  readonly vocab: Readonly<Record<string, number>> | readonly (readonly [string, number])[];
  readonly merges?: readonly (string | readonly [string, string])[];
  readonly unk_token?: string | null;
  readonly unk_id?: number | null;
  readonly continuing_subword_prefix?: string | null;
  readonly end_of_word_suffix?: string | null;
}

interface PostProcessor {
  readonly type: string;
  readonly processors?: readonly PostProcessor[];
  readonly special_tokens?: Readonly<Record<string, { readonly ids: readonly number[] }>>;
  readonly cls?: readonly [string, number];
  readonly sep?: readonly [string, number];
}

/** What a kind of tokenizer needs besides the tokens of the corpus, and what is left of it. */
interface TokenizerKind {
  /** Tokens by id; undefined where an id has none. */
  tokens(model: TokenizerModel): readonly (string | undefined)[];
  /** Tokens without which the others would not be found, or not be chosen. */
  needs(model: TokenizerModel, used: readonly string[]): readonly string[];
  prune(model: TokenizerModel, kept: readonly number[], tokens: readonly (string | undefined)[]): TokenizerModel;
}

export interface PrunedTokenizer {
  /** Old ids that stay, ascending: those of the corpus, special ones, bytes and single letters of byte-level models, and what leads to them. */
  readonly kept: readonly number[];
  /** The new file. */
  json(): string;
}

const byName = (model: TokenizerModel): readonly (string | undefined)[] => {
  const tokens: (string | undefined)[] = [];
  for (const [token, id] of Object.entries(model.vocab as Record<string, number>)) tokens[id] = token;
  return tokens;
};

const namedAgain = (kept: readonly number[], tokens: readonly (string | undefined)[]) =>
  Object.fromEntries(kept.flatMap((id, place) => (tokens[id] === undefined ? [] : [[tokens[id], place]])));

/** The longest piece that fits is taken: those of the corpus stay the longest. */
const words: TokenizerKind = {
  tokens: byName,
  needs: ({ unk_token }) => (unk_token ? [unk_token] : []),
  prune: (model, kept, tokens) => ({ ...model, vocab: namedAgain(kept, tokens) }),
};

/** Merges by rank: those that make the tokens of the corpus stay, with all tokens on the way, and so do those among them. */
const bpe: TokenizerKind = {
  tokens: byName,
  needs(model, used) {
    const ranks = new Map(mergesOf(model).map(([a, b], rank) => [`${a} ${b}`, rank]));
    return [...(model.unk_token ? [model.unk_token] : []), ...used.flatMap((token) => derivation(token, model, ranks))];
  },
  prune(model, kept, tokens) {
    const left = new Set(kept.flatMap((id) => tokens[id] ?? []));
    const prefix = model.continuing_subword_prefix ?? "";
    const stays = ([a, b]: readonly [string, string]) =>
      left.has(a) && left.has(b) && left.has(a + (b.startsWith(prefix) ? b.slice(prefix.length) : b));
    const merges = (model.merges ?? []).filter((merge) => stays(pairOf(merge)));
    return { ...model, vocab: namedAgain(kept, tokens), merges };
  },
};

/** The best path stays the best while its pieces stay; what an unknown character costs hangs on the least score there is. */
const unigram: TokenizerKind = {
  tokens: ({ vocab }) => (vocab as readonly (readonly [string, number])[]).map(([piece]) => piece),
  needs({ vocab, unk_id }) {
    const pieces = vocab as readonly (readonly [string, number])[];
    const least = pieces.reduce((a, b) => (b[1] < a[1] ? b : a), pieces[0] as readonly [string, number]);
    const unknown = typeof unk_id === "number" ? pieces[unk_id] : undefined;
    return [least[0], ...(unknown ? [unknown[0]] : [])];
  },
  prune(model, kept) {
    const pieces = model.vocab as readonly (readonly [string, number])[];
    const { unk_id } = model;
    return {
      ...model,
      vocab: kept.flatMap((id) => (pieces[id] ? [pieces[id]] : [])),
      ...(typeof unk_id === "number" && { unk_id: kept.indexOf(unk_id) }),
    };
  },
};

const kinds: Readonly<Record<string, TokenizerKind>> = {
  WordLevel: words,
  WordPiece: words,
  BPE: bpe,
  Unigram: unigram,
};

function pairOf(merge: string | readonly [string, string]): readonly [string, string] {
  if (typeof merge !== "string") return merge;
  const at = merge.indexOf(" ", 1);
  return [merge.slice(0, at), merge.slice(at + 1)];
}

function mergesOf(model: TokenizerModel): (readonly [string, string])[] {
  return (model.merges ?? []).map(pairOf);
}

/** All tokens that merging makes on the way to a token: from its letters, the merge of the least rank first. */
function derivation(token: string, model: TokenizerModel, ranks: ReadonlyMap<string, number>): string[] {
  const suffix = model.end_of_word_suffix ?? "";
  const prefix = model.continuing_subword_prefix ?? "";
  const ends = suffix !== "" && token.endsWith(suffix) && token !== suffix;
  const letters = Array.from(ends ? token.slice(0, -suffix.length) : token);
  let parts = letters.map(
    (letter, i) => (i > 0 ? prefix : "") + letter + (ends && i === letters.length - 1 ? suffix : ""),
  );
  const seen = [...parts];
  while (parts.length > 1) {
    let best = -1;
    let rank = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < parts.length; i++) {
      const own = ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Number.POSITIVE_INFINITY;
      if (own < rank) [best, rank] = [i, own];
    }
    if (best < 0) break;
    const right = parts[best + 1] as string;
    const merged = (parts[best] as string) + (right.startsWith(prefix) ? right.slice(prefix.length) : right);
    seen.push(merged);
    parts = [...parts.slice(0, best), merged, ...parts.slice(best + 2)];
  }
  return seen;
}

const byteToken = /^<0x[0-9A-F]{2}>$/;

/**
 * Which tokens a corpus needs, and the tokenizer with these alone.
 * @param json the content of tokenizer.json @param file its name, for messages @param used ids of the corpus @param size ids that the model takes
 * @throws bad-data for a file that is no tokenizer, and for special tokens that the model has no row for; unsupported-op for a model of another kind
 */
export function pruneTokenizer(json: string, file: string, used: Iterable<number>, size: number): PrunedTokenizer {
  const description = read(json, file);
  const { model, added_tokens: added = [] } = description;
  const type = model.type ?? (model.merges ? "BPE" : Array.isArray(model.vocab) ? "Unigram" : "WordPiece");
  const kind = kinds[type];
  if (!kind)
    throw new TersorError(
      "unsupported-op",
      `${file}: its model is ${type}: expected ${Object.keys(kinds).join(", ")}. Leave out the tokenizer: the mapping of ids is written all the same.`,
    );
  const tokens = kind.tokens(model);
  const ids = new Map(tokens.flatMap((token, id) => (token === undefined ? [] : [[token, id] as const])));
  const special = new Set(added.map(({ id }) => id));
  const [homeless] = added.filter(({ id }) => id >= size);
  if (homeless)
    throw new TersorError(
      "bad-data",
      `${file}: token "${homeless.content}" has the id ${homeless.id}: expected ids below ${size}, which the model has rows for. Is it the model's tokenizer?`,
    );
  const isByteLevel = JSON.stringify([description.pre_tokenizer, description.decoder]).includes('"ByteLevel"');
  const kept = new Set([...used, ...special]);
  for (const [token, id] of ids)
    if (id < size && (byteToken.test(token) || (isByteLevel && Array.from(token).length === 1))) kept.add(id);
  const spelled = [...kept].flatMap((id) => {
    const token = tokens[id];
    return token === undefined || special.has(id) || byteToken.test(token) ? [] : [token];
  });
  for (const token of kind.needs(model, spelled)) {
    const id = ids.get(token);
    if (id !== undefined && id < size) kept.add(id);
  }
  const list = [...kept].sort((a, b) => a - b);
  return {
    kept: list,
    json() {
      const place = new Map(list.map((id, at) => [id, at]));
      const { padding, post_processor: processor } = description;
      return JSON.stringify({
        ...description,
        added_tokens: added.map((token) => ({ ...token, id: place.get(token.id) })),
        ...(padding && { padding: { ...padding, pad_id: place.get(padding.pad_id ?? -1) ?? padding.pad_id } }),
        ...(processor && { post_processor: withNewIds(processor, place) }),
        model: kind.prune(model, list, tokens),
      });
    },
  };
}

function read(json: string, file: string): TokenizerFile {
  try {
    const description = JSON.parse(json) as Partial<TokenizerFile>;
    if (description.model && typeof description.model.vocab === "object") return description as TokenizerFile;
  } catch (error) {
    throw new TersorError("bad-data", `${file}: not a readable tokenizer: ${messageOf(error)}.`, { cause: error });
  }
  throw new TersorError(
    "bad-data",
    `${file}: not a readable tokenizer: expected a Hugging Face tokenizer.json with a vocabulary.`,
  );
}

function withNewIds(processor: PostProcessor, place: ReadonlyMap<number, number>): PostProcessor {
  const { processors, special_tokens: special, cls, sep } = processor;
  const moved = ([token, id]: readonly [string, number]): [string, number] => [token, place.get(id) ?? id];
  return {
    ...processor,
    ...(processors && { processors: processors.map((each) => withNewIds(each, place)) }),
    ...(special && {
      special_tokens: Object.fromEntries(
        Object.entries(special).map(([name, token]) => [
          name,
          { ...token, ids: token.ids.map((id) => place.get(id) ?? id) },
        ]),
      ),
    }),
    ...(cls && { cls: moved(cls) }),
    ...(sep && { sep: moved(sep) }),
  };
}
