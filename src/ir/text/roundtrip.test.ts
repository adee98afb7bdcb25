/** @file parse undoes print, on random models. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { arbitraryModel } from "../../../test/arbitrary-graph.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { hashTensor, parse, print } from "./index.ts";

it("parses what it prints to a model that prints the same", () => {
  fc.assert(
    fc.property(arbitraryModel(), (model) => {
      const exact = { elideAbove: Number.POSITIVE_INFINITY };
      const text = print(model, exact);
      expect(print(parse(text), exact)).toBe(text);
    }),
    { numRuns: 200, seed: 1 },
  );
});

it("finds elided tensors again by their hashes", () => {
  fc.assert(
    fc.property(arbitraryModel(), (model) => {
      const tensors = new Map<string, Tensor>();
      for (const graph of model.graphs())
        for (const { tensor } of graph.initializers) if (tensor) tensors.set(hashTensor(tensor), tensor);
      const text = print(model, { elideAbove: 0 });
      expect(print(parse(text, { tensors: (hash) => tensors.get(hash) }), { elideAbove: 0 })).toBe(text);
    }),
    { numRuns: 100, seed: 2 },
  );
});

it("copies a model to one that prints the same and shares nothing that can be edited", () => {
  fc.assert(
    fc.property(arbitraryModel(), (model) => {
      const text = print(model);
      const copy = model.clone();
      expect(print(copy)).toBe(text);
      for (const graph of copy.graphs()) for (const value of [...graph.values]) graph.rename(value, `${value.name}'`);
      expect(print(model)).toBe(text);
    }),
    { numRuns: 100, seed: 3 },
  );
});

it("refuses damaged text with an error of its own", () => {
  const pieces = [
    "",
    '"',
    "{",
    "}",
    "<",
    ">",
    "[",
    ",",
    "=",
    "constructor",
    "__proto__",
    "-",
    "9e999",
    'x"',
    "float[",
    "#",
  ];
  fc.assert(
    fc.property(
      arbitraryModel({ maxSteps: 3 }),
      fc.nat(),
      fc.nat(9),
      fc.constantFrom(...pieces),
      (model, at, cut, piece) => {
        const text = print(model, { elideAbove: Number.POSITIVE_INFINITY });
        const from = at % text.length;
        try {
          expect(print(parse(text.slice(0, from) + piece + text.slice(from + cut)))).toContain("=>");
        } catch (error) {
          expect(error).toBeInstanceOf(TersorError);
          expect((error as TersorError).code).toBe("bad-model");
        }
      },
    ),
    { numRuns: 1000, seed: 4 },
  );
});
