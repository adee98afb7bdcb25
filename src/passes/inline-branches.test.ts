/** @file Test of inlining branches that are certain. */
import { expect, test } from "vitest";
import { parse, print } from "../ir/text/index.ts";
import { inlineBranches } from "./inline-branches.ts";

test("the branch that is taken stands in the graph, nested ones after another round; open ones stay", () => {
  const model = parse(`(float[2] x, bool open) => (y, z) <bool yes = {1}, bool no = {0}> {
    y = If(yes) <
      then_branch = b1 () => (float[2] a) {
        a = If(no) <then_branch = b2 () => (float[2] c) { c = Neg(x) }, else_branch = b3 () => (float[2] d) <float[1] one = {1}> { d = Add(x, one) }>
      },
      else_branch = b4 () => (float[2] e) { e = Identity(x) }
    >
    z = If(open) <then_branch = b5 () => (float[2] f) { f = Neg(y) }, else_branch = b6 () => (float[2] g) { g = Abs(y) }>
  }`);
  expect([inlineBranches(model.graph), inlineBranches(model.graph), inlineBranches(model.graph)]).toEqual([
    true,
    true,
    false,
  ]);
  expect(model.graph.nodes.map((node) => node.opType)).toEqual(["Add", "Identity", "Identity", "If"]);
  expect(print(model)).toContain("y = Identity");
});
