/** @file Gradient rules: matrix products. */
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";
import type { GradientRules } from "../rule.ts";

/** [..., m, n] to [..., n, m]. */
export function swapped(op: Emitter, x: Value | undefined): Value {
  const rank = op.rank(x);
  const perm = Array.from({ length: rank }, (_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
  return op.transpose(x, perm);
}

/** [..., m, n] to [all · m, n]. */
function flat(op: Emitter, x: Value | undefined): Value {
  const columns = op.symbolicShape(x).at(-1);
  return op.Reshape(x, [-1, typeof columns === "number" ? columns : (op.shape(x).at(-1) as number)]);
}

export const linalg = {
  // y = a b    da = dy b', db = a' dy; one b for all matrices of a: db = (a as one matrix)' (dy as one matrix). A vector is a row, or a column.
  MatMul: ({ op, x: [left, right], dy: [gradient] }) => {
    const [isRow, isColumn] = [op.rank(left) === 1, op.rank(right) === 1];
    const a = isRow ? op.Unsqueeze(left, [0]) : left;
    const b = isColumn ? op.Unsqueeze(right, [1]) : right;
    const axes = [...(isRow ? [-2] : []), ...(isColumn ? [-1] : [])];
    const dy = axes.length > 0 ? op.Unsqueeze(gradient, axes) : gradient;
    const isShared = op.rank(b) === 2 && op.rank(a) > 2;
    const da = op.MatMul(dy, swapped(op, b));
    const db = isShared ? op.Gemm(flat(op, a), flat(op, dy), { transA: 1 }) : op.MatMul(swapped(op, a), dy);
    return [isRow ? op.Squeeze(da, [-2]) : da, isColumn ? op.Squeeze(db, [-1]) : db];
  },
  // y = alpha A B + beta C    dA = alpha dy B', dB = alpha A' dy, transposed where A or B is; dC = beta dy
  Gemm: ({ op, node, x: [a, b, c], dy: [dy] }) => {
    const [transA, transB] = [node.int("transA", 0), node.int("transB", 0)];
    const alpha = node.float("alpha", 1);
    const beta = node.float("beta", 1);
    return [
      transA ? op.Gemm(b, dy, { alpha, transA: transB, transB: 1 }) : op.Gemm(dy, b, { alpha, transB: 1 - transB }),
      transB ? op.Gemm(dy, a, { alpha, transA: 1, transB: transA }) : op.Gemm(a, dy, { alpha, transA: 1 - transA }),
      c && (beta === 1 ? dy : op.Mul(dy, beta)),
    ];
  },
} satisfies GradientRules;
