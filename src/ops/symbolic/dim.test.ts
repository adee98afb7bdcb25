/** @file Tests of symbolic sizes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Dim } from "../../ir/types.ts";
import * as D from "./dim.ts";

describe("canonical forms", () => {
  const cases: [string, Dim, Dim][] = [
    ["spelling", D.canonicalDim("N*2"), "2*N"],
    ["a name with a hyphen is one symbol", D.addDims("batch-size", 1), "batch-size + 1"],
    ["a name that is no expression", D.multiplyDims("batch size?", 2), "2*'batch size?'"],
    ["and reads back", D.subtractDims("2*'batch size?'", "batch size?"), "batch size?"],
    ["cancel", D.subtractDims(D.addDims("N", 3), "N"), 3],
    ["order", D.addDims("past_len", "seq"), "past_len + seq"],
    ["product", D.multiplyDims("N + 1", "N - 1"), "N*N - 1"],
    ["strided convolution", D.addDims(D.floorDivideDims(D.subtractDims("H", 1), 2), 1), "floor((H + 1)/2)"],
    ["nested floors", D.floorDivideDims(D.floorDivideDims("H", 2), 2), "floor(H/4)"],
    ["whole part out of the floor", D.floorDivideDims("4*N + 7", 4), "N + 1"],
    ["gcd inside the floor", D.floorDivideDims("6*N + 3", 4), "N + floor((N + 1)/2)"],
    ["ceil", D.ceilDivideDims("H", 8), "floor((H + 7)/8)"],
    ["negated floor is a ceil", D.multiplyDims(-1, D.floorDivideDims("-H", 2)), "floor((H + 1)/2)"],
    ["exact division", D.divideDims("12*N*M", "3*N"), "4*M"],
    ["polynomial division", D.divideDims("N*N - 1", "N - 1"), "N + 1"],
    ["symbolic divisor", D.floorDivideDims("H*W", "K"), "floor((H*W)/(K))"],
    ["a float scale", D.floorDim(D.multiplyDims("H", 1.5)), "H + floor(H/2)"],
    ["min", D.minDim("N", "N + 2"), "N"],
    ["max of unrelated", D.maxDim("N", "M"), "max(M, N)"],
    ["min with what is larger", D.minDim("min(N, 4)", 7), "min(4, N)"],
    ["max with a min of it", D.maxDim("T", "min(512, T)"), "T"],
    ["dynamo's floor", D.canonicalDim("s0//2 + 1"), "floor(s0/2) + 1"],
    ["unknown", D.addDims("N", null), null],
    ["zero times unknown", D.multiplyDims(0, null), 0],
    ["division by zero", D.floorDivideDims("N", 0), null],
  ];
  it.each(cases)("%s", (_, got, expected) => expect(got).toBe(expected));
});

it("binds symbols inside floors, quotients and minima", () => {
  const sizes = new Map([
    ["H", 7],
    ["W", 5],
    ["K", 2],
  ]);
  expect(D.bindDim("floor((H + 1)/2) + min(W, 4)", sizes)).toBe(8);
  expect(D.bindDim("floor((H*W)/(K))", sizes)).toBe(17);
  expect(D.bindDim("H + M", sizes)).toBe("M + 7");
  expect(D.bindDim("H/(K - 2)", sizes)).toBe(null);
});

type Tree = { op: string; a: Tree; b: Tree } | string | number;
const tree = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<Tree>("N", "M", "K"),
    fc.integer({ min: -4, max: 9 }),
    fc.record({ op: fc.constantFrom("+", "-", "*", "min", "max", "fdiv", "cdiv"), a: tie("tree"), b: tie("tree") }),
  ),
})).tree;

const ops: Record<string, (a: Dim, b: Dim) => Dim> = {
  "+": D.addDims,
  "-": D.subtractDims,
  "*": D.multiplyDims,
  min: D.minDim,
  max: D.maxDim,
  fdiv: (a, b) => D.floorDivideDims(a, typeof b === "number" && b > 0 ? b : 3),
  cdiv: (a, b) => D.ceilDivideDims(a, typeof b === "number" && b > 0 ? b : 2),
};

function evaluate(t: Tree, env: Map<string, number>): Dim {
  if (typeof t === "number") return t;
  if (typeof t === "string") return env.get(t) ?? t;
  const right = t.op.endsWith("div") && typeof t.b !== "number" ? "x" : evaluate(t.b, env);
  return ops[t.op]?.(evaluate(t.a, env), right) ?? null;
}

it("computes the same before and after binding, and prints what it can read", () => {
  fc.assert(
    fc.property(tree, fc.nat(9), fc.nat(9), fc.nat(9), (t, n, m, k) => {
      const env = new Map([
        ["N", n],
        ["M", m],
        ["K", k],
      ]);
      const symbolic = evaluate(t, new Map());
      if (symbolic === null) return;
      expect(D.bindDim(symbolic, env)).toBe(evaluate(t, env));
      expect(D.canonicalDim(symbolic)).toBe(symbolic);
    }),
    { seed: 7, numRuns: 2000 },
  );
});
