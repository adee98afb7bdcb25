/** @file Lexer of the textual format: names, strings, numbers, symbols. */
import { type ErrorCode, TersorError } from "../../util/errors.ts";

export interface Token {
  readonly kind: "name" | "string" | "int" | "float" | "hash" | "symbol" | "end";
  /** As written; of a string its contents, of a hash what follows the dots. */
  readonly text: string;
  /** Contents of a string literal as bytes. */
  readonly bytes?: Uint8Array;
  /** Offset in the text. */
  readonly at: number;
}

const utf8 = new TextEncoder();
const lenientUtf8 = new TextDecoder("utf-8", { ignoreBOM: true });

const space = /(?:\s|#[^\n]*)*/y;
const hexString = /x"([0-9a-fA-F]*)"/y;
const plain =
  /([A-Za-z_]\w*)|(-?\d+(?:\.\d*(?:[eE][+-]?\d+)?|[eE][+-]?\d+)|-(?:infinity|inf|nan)\b)|(-?\d+)|(?:…|\.\.\.)([\w:]+)|(=>|[()[\]{}<>,:=@?.])/iy;

/** Reads one token ahead. */
export class Lexer {
  readonly #text: string;
  #next: Token;
  #end = 0;

  constructor(text: string) {
    this.#text = text;
    this.#next = this.#read();
  }

  /** The token that comes next. */
  get next(): Token {
    return this.#next;
  }

  /** Takes the next token. */
  take(): Token {
    const token = this.#next;
    if (token.kind !== "end") this.#next = this.#read();
    return token;
  }

  /** Takes the next token when it is this symbol. */
  takeIf(symbol: string): boolean {
    const found = this.#next.kind === "symbol" && this.#next.text === symbol;
    if (found) this.take();
    return found;
  }

  /** The token after the next one, without taking any. */
  second(): Token {
    const end = this.#end;
    const token = this.#read();
    this.#end = end;
    return token;
  }

  /** An error at a token or offset. */
  error(problem: string, at: number | Token = this.#next, code: ErrorCode = "bad-model"): TersorError {
    const offset = typeof at === "number" ? at : at.at;
    const before = this.#text.slice(0, offset).split("\n");
    const column = (before.at(-1) as string).length + 1;
    return new TersorError(code, `model text, line ${before.length}, column ${column}: ${problem}`);
  }

  /** The error for a token that is not what the grammar asks for. */
  expected(what: string, token: Token = this.#next): TersorError {
    return this.error(`syntax error: expected ${what}, got ${describe(token)}.`, token);
  }

  #read(): Token {
    space.lastIndex = this.#end;
    space.test(this.#text);
    const at = space.lastIndex;
    this.#end = at;
    if (at >= this.#text.length) return { kind: "end", text: "", at };
    const first = this.#text[at];
    if (first === '"') return this.#readString(at);
    if (first === "x" && this.#text[at + 1] === '"') return this.#readHex(at);
    plain.lastIndex = at;
    const match = plain.exec(this.#text);
    if (!match) throw this.error(`syntax error: unexpected character ${JSON.stringify(charAt(this.#text, at))}.`, at);
    this.#end = plain.lastIndex;
    const [text, name, float, int, hash] = match;
    if (name !== undefined) return { kind: "name", text, at };
    if (float !== undefined) return { kind: "float", text, at };
    if (int !== undefined) return { kind: "int", text, at };
    return hash === undefined ? { kind: "symbol", text, at } : { kind: "hash", text: hash, at };
  }

  #readString(at: number): Token {
    const source = this.#text;
    let text = "";
    let from = at + 1;
    for (let i = from; i < source.length; i++) {
      if (source[i] === '"') {
        text += source.slice(from, i);
        this.#end = i + 1;
        return { kind: "string", text, bytes: utf8.encode(text), at };
      }
      if (source[i] === "\\") {
        text += source.slice(from, i);
        from = ++i;
      }
    }
    throw this.error(`syntax error: expected '"' at the end of the string, got the end of the text.`, at);
  }

  #readHex(at: number): Token {
    hexString.lastIndex = at;
    const digits = hexString.exec(this.#text)?.[1];
    if (digits === undefined || digits.length % 2 !== 0)
      throw this.error('syntax error: expected pairs of hex digits in x"…".', at);
    this.#end = hexString.lastIndex;
    const bytes = Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
    return { kind: "string", text: lenientUtf8.decode(bytes), bytes, at };
  }
}

function describe(token: Token): string {
  if (token.kind === "end") return "the end of the text";
  if (token.kind === "hash") return `"…${token.text}"`;
  const text = token.text.length > 40 ? `${token.text.slice(0, 40)}…` : token.text;
  return token.kind === "string" ? `the string ${JSON.stringify(text)}` : `"${text}"`;
}

function charAt(text: string, at: number): string {
  return String.fromCodePoint(text.codePointAt(at) as number);
}
