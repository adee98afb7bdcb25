/** @file The generated pages of docs/ say what the tables say. `npm run docs` writes them. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { methodsPage } from "../scripts/documents/methods.ts";
import { operatorsPage } from "../scripts/documents/operators.ts";
import { roomsRules, roomsTable } from "../scripts/documents/rooms.ts";
import { trainingPage } from "../scripts/documents/training.ts";

test.each([
  ["methods.md", methodsPage],
  ["operators.md", operatorsPage],
  ["training-options.md", trainingPage],
])("docs/%s is current: `npm run docs` writes it", async (name, make) => {
  await expect(make()).toMatchFileSnapshot(`../docs/${name}`);
});

test("the linter's rules and the table of folders are made of one list: `npm run docs` writes them", async () => {
  await expect(roomsRules()).toMatchFileSnapshot("../biome.rooms.json");
  const path = new URL("../docs/architecture.md", import.meta.url);
  const [before, after] = ["<!-- rooms: made by `npm run docs` -->", "<!-- end of rooms -->"];
  const [head = "", rest = ""] = readFileSync(path, "utf8").split(before);
  const [, tail = ""] = rest.split(after);
  await expect([head, before, `\n\n${roomsTable()}\n\n`, after, tail].join("")).toMatchFileSnapshot(
    "../docs/architecture.md",
  );
});
