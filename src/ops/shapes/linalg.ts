/** @file Shape rules: matrix products. */
import type { Dim, Shape } from "../../ir/types.ts";
import type { Call, ShapeRule, ShapeRules } from "./call.ts";

/** numpy's matmul: a vector on the left is a row, on the right a column; what is before the last two dims broadcasts. */
export function matmulShape(call: Call, a: Shape | undefined, b: Shape | undefined): Shape | undefined {
  if (!a || !b) return undefined;
  if (a.length === 0 || b.length === 0) call.fail("operands", "at least rank 1", `[${a}] and [${b}]`);
  const [m, k] = a.length === 1 ? [undefined, a[0]] : a.slice(-2);
  const [k2, n] = b.length === 1 ? [b[0], undefined] : b.slice(-2);
  call.equal("inner dim of the matrix product", k, k2);
  const batch = call.broadcast([a.slice(0, -2), b.slice(0, -2)]) ?? [];
  return [...batch, m, n].filter((dim) => dim !== undefined);
}

/** A matrix product of the inputs at two positions. */
export function matmulOf(a: number, b: number): ShapeRule {
  return (call) => [call.out(matmulShape(call, call.shape(a), call.shape(b)))];
}

/** op(A) · op(B), both matrices, each transposed when its flag says so: [m, n]. */
export function gemmShape(call: Call, a: number, b: number): Shape {
  const [x, y] = [call.ranked(a, 2), call.ranked(b, 2)];
  const [m, k] = call.flag("transA") ? [x?.[1], x?.[0]] : [x?.[0], x?.[1]];
  const [k2, n] = call.flag("transB") ? [y?.[1], y?.[0]] : [y?.[0], y?.[1]];
  call.equal("inner dim of the matrix product", k, k2);
  return [m ?? null, n ?? null];
}

/** C only broadcasts to the product, so it has no say. */
const gemm: ShapeRule = (call) => [call.out(gemmShape(call, 0, 1))];

/** MatMul with flags: the last two dims are swapped, or the dims before moved behind the first of them (`transBatch`). */
export const fusedMatmul: ShapeRule = (call) => {
  const operand = (index: number, letter: "A" | "B") => {
    const shape = call.shape(index);
    if (!shape || shape.length < 2) return shape;
    // transBatch: [m, batch…, k] stands for [batch…, m, k].
    const moved = call.flag(`transBatch${letter}`)
      ? [...shape.slice(1, -1), shape[0] as Dim, shape.at(-1) as Dim]
      : shape;
    if (!call.flag(`trans${letter}`)) return moved;
    return [...moved.slice(0, -2), moved.at(-1) as Dim, moved.at(-2) as Dim];
  };
  return [call.out(matmulShape(call, operand(0, "A"), operand(1, "B")))];
};

/** Reads `ab...,b->a...`: the letters of each operand and of the result; an ellipsis stands for leading broadcast dims. */
export function einsumTerms(equation: string, operands: number): { inputs: string[][]; output: string[] } | undefined {
  const [left = "", right, extra] = equation.replaceAll(" ", "").split("->");
  const inputs = left.split(",").map(letters);
  if (extra !== undefined || inputs.length !== operands) return undefined;
  if (right !== undefined) return checked({ inputs, output: letters(right) });
  // Without an arrow: the ellipsis, then every letter that occurs once, in alphabetical order.
  const all = inputs.flat().filter((letter) => letter !== ellipsis);
  const once = [...new Set(all)].filter((letter) => all.indexOf(letter) === all.lastIndexOf(letter)).sort();
  return checked({ inputs, output: inputs.flat().includes(ellipsis) ? [ellipsis, ...once] : once });
}

const ellipsis = "...";

function letters(term: string): string[] {
  return term.match(/\.\.\.|./g) ?? [];
}

function checked(terms: { inputs: string[][]; output: string[] }): typeof terms | undefined {
  const valid = (letter: string) => letter === ellipsis || /^[A-Za-z]$/.test(letter);
  const known = new Set([...terms.inputs.flat(), ellipsis]);
  return terms.inputs.flat().every(valid) && terms.output.every((letter) => known.has(letter)) ? terms : undefined;
}

/** The size of every letter of an einsum, and the shape that its ellipsis stands for. */
export function einsumSizes(
  call: Call,
  inputs: readonly (readonly string[])[],
): { sizes: ReadonlyMap<string, Dim>; broadcast: Shape | undefined } {
  const sizes = new Map<string, Dim>();
  const broadcasts: (Shape | undefined)[] = [];
  inputs.forEach((term, i) => {
    const shape = call.shape(i);
    const hidden = term.indexOf(ellipsis);
    const width = shape && shape.length - term.length + 1;
    if (hidden >= 0) broadcasts.push(shape && width !== undefined ? shape.slice(hidden, hidden + width) : undefined);
    if (shape && (hidden < 0 ? shape.length !== term.length : (width ?? 0) < 0))
      call.fail(`rank of input ${i}`, `${term.join("")}`, `[${shape}]`);
    term.forEach((letter, at) => {
      if (letter === ellipsis) return;
      const from = hidden >= 0 && at > hidden && shape ? at - term.length + shape.length : at;
      const dim = shape?.[from] ?? null;
      const old = sizes.get(letter);
      sizes.set(letter, old === undefined || old === 1 ? dim : dim === 1 ? old : call.equal(`"${letter}"`, old, dim));
    });
  });
  return { sizes, broadcast: call.broadcast(broadcasts) };
}

const einsum: ShapeRule = (call) => {
  const equation = call.node.string("equation", "");
  const terms = einsumTerms(equation, call.node.inputs.length);
  if (!terms) return call.fail("equation", `${call.node.inputs.length} terms of letters`, `"${equation}"`, "bad-model");
  const { sizes, broadcast } = einsumSizes(call, terms.inputs);
  if (!broadcast && terms.output.includes(ellipsis)) return [call.out(undefined)];
  return [
    call.out(terms.output.flatMap((letter) => (letter === ellipsis ? (broadcast ?? []) : [sizes.get(letter) ?? null]))),
  ];
};

/** A · W where W is stored in another form: the last dim of A becomes `n`. */
export function projected(shape: Shape | undefined, n: Dim): Shape | undefined {
  return shape && [...shape.slice(0, -1), n];
}

export const linalg: ShapeRules = {
  MatMul: matmulOf(0, 1),
  MatMulInteger: matmulOf(0, 1),
  QLinearMatMul: matmulOf(0, 3),
  Gemm: gemm,
  Einsum: einsum,
  Det: (call) => [call.out(call.shape(0)?.slice(0, -2))],
};
