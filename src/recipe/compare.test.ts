/** @file Made-up inputs: their shapes, with what the model fixes and what the caller says. */
import { expect, it } from "vitest";
import { collect } from "../data/dataset.ts";
import { chooseInputs } from "./compare.ts";

const input = (name: string, ...dims: (number | string)[]) => ({ name, dtype: "float32" as const, dims });
const dimsOf = async (...[inputs, shapes]: [Parameters<typeof chooseInputs>[1], Record<string, number[]>?]) => {
  const [sample] = await collect(chooseInputs(undefined, inputs, { seed: 0, samples: 1, shapes }));
  return Object.values(sample?.inputs ?? {}).map(({ dims }) => dims);
};

it("made-up samples are of one row where all inputs agree on how many there are in a run", async () => {
  expect(await dimsOf([input("a", 4, 6), input("b", 4)])).toEqual([[1, 6], [1]]);
  expect(await dimsOf([input("a", 4, 6), input("b", 2, 4)])).toEqual([
    [4, 6],
    [2, 4],
  ]);
});

it("made-up samples have the sizes that the caller gives", async () => {
  expect(await dimsOf([input("a", "N", 3, "H")], { H: [5] })).toEqual([[1, 3, 5]]);
  expect(await dimsOf([input("a", "N", 3, "H")], { a: [2, 3, 7] })).toEqual([[2, 3, 7]]);
  await expect(async () => dimsOf([input("a", "N", 3)], { a: [2, 4] })).rejects.toMatchObject({ code: "bad-recipe" });
});
