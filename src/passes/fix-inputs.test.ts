/** @file Fixed inputs: constants in their place, the branch that follows, and what can't be. */
import { expect, it } from "vitest";
import { parse, print } from "../ir/text/index.ts";
import { fixInputs } from "./fix-inputs.ts";

const model = parse`(float[N] x, int64 rate, float[3] scale, float[M,2] open) => (y) <int64 high = {16000}> {
  c = Equal(rate, high)
  y = If (c) <then_branch = a () => (p) { p = Neg(x) }, else_branch = b () => (q) { q = Abs(x) }> }`;

it("makes constants of inputs, and takes the branch that follows", () => {
  const { model: fixed, modified } = fixInputs(model, { rate: 16_000, scale: [1, 2, 3] });
  expect(modified).toBe(true);
  expect(fixed.graph.inputs.map(({ name }) => name)).toEqual(["x", "open"]);
  expect([...(fixed.graph.find("scale")?.tensor?.toNumbers() ?? [])]).toEqual([1, 2, 3]);
  expect(fixed.graph.nodes.map(({ opType }) => opType).filter((opType) => opType !== "Equal")).toEqual(["Neg"]);
  const other = fixInputs(model, { rate: 8_000 }).model;
  expect(other.graph.nodes.map(({ opType }) => opType)).toContain("Abs");
  expect(model.graph.inputs).toHaveLength(4);
});

it("changes nothing without values", () => {
  const { model: same, modified } = fixInputs(model, {});
  expect([print(same), modified]).toEqual([print(model), false]);
});

it.each([
  [{ rat: 1 }, 'input "rat": the model has none of this name: expected one of x, rate, scale, open. Did you mean rate'],
  [{ scale: [1, 2] }, 'input "scale": can\'t be fixed to 2 numbers: it is float32 [3]'],
  [{ open: [1, 2] }, 'input "open": can\'t be fixed to 2 numbers: it is float32 [M,2]'],
])("refuses %o", (values, message) => {
  expect(() => fixInputs(model, values)).toThrow(message);
});
