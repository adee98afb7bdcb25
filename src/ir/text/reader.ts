/** @file What all parts of the parser share: names, strings, integers, lists, and the limit on nesting. */
import type { Tensor } from "../../tensor/tensor.ts";
import { Lexer, type Token } from "./lexer.ts";
import type { Name } from "./syntax.ts";

/** Supplies the tensor that a printed hash stands for. */
export type TensorSupplier = (hash: string) => Tensor | undefined;

const MAX_DEPTH = 64;

export class Reader {
  readonly lexer: Lexer;
  readonly tensors: TensorSupplier;
  #depth = 0;

  constructor(text: string, tensors: TensorSupplier) {
    this.lexer = new Lexer(text);
    this.tensors = tensors;
  }

  /** Whether the next token is this symbol. */
  at(symbol: string): boolean {
    const { kind, text } = this.lexer.next;
    return kind === "symbol" && text === symbol;
  }

  expect(symbol: string): Token {
    if (!this.at(symbol)) throw this.lexer.expected(`"${symbol}"`);
    return this.lexer.take();
  }

  /** A bare word. */
  word(what: string): string {
    if (this.lexer.next.kind !== "name") throw this.lexer.expected(what);
    return this.lexer.take().text;
  }

  /** A name, bare or quoted. */
  name(what: string): Name {
    const { text, at } = this.nameToken(what);
    return { text, at };
  }

  nameToken(what: string): Token {
    if (!this.atName()) throw this.lexer.expected(what);
    return this.lexer.take();
  }

  atName(): boolean {
    return this.lexer.next.kind === "name" || this.lexer.next.kind === "string";
  }

  string(): Token & { readonly bytes: Uint8Array } {
    const token = this.lexer.next;
    if (token.bytes === undefined) throw this.lexer.expected("a string in quotes");
    this.lexer.take();
    return { ...token, bytes: token.bytes };
  }

  integer(what = "an integer"): bigint {
    if (this.lexer.next.kind !== "int") throw this.lexer.expected(what);
    const token = this.lexer.take();
    const value = BigInt(token.text);
    if (BigInt.asIntN(64, value) !== value) throw this.lexer.error(`${token.text} does not fit into 64 bits.`, token);
    return value;
  }

  /** Items between two symbols, separated by commas; may be empty. */
  list<T>(open: string, item: () => T, close: string): T[] {
    this.expect(open);
    const items: T[] = [];
    if (this.lexer.takeIf(close)) return items;
    do items.push(item());
    while (this.lexer.takeIf(","));
    if (!this.at(close)) throw this.lexer.expected(`"," or "${close}"`);
    this.lexer.take();
    return items;
  }

  /** Like {@link list}, of `key: value` pairs. @throws bad-model for a key that comes twice. */
  map<V>(open: string, item: () => readonly [Token, V], close: string): Map<string, V> {
    const map = new Map<string, V>();
    this.list(
      open,
      () => {
        const [key, value] = item();
        if (map.has(key.text)) throw this.lexer.error(`"${key.text}" is given twice.`, key);
        map.set(key.text, value);
      },
      close,
    );
    return map;
  }

  /** Runs a part of the parser one level deeper. @throws limit-exceeded beyond 64 levels of types or graphs. */
  nest<T>(part: () => T): T {
    if (this.#depth >= MAX_DEPTH)
      throw this.lexer.error(
        `nested deeper than ${MAX_DEPTH} levels. Refusing to read it.`,
        undefined,
        "limit-exceeded",
      );
    this.#depth++;
    const result = part();
    this.#depth--;
    return result;
  }
}
