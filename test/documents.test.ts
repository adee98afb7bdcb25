/** @file The generated pages of docs/ say what the tables say. `npm run docs` writes them. */
import { expect, test } from "vitest";
import { methodsPage } from "../scripts/documents/methods.ts";
import { operatorsPage } from "../scripts/documents/operators.ts";
import { trainingPage } from "../scripts/documents/training.ts";

test.each([
  ["methods.md", methodsPage],
  ["operators.md", operatorsPage],
  ["training-options.md", trainingPage],
])("docs/%s is current: `npm run docs` writes it", async (name, make) => {
  await expect(make()).toMatchFileSnapshot(`../docs/${name}`);
});
