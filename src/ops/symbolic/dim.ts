/** @file Arithmetic on dims: numbers stay numbers, names become canonical expressions, what is unknown stays unknown. */
import type { Dim } from "../../ir/types.ts";
import * as E from "./expression.ts";
import { parseExpression } from "./parse.ts";

/** Expressions longer than this are given up as unknown. */
const TEXT_LIMIT = 256;
const MEMO_LIMIT = 4096;
const memo = new Map<string, E.Expression>();

/** A fraction is an expression that is not a whole number: what a float tensor in shape arithmetic holds. */
function expressionOf(dim: number | string): E.Expression | undefined {
  if (typeof dim === "number") return fractionOf(dim);
  let expression = memo.get(dim);
  if (!expression) {
    expression = parseExpression(dim);
    if (memo.size >= MEMO_LIMIT) memo.clear();
    memo.set(dim, expression);
  }
  return expression;
}

/** Numbers with a small power of two as denominator (0.5, 1.25) are exact fractions; others have no place in a symbolic size. */
function fractionOf(value: number): E.Expression | undefined {
  for (let den = 1; den <= 1024; den *= 2) if (Number.isSafeInteger(value * den)) return E.ratio(value * den, den);
  return undefined;
}

function dimOf(expression: E.Expression | undefined): Dim {
  if (!expression) return null;
  const number = E.asNumber(expression);
  if (number !== undefined) return number;
  const only = expression.terms.size === 1 && expression.den === 1 ? [...expression.terms.values()][0] : undefined;
  const [atom] = only?.factors ?? [];
  const isSymbol = only?.coefficient === 1 && only.factors.length === 1 && atom?.kind === "symbol";
  const text = isSymbol && atom ? atom.key : E.toText(expression);
  return text.length <= TEXT_LIMIT ? text : null;
}

/** Gives null instead of an expression that grows out of bounds. */
function bounded(compute: () => E.Expression | undefined): Dim {
  try {
    return dimOf(compute());
  } catch (error) {
    if (error instanceof E.TooComplex) return null;
    throw error;
  }
}

function binary(
  numbers: (a: number, b: number) => number,
  expressions: (a: E.Expression, b: E.Expression) => E.Expression | undefined,
): (a: Dim, b: Dim) => Dim {
  return (a, b) => {
    if (a === null || b === null) return null;
    if (typeof a === "number" && typeof b === "number") return known(numbers(a, b));
    return bounded(() => {
      const [x, y] = [expressionOf(a), expressionOf(b)];
      return x && y && expressions(x, y);
    });
  };
}

/** Results beyond the safe integers are unknown; so is a division by zero. There is no negative zero. */
function known(value: number): Dim {
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER ? value + 0 : null;
}

export const addDims = binary((a, b) => a + b, E.add);
export const subtractDims = binary((a, b) => a - b, E.subtract);
const times = binary((a, b) => a * b, E.multiply);
const least = binary(Math.min, (a, b) => E.extremum("min", [a, b]));
const largest = binary(Math.max, (a, b) => E.extremum("max", [a, b]));

/** a / b without rounding, for floats in shape arithmetic. */
export const divideDims = binary((a, b) => a / b, E.divide);

/** floor(a / b). */
export const floorDivideDims = binary(
  (a, b) => Math.floor(a / b),
  (a, b) => {
    const quotient = E.divide(a, b);
    return quotient && E.floor(quotient);
  },
);

/** a · b; zero times anything is zero. */
export function multiplyDims(a: Dim, b: Dim): Dim {
  return a === 0 || b === 0 ? 0 : times(a, b);
}

/** floor(e) and ceil(e) of a fraction. */
export function floorDim(a: Dim): Dim {
  return rounded(a, Math.floor, E.floor);
}

export function ceilDim(a: Dim): Dim {
  return rounded(a, Math.ceil, E.ceil);
}

function rounded(a: Dim, number: (a: number) => number, expression: (e: E.Expression) => E.Expression): Dim {
  if (a === null) return null;
  if (typeof a === "number") return known(number(a));
  return bounded(() => {
    const e = expressionOf(a);
    return e && expression(e);
  });
}

/** ceil(a / b). */
export function ceilDivideDims(a: Dim, b: Dim): Dim {
  return ceilDim(divideDims(a, b));
}

export function minDim(a: Dim, b: Dim): Dim {
  return least(a, b);
}

export function maxDim(a: Dim, b: Dim): Dim {
  return largest(a, b);
}

/** The product of dims; 1 for none. */
export function product(dims: readonly Dim[]): Dim {
  return dims.includes(0) ? 0 : dims.reduce(multiplyDims, 1);
}

/** Whether two dims are certainly the same size. */
export function sameDim(a: Dim, b: Dim): boolean {
  if (a === null || b === null) return false;
  return a === b || (typeof a === "string" && typeof b === "string" && subtractDims(a, b) === 0);
}

/** Whether a ≥ b certainly, whatever sizes the symbols stand for. */
export function atLeast(a: Dim, b: Dim): boolean {
  if (a === null || b === null) return false;
  if (typeof a === "number" && typeof b === "number") return a >= b;
  try {
    const [x, y] = [expressionOf(a), expressionOf(b)];
    return x !== undefined && y !== undefined && E.isAtMost(y, x);
  } catch (error) {
    if (error instanceof E.TooComplex) return false;
    throw error;
  }
}

/** The dim in canonical spelling: `N*2` is `2*N`. */
export function canonicalDim(dim: Dim): Dim {
  return typeof dim === "string" ? bounded(() => expressionOf(dim)) : dim;
}

/** Sizes or expressions by symbol. */
export type Bindings = ReadonlyMap<string, number | string>;

/** Puts sizes in place of symbols. A dim whose whole name is bound takes that size, whatever the name looks like. */
export function bindDim(dim: Dim, bindings: Bindings): Dim {
  if (typeof dim !== "string") return dim;
  const whole = bindings.get(dim);
  if (whole !== undefined) return whole;
  return bounded(() => {
    const e = expressionOf(dim);
    return (
      e &&
      E.substitute(e, (name) => {
        const size = bindings.get(name);
        return size === undefined ? undefined : expressionOf(size);
      })
    );
  });
}

/** The symbols in a dim's expression. */
export function dimSymbols(dim: Dim): ReadonlySet<string> {
  const expression = typeof dim === "string" ? expressionOf(dim) : undefined;
  return expression ? E.symbolsOf(expression) : new Set();
}
