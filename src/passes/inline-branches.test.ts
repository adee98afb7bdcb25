/** @file Test of inlining branches that are certain. */
import { expect, test } from "vitest";
import type { Model } from "../ir/model.ts";
import { parse } from "../ir/text/index.ts";
import { inlineBranches } from "./inline-branches.ts";

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
