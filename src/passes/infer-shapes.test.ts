/** @file Tests of the shape inference pass. */
import { expect, it } from "vitest";
import { parse, print } from "../ir/text/index.ts";
import { typeToString } from "../ir/types.ts";
import { inferShapes, inferTypes } from "./infer-shapes.ts";

const model = () => parse`(float[N,3] x) => (float[N,3] y) <int64[1] k = {2}> { s = Shape(x) t = Neg(x) y = Abs(t) }`;

it("types every value of a copy and is done the second time", () => {
  const before = model();
  const text = print(before);
  const result = inferShapes(before);
  expect(result.modified).toBe(true);
  expect(print(before)).toBe(text);
  expect(typeToString(result.model.graph.find("t")?.type)).toBe("float[N,3]");
  const again = inferShapes(result.model);
  expect(again).toMatchObject({ modified: false, model: result.model });
});

it("keeps the types of inputs unless it is given shapes for them", () => {
  const open = parse`(float[?,3] x) => (y) { y = Abs(x) }`;
  expect(typeToString(inferShapes(open).model.graph.inputs[0]?.type)).toBe("float[?,3]");
  const bound = inferShapes(open, { inputShapes: { x: [2, 3] } }).model.graph;
  expect([...bound.inputs, ...bound.outputs].map(({ type }) => typeToString(type))).toEqual([
    "float[2,3]",
    "float[2,3]",
  ]);
});

it("gives types without a copy", () => {
  const fixed = parse`(float[4,3] x) => (y) { s = Shape(x) y = ConstantOfShape(s) }`;
  expect(typeToString(inferTypes(fixed).get(fixed.graph.find("y") as never))).toBe("float[4,3]");
});
