/** @file Tests of patterns that pick things by name. */
import { expect, it } from "vitest";
import { namePattern, pickByName } from "./name-pattern.ts";

const items = ["block1/conv", "block2/conv", "head"].map((name, index) => ({ index, names: [name, "Conv"] }));
const picked = (pattern: string) => items.filter(namePattern(pattern)).map(({ index }) => index);

it.each([
  ["head", [2]],
  ["block*", [0, 1]],
  ["*conv", [0, 1]],
  ["Conv", [0, 1, 2]],
  ["1", [1]],
  ["1-7", [1, 2]],
  ["HEAD", []],
])("%s picks %j", (pattern, indices) => {
  expect(picked(pattern)).toEqual(indices);
});

it("names the nearest where nothing is picked", () => {
  expect(() => pickByName("haed", items, "layer")).toThrow(
    'layer "haed": no such layer: expected a name, glob, operator type or index from 0 to 2.',
  );
  expect(() => pickByName("heat", items, "layer")).toThrow('Nearest: "head".');
  expect(() => pickByName("x", [], "layer")).toThrow('layer "x": the model has no layer to choose from.');
});
