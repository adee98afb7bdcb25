/** @file The generated pages of docs/ say what the tables say. `npm run docs` writes them. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { methodsPage } from "../scripts/documents/methods.ts";
import { operatorsPage } from "../scripts/documents/operators.ts";
import { roomsRules, roomsTable } from "../scripts/documents/rooms.ts";
import { trainingPage } from "../scripts/documents/training.ts";
import { wordsTable } from "../scripts/documents/words.ts";

test.each([
  ["methods.md", methodsPage],
  ["operators.md", operatorsPage],
  ["training-options.md", trainingPage],
])("docs/%s is current: `npm run docs` writes it", async (name, make) => {
  await expect(make()).toMatchFileSnapshot(`../docs/${name}`);
});

test("the linter's rules, the table of folders and that of words are made of lists: `npm run docs` writes them", async () => {
  await expect(roomsRules()).toMatchFileSnapshot("../biome.rooms.json");
  const path = new URL("../docs/architecture.md", import.meta.url);
  let page = readFileSync(path, "utf8");
  for (const [name, table] of [
    ["rooms", roomsTable()],
    ["words", wordsTable()],
  ]) {
    const [before, after] = [`<!-- ${name}: made by \`npm run docs\` -->`, `<!-- end of ${name} -->`];
    const [head = "", rest = ""] = page.split(before);
    const [, tail = ""] = rest.split(after);
    page = [head, before, `\n\n${table}\n\n`, after, tail].join("");
  }
  await expect(page).toMatchFileSnapshot("../docs/architecture.md");
});
