/** @file Test of inlining branches that are certain. */
import { expect, test } from "vitest";
import type { Graph } from "../ir/graph.ts";
import type { Model } from "../ir/model.ts";
import { parse, print } from "../ir/text/index.ts";
import { fromNumbers } from "../tensor/tensor.ts";
import { inlineBranches } from "./inline-branches.ts";
import { simplify } from "./simplify.ts";

const opsIn = ({ nodes }: Graph) => nodes.map(({ opType }) => opType).join(" ");
const opsOf = ({ graph }: Model) => graph.nodes.map((node) => node.opType);

test("the branch that is taken stands in the graph, those in it too; open ones stay", () => {
  const model = parse(`(float[2] x, bool open) => (y, z) <bool yes = {1}, bool no = {0}> {
    y = If(yes) <
      then_branch = b1 () => (float[2] a) {
        a = If(no) <then_branch = b2 () => (float[2] c) { c = Neg(x) }, else_branch = b3 () => (float[2] d) <float[1] one = {1}> { d = Add(x, one) }>
      },
      else_branch = b4 () => (float[2] e) { e = Identity(x) }
    >
    z = If(open) <then_branch = b5 () => (float[2] f) { f = Neg(y) }, else_branch = b6 () => (float[2] g) { g = Abs(y) }>
  }`);
  const result = inlineBranches(model);
  expect(opsOf(result.model)).toEqual(["Add", "If"]);
  expect(result.model.graph.outputs.map(({ name }) => name)).toEqual(["y", "z"]);
  expect(inlineBranches(result.model).modified).toBe(false);
  expect(opsOf(model)).toEqual(["If", "If"]);
});

test("a condition on sizes is decided once they are given", () => {
  const model = parse(`(float[n] x) => (y) <int64[1] two = {2}> {
    s = Shape(x)
    c = Equal(s, two)
    y = If(c) <then_branch = b1 () => (float[n] a) { a = Neg(x) }, else_branch = b2 () => (float[n] b) { b = Abs(x) }>
  }`);
  expect(inlineBranches(model).modified).toBe(false);
  expect(opsOf(inlineBranches(model, { inputShapes: { x: [2] } }).model)).toContain("Neg");
  expect(opsOf(inlineBranches(model, { inputShapes: { x: [3] } }).model)).toContain("Abs");
});

test("branches in the body of a Loop and in open branches are taken, names that stand twice kept apart", () => {
  const model = parse(`(float[2] x, bool open) => (y, z) <bool yes = {1}, bool no = {0}, int64 n = {2}> {
    y = Loop(n, yes, x) <body = body (int64 i, bool c, float[2] a) => (bool d, float[2] b) {
      d = Identity(c)
      b = If(yes) <then_branch = b1 () => (t) <float[2] k = {1, 2}> { t = Add(a, k) }, else_branch = b2 () => (t) { t = Neg(a) }>
    }>
    z = If(open) <
      then_branch = b3 () => (f) {
        f = If(no) <then_branch = b4 () => (t) { t = Neg(x) }, else_branch = b5 () => (t) <float[2] k = {3, 4}> { t = Mul(x, k) }>
      },
      else_branch = b6 () => (g) { g = Abs(x) }
    >
  }`);
  const { model: straight } = inlineBranches(model);
  expect(straight.graphs().map(opsIn)).toEqual(["Loop If", "Identity Add", "Mul", "Abs"]);
  const text = print(straight.graph);
  expect(print(parse(text).graph)).toBe(text);
});

test("simplify takes branches whose condition is an initializer, or comes out of folding", async () => {
  const branches = `<then_branch = b1 () => (a) <float[2] k = {1, 2}> { a = Add(x, k) }, else_branch = b2 () => (b) <float[2] k = {3, 4}> { b = Add(x, k) }>`;
  const known = parse(`(float[2] x) => (y) <bool c = {1}> { y = If(c) ${branches} }`);
  const folded = parse(
    `(float[2] x) => (y) <float u = {1}, float v = {2}> { c = Greater(u, v)  y = If(c) ${branches} }`,
  );
  const evaluate = async () => [fromNumbers("bool", [], [0])];
  for (const [model, first] of [
    [known, 1],
    [folded, 3],
  ] as const) {
    const { model: simple } = await simplify(model, { evaluate });
    expect(simple.graphs().map(opsIn)).toEqual(["Add"]);
    expect(simple.graph.initializers.map(({ tensor }) => tensor?.toNumbers()[0])).toEqual([first]);
  }
});
