/** @file Symbolic sizes in canonical form: polynomials over symbols, floors, quotients, minima and maxima. */

/** What a polynomial is made of. All stand for numbers ≥ 0, as sizes do. */
export type Atom =
  | { readonly kind: "symbol"; readonly key: string }
  | { readonly kind: "floor"; readonly key: string; readonly of: Expression }
  | { readonly kind: "quotient"; readonly key: string; readonly over: Expression; readonly under: Expression }
  | { readonly kind: "min" | "max"; readonly key: string; readonly of: readonly Expression[] };

/** `coefficient` times the product of the factors, which are sorted by key; no factors: a constant. */
interface Term {
  readonly coefficient: number;
  readonly factors: readonly Atom[];
}

/**
 * The sum of `terms`, divided by `den`. Coefficients and den are integers without a common divisor, den > 0. Two
 * expressions are equal when their texts are.
 */
export interface Expression {
  readonly terms: ReadonlyMap<string, Term>;
  readonly den: number;
}

/** Thrown inside this folder when an expression grows out of bounds; callers turn it into "unknown". */
export class TooComplex extends Error {}

const TERM_LIMIT = 32;
const DEGREE_LIMIT = 12;
/** Steps of one polynomial division. */
const DIVISION_LIMIT = 64;

export function constant(value: number): Expression {
  return make(value === 0 ? [] : [{ coefficient: value, factors: [] }], 1);
}

export function symbol(name: string): Expression {
  return ofAtom({ kind: "symbol", key: name });
}

/** The number that an expression stands for, when it holds no atom. */
export function asNumber(e: Expression): number | undefined {
  if (e.terms.size === 0) return 0;
  const only = e.terms.get("");
  return only && e.terms.size === 1 ? only.coefficient / e.den : undefined;
}

export function add(a: Expression, b: Expression): Expression {
  const terms = [...a.terms.values()].map((t) => scaled(t, b.den));
  return make([...terms, ...[...b.terms.values()].map((t) => scaled(t, a.den))], a.den * b.den);
}

export function multiply(a: Expression, b: Expression): Expression {
  const terms: Term[] = [];
  for (const x of a.terms.values())
    for (const y of b.terms.values())
      terms.push({ coefficient: x.coefficient * y.coefficient, factors: joined(x.factors, y.factors) });
  return make(terms, a.den * b.den);
}

export function negate(a: Expression): Expression {
  return multiply(constant(-1), a);
}

export function subtract(a: Expression, b: Expression): Expression {
  return add(a, negate(b));
}

/** a / b without rounding; where b does not divide a, a quotient stays as an atom. Undefined for b = 0. */
export function divide(a: Expression, b: Expression): Expression | undefined {
  if (b.terms.size === 0) return undefined;
  const exact = divideExactly(a, b);
  if (exact) return exact;
  const common = commonFactors([...a.terms.values(), ...b.terms.values()]);
  const over = without(a, common);
  const under = without(b, common);
  const content = ratioOf(contentOf(over) * under.den, contentOf(under) * over.den);
  const [top, bottom] = [primitive(over), primitive(under)];
  const atom: Atom = {
    kind: "quotient",
    key: `(${toText(top)})/(${toText(bottom)})`,
    over: top,
    under: bottom,
  };
  return make([{ coefficient: content[0], factors: [atom] }], content[1]);
}

/** The largest integer ≤ e. */
export function floor(e: Expression): Expression {
  const whole: Term[] = [];
  const rest: Term[] = [];
  for (const term of e.terms.values()) {
    if (term.factors.some((atom) => atom.kind === "quotient")) {
      rest.push(term);
      continue;
    }
    const isConstant = term.factors.length === 0;
    const q = isConstant ? Math.floor(term.coefficient / e.den) : Math.trunc(term.coefficient / e.den);
    const r = term.coefficient - q * e.den;
    if (q !== 0) whole.push({ coefficient: q, factors: term.factors });
    if (r !== 0) rest.push({ coefficient: r, factors: term.factors });
  }
  const outside = make(whole, 1);
  if (rest.every((term) => term.factors.length === 0)) return outside;
  return add(outside, floorOfRest(make(rest, e.den)));
}

export function ceil(e: Expression): Expression {
  return negate(floor(negate(e)));
}

/** What is left to floor when whole parts are out: flips a negative leading term, drops common divisors, joins nested floors. */
function floorOfRest(e: Expression): Expression {
  const moving = sortedTerms(e).filter((term) => term.factors.length > 0);
  const integral = moving.every((term) => term.factors.every((atom) => atom.kind !== "quotient"));
  if (integral) {
    const [lead] = moving;
    // ceil(-e) = floor((-p + den - 1) / den)
    if (lead && moving.every((term) => term.coefficient < 0))
      return negate(floor(add(negate(e), ratio(e.den - 1, e.den))));
    const divisor = moving.reduce((g, term) => gcd(g, term.coefficient), e.den);
    const offset = e.terms.get("")?.coefficient ?? 0;
    if (divisor > 1) {
      const inner = moving.map((term) => ({ ...term, coefficient: term.coefficient / divisor }));
      const reduced = Math.floor(offset / divisor);
      if (reduced !== 0) inner.push({ coefficient: reduced, factors: [] });
      return floor(make(inner, e.den / divisor));
    }
    const [atom] = lead?.factors ?? [];
    if (moving.length === 1 && lead?.coefficient === 1 && lead.factors.length === 1 && atom?.kind === "floor") {
      // floor((floor(a) + k) / d) = floor((a + k) / d)
      return floor(multiply(add(atom.of, constant(offset)), ratio(1, e.den)));
    }
  }
  return ofAtom({ kind: "floor", key: `floor(${toText(e)})`, of: e });
}

/** The least or largest of some expressions; those that can't be it, whatever the symbols, are dropped. */
export function extremum(kind: "min" | "max", of: readonly Expression[]): Expression {
  const flat = of.flatMap((e) => {
    const atom = soleAtom(e);
    return atom?.kind === kind ? atom.of : [e];
  });
  const kept: Expression[] = [];
  const beats = (a: Expression, b: Expression) => (kind === "min" ? isAtMost(a, b) : isAtMost(b, a));
  for (const e of flat) {
    if (kept.some((other) => beats(other, e))) continue;
    kept.splice(0, kept.length, ...kept.filter((other) => !beats(e, other)), e);
  }
  const [first] = kept;
  if (first && kept.length === 1) return first;
  const texts = kept.map((e) => ({ e, text: toText(e) })).sort((a, b) => (a.text < b.text ? -1 : 1));
  const key = `${kind}(${texts.map(({ text }) => text).join(", ")})`;
  return ofAtom({ kind, key, of: texts.map(({ e }) => e) });
}

/** Whether a ≤ b whatever sizes the symbols stand for. False when that is not certain. */
export function isAtMost(a: Expression, b: Expression): boolean {
  if (isNonNegative(subtract(b, a))) return true;
  const [left, right] = [soleAtom(a), soleAtom(b)];
  if (left?.kind === "min" && left.of.some((part) => isAtMost(part, b))) return true;
  if (right?.kind === "max" && right.of.some((part) => isAtMost(a, part))) return true;
  if (left?.kind === "max") return left.of.every((part) => isAtMost(part, b));
  return right?.kind === "min" && right.of.every((part) => isAtMost(a, part));
}

/** Whether an expression is ≥ 0 whatever sizes its symbols stand for. False when that is not certain. */
export function isNonNegative(e: Expression): boolean {
  return [...e.terms.values()].every(
    (term) => term.coefficient >= 0 && term.factors.every((atom) => atom.kind === "symbol" || isNonNegativeAtom(atom)),
  );
}

function isNonNegativeAtom(atom: Atom): boolean {
  if (atom.kind === "symbol") return true;
  if (atom.kind === "floor") return isNonNegative(atom.of);
  if (atom.kind === "quotient") return isNonNegative(atom.over) && isNonNegative(atom.under);
  return atom.kind === "max" ? atom.of.some(isNonNegative) : atom.of.every(isNonNegative);
}

/** Puts expressions in place of symbols; those for which `lookup` gives undefined stay. Undefined when a divisor becomes 0. */
export function substitute(e: Expression, lookup: (name: string) => Expression | undefined): Expression | undefined {
  let sum = constant(0);
  for (const term of e.terms.values()) {
    let product: Expression | undefined = ratio(term.coefficient, e.den);
    for (const atom of term.factors) {
      const value = substituteAtom(atom, lookup);
      product = value && multiply(product, value);
      if (!product) return undefined;
    }
    sum = add(sum, product);
  }
  return sum;
}

function substituteAtom(atom: Atom, lookup: (name: string) => Expression | undefined): Expression | undefined {
  if (atom.kind === "symbol") return lookup(atom.key) ?? ofAtom(atom);
  if (atom.kind === "floor") {
    const inner = substitute(atom.of, lookup);
    return inner && floor(inner);
  }
  if (atom.kind === "quotient") {
    const [over, under] = [substitute(atom.over, lookup), substitute(atom.under, lookup)];
    return over && under && divide(over, under);
  }
  const parts = atom.of.map((part) => substitute(part, lookup));
  return parts.every((part) => part !== undefined) ? extremum(atom.kind, parts) : undefined;
}

/** The symbols that occur in an expression. */
export function symbolsOf(e: Expression): Set<string> {
  const names = new Set<string>();
  const visit = (part: Expression): void => {
    for (const { factors } of part.terms.values())
      for (const atom of factors) {
        if (atom.kind === "symbol") names.add(atom.key);
        else if (atom.kind === "floor") visit(atom.of);
        else if (atom.kind === "quotient") [atom.over, atom.under].forEach(visit);
        else atom.of.forEach(visit);
      }
  };
  visit(e);
  return names;
}

/** The canonical text: `2*N`, `floor((H + 1)/2)`, `max(N, M + 1)`; terms by sign, degree and name. */
export function toText(e: Expression): string {
  const terms = sortedTerms(e);
  if (terms.length === 0) return "0";
  let text = "";
  for (const { coefficient, factors } of terms) {
    const sign = coefficient < 0 ? "-" : "+";
    text += text ? ` ${sign} ` : coefficient < 0 ? "-" : "";
    const size = Math.abs(coefficient);
    const product = factors.map(factorText).join("*");
    text += product && size === 1 ? product : product ? `${size}*${product}` : `${size}`;
  }
  if (e.den === 1) return text;
  return terms.length > 1 ? `(${text})/${e.den}` : `${text}/${e.den}`;
}

/** Names that would read as something else inside an expression are quoted there. */
function factorText(atom: Atom, _index: number, all: readonly Atom[]): string {
  if (atom.kind === "quotient") return all.length > 1 ? `(${atom.key})` : atom.key;
  return atom.kind === "symbol" && !plainName.test(atom.key) ? `'${atom.key}'` : atom.key;
}

/** A name that {@link parseExpression} reads as one symbol. */
export const plainName = /^[A-Za-z_][\w.:$]*(?:-[A-Za-z_][\w.:$]*)*$/;

function sortedTerms(e: Expression): Term[] {
  const rank = (t: Term) => (t.coefficient < 0 ? 1 : 0);
  const isLast = (t: Term) => (t.factors.length === 0 ? 1 : 0);
  return [...e.terms.entries()]
    .sort(
      ([a, x], [b, y]) =>
        rank(x) - rank(y) || isLast(x) - isLast(y) || y.factors.length - x.factors.length || (a < b ? -1 : 1),
    )
    .map(([, term]) => term);
}

function ofAtom(atom: Atom): Expression {
  return make([{ coefficient: 1, factors: [atom] }], 1);
}

/** The atom that the whole expression is, if it is one. */
function soleAtom(e: Expression): Atom | undefined {
  const [term] = e.terms.values();
  return e.terms.size === 1 && e.den === 1 && term?.coefficient === 1 && term.factors.length === 1
    ? term.factors[0]
    : undefined;
}

/** The fraction a/b as an expression; also the way to a number that is not whole. */
export function ratio(a: number, b: number): Expression {
  return make(a === 0 ? [] : [{ coefficient: a, factors: [] }], b);
}

function scaled(term: Term, by: number): Term {
  return { coefficient: term.coefficient * by, factors: term.factors };
}

function joined(a: readonly Atom[], b: readonly Atom[]): readonly Atom[] {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  return [...a, ...b].sort((x, y) => (x.key < y.key ? -1 : x.key > y.key ? 1 : 0));
}

/** Gathers equal monomials and takes out the common divisor. @throws TooComplex */
function make(list: readonly Term[], den: number): Expression {
  const sums = new Map<string, Term>();
  for (const term of list) {
    if (term.factors.length > DEGREE_LIMIT) throw new TooComplex();
    const key = term.factors.map((atom) => atom.key).join("*");
    const old = sums.get(key);
    sums.set(key, old ? { ...old, coefficient: old.coefficient + term.coefficient } : term);
  }
  const terms = [...sums].filter(([, term]) => term.coefficient !== 0);
  if (terms.length > TERM_LIMIT) throw new TooComplex();
  const sign = den < 0 ? -1 : 1;
  const common = terms.reduce((g, [, term]) => gcd(g, term.coefficient), Math.abs(den)) * sign;
  const reduced = terms.map(([key, term]): [string, Term] => [key, scaled(term, 1 / common)]);
  const bottom = den / common;
  if (!Number.isSafeInteger(bottom) || !reduced.every(([, term]) => Number.isSafeInteger(term.coefficient)))
    throw new TooComplex();
  return { terms: new Map(reduced), den: bottom };
}

function gcd(a: number, b: number): number {
  let [x, y] = [Math.abs(a), Math.abs(b)];
  while (y > 0) [x, y] = [y, x % y];
  return x;
}

/** Long division by the leading term; undefined when a remainder stays. */
function divideExactly(a: Expression, b: Expression): Expression | undefined {
  const lead = leading(b);
  if (!lead) return undefined;
  let rest: Expression = a;
  let quotient = constant(0);
  for (let step = 0; rest.terms.size > 0; step++) {
    const top = leading(rest);
    const factors = top && withoutFactors(top.factors, lead.factors);
    if (!top || !factors || step > DIVISION_LIMIT) return undefined;
    const part = make([{ coefficient: top.coefficient * b.den, factors }], lead.coefficient * rest.den);
    quotient = add(quotient, part);
    rest = subtract(rest, multiply(part, b));
  }
  return quotient;
}

/** The term that comes first by degree, then by name: a multiplicative order, so that long division ends. */
function leading(e: Expression): Term | undefined {
  let best: Term | undefined;
  for (const term of e.terms.values()) if (!best || compareMonomials(term.factors, best.factors) < 0) best = term;
  return best;
}

function compareMonomials(a: readonly Atom[], b: readonly Atom[]): number {
  if (a.length !== b.length) return b.length - a.length;
  for (const [i, atom] of a.entries()) {
    const other = b[i];
    if (other && atom.key !== other.key) return atom.key < other.key ? -1 : 1;
  }
  return 0;
}

/** The factors that stay when `gone` are taken away, undefined when they are not all there. */
function withoutFactors(factors: readonly Atom[], gone: readonly Atom[]): Atom[] | undefined {
  const left = [...factors];
  for (const atom of gone) {
    const at = left.findIndex((other) => other.key === atom.key);
    if (at < 0) return undefined;
    left.splice(at, 1);
  }
  return left;
}

function commonFactors(terms: readonly Term[]): Atom[] {
  const [first, ...others] = terms;
  return others.reduce<Atom[]>(
    (common, term) => {
      const left = [...term.factors];
      return common.filter((atom) => {
        const at = left.findIndex((other) => other.key === atom.key);
        if (at >= 0) left.splice(at, 1);
        return at >= 0;
      });
    },
    [...(first?.factors ?? [])],
  );
}

function without(e: Expression, factors: readonly Atom[]): Expression {
  const terms = [...e.terms.values()];
  return make(
    terms.map((term) => ({ ...term, factors: withoutFactors(term.factors, factors) ?? term.factors })),
    e.den,
  );
}

/** The common divisor of the coefficients, den left aside. */
function contentOf(e: Expression): number {
  return [...e.terms.values()].reduce((g, term) => gcd(g, term.coefficient), 0);
}

function primitive(e: Expression): Expression {
  return multiply(e, ratio(e.den, contentOf(e)));
}

function ratioOf(a: number, b: number): [number, number] {
  const g = gcd(a, b);
  return [a / g, b / g];
}
