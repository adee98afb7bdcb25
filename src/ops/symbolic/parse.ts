/** @file Reads a symbolic size: a name, or arithmetic as {@link toText} and the exporters write it. */
import * as E from "./expression.ts";

/** Longer names are taken as they are. */
const LENGTH_LIMIT = 512;
const DEPTH_LIMIT = 32;
const token = /\s*(?:(\d+)|([A-Za-z_][\w.:$]*(?:-[A-Za-z_][\w.:$]*)*)|'([^']*)'|(\/\/|[-+*/(),]))/y;

/**
 * The expression that a dim's name stands for. `2*N`, `past + 1`, `floor((H + 1)/2)`, `s0//2`, `ceil(N/8)`, `min(N, 4)`
 * are arithmetic; whatever does not parse is one opaque symbol, and so is a name with hyphens such as `batch-size`.
 */
export function parseExpression(text: string): E.Expression {
  if (E.plainName.test(text) || text.length > LENGTH_LIMIT) return E.symbol(text);
  const tokens = tokenize(text);
  try {
    const expression = tokens && new Parser(tokens).parse();
    return expression ?? E.symbol(text);
  } catch (error) {
    if (error instanceof E.TooComplex) return E.symbol(text);
    throw error;
  }
}

type Token = { readonly number: number } | { readonly name: string } | { readonly quoted: string } | string;

function tokenize(text: string): Token[] | undefined {
  const tokens: Token[] = [];
  const end = text.trimEnd().length;
  token.lastIndex = 0;
  while (token.lastIndex < end) {
    const match = token.exec(text);
    if (!match) return undefined;
    const [, number, name, quoted, mark] = match;
    if (number !== undefined) tokens.push({ number: Number(number) });
    else if (name !== undefined) tokens.push({ name });
    else if (quoted !== undefined) tokens.push({ quoted });
    else if (mark) tokens.push(mark);
  }
  return tokens;
}

/** Each method gives undefined where the text is not an expression. */
class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  parse(): E.Expression | undefined {
    const sum = this.#sum();
    return this.#at === this.#tokens.length ? sum : undefined;
  }

  #sum(): E.Expression | undefined {
    if (this.#depth++ > DEPTH_LIMIT) return undefined;
    const sign = this.#take("-") ? E.negate : (e: E.Expression) => e;
    const first = this.#product();
    let sum = first && sign(first);
    while (sum) {
      const op = this.#take("+") ? E.add : this.#take("-") ? E.subtract : undefined;
      if (!op) break;
      const right = this.#product();
      sum = right && op(sum, right);
    }
    this.#depth--;
    return sum;
  }

  #product(): E.Expression | undefined {
    let product = this.#factor();
    while (product) {
      const op = ["*", "//", "/"].find((mark) => this.#take(mark));
      if (!op) break;
      const right = this.#factor();
      if (!right) return undefined;
      const quotient = op === "*" ? E.multiply(product, right) : E.divide(product, right);
      product = op === "//" && quotient ? E.floor(quotient) : quotient;
    }
    return product;
  }

  #factor(): E.Expression | undefined {
    const next = this.#tokens[this.#at++];
    if (next === "(") {
      const inner = this.#sum();
      return this.#take(")") ? inner : undefined;
    }
    if (next === undefined || typeof next === "string") return undefined;
    if ("number" in next) return Number.isSafeInteger(next.number) ? E.constant(next.number) : undefined;
    if ("quoted" in next) return E.symbol(next.quoted);
    return this.#take("(") ? this.#call(next.name) : E.symbol(next.name);
  }

  #call(name: string): E.Expression | undefined {
    const fn = functions[name.toLowerCase()];
    const args: E.Expression[] = [];
    do {
      const arg = this.#sum();
      if (!arg) return undefined;
      args.push(arg);
    } while (this.#take(","));
    return this.#take(")") ? fn?.(args) : undefined;
  }

  #take(mark: string): boolean {
    if (this.#tokens[this.#at] !== mark) return false;
    this.#at++;
    return true;
  }
}

const single =
  (fn: (e: E.Expression) => E.Expression) =>
  ([first, ...more]: readonly E.Expression[]) =>
    first && more.length === 0 ? fn(first) : undefined;

const functions: Readonly<Record<string, (args: readonly E.Expression[]) => E.Expression | undefined>> = {
  floor: single(E.floor),
  ceil: single(E.ceil),
  ceiling: single(E.ceil),
  min: (args) => E.extremum("min", args),
  max: (args) => E.extremum("max", args),
};
