/** @file Data is not code: nothing that JSON names is imported, or fetched. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openData } from "../../src/data/node/open-data.ts";
import { folderWith, isClear, jsonl, tersor } from "./attack.ts";

/** A module that leaves a trace when it is run, and works as recipe, data and metric. */
const trace = `import { writeFileSync } from "node:fs";
writeFileSync(new URL("./trace", import.meta.url), "was run");
export default { model: "m.onnx", output: "q.onnx", steps: [{ quantize: {} }] };`;
const samples = `import { writeFileSync } from "node:fs";
writeFileSync(new URL("./trace", import.meta.url), "was run");
export default [{ inputs: { x: [1, 2, 3, 4] } }, { inputs: { x: [4, 3, 2, 1] } }];`;

const recipe = (more: object, step: object = { quantize: {} }) =>
  JSON.stringify({ model: "m.onnx", output: "q.onnx", steps: [step], ...more });

const compare = (options: object) => ({ compare: { runs: 0, ...options } });

const refused: Readonly<Record<string, string>> = {
  "extends of a module": recipe({ extends: "./code.mjs" }),
  "extends of another host": recipe({ extends: "gh:a/b" }),
  "extends of several": recipe({ extends: ["./code.mjs", ["./code.mjs", {}]] }),
  "a module as data": recipe({ data: "code.mjs" }, compare({})),
  "a module as data of a step": recipe({}, compare({ data: { path: "code.mjs" } })),
  "a module in the text of an object": recipe({ data: '{"path":"code.mjs"}' }, compare({})),
  "a module by its format": recipe({ data: { path: "code.mjs", format: "module" } }, compare({})),
  "a module in a file of options": recipe({ data: "options.json" }, compare({})),
  "a module as metric": recipe({ data: "d.jsonl" }, compare({ metric: "code.mjs" })),
  "a module as metric with options": recipe({ data: "d.jsonl" }, compare({ metric: { name: "code.mjs", k: 1 } })),
  "a module to train on": recipe({}, { finetune: { data: "code.mjs" } }),
  "a module to validate on": recipe({ data: "d.jsonl" }, { finetune: { validation: "code.mjs" } }),
  "a module to calibrate on": recipe({}, { quantize: { mode: "static", target: "any", calibrate: "code.mjs" } }),
};

describe("a JSON recipe runs nothing", () => {
  for (const [what, text] of Object.entries(refused))
    for (const name of ["r.json", "tersor.config.json"])
      it(`${what}, ${name}`, async () => {
        const folder = folderWith({ "code.mjs": samples, "options.json": '{"path":"code.mjs"}', [name]: text });
        const result = await tersor(folder, name === "r.json" ? ["run", name] : ["run"], { deadline: 30_000 });
        expect(result.stderr).toMatch(/"extends" is not known|is a module, which runs/);
        expect({ code: result.code, clear: isClear(result) }).toEqual({ code: 2, clear: true });
        expect(existsSync(join(folder, "trace"))).toBe(false);
        expect(existsSync(join(folder, "q.onnx"))).toBe(false);
      });

  it("a dry run neither", async () => {
    const folder = folderWith({ "code.mjs": trace, "r.json": recipe({ extends: "./code.mjs" }) });
    expect((await tersor(folder, ["run", "r.json", "--dry-run"])).code).toBe(2);
    expect(existsSync(join(folder, "trace"))).toBe(false);
  });

  it("other kinds of configuration files are none", async () => {
    const folder = folderWith({ "code.mjs": trace, "r.yaml": "extends: ./code.mjs\nmodel: m.onnx\n" });
    const result = await tersor(folder, ["run", "r.yaml"]);
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining("expected a file that ends in .json") });
    expect(existsSync(join(folder, "trace"))).toBe(false);
  });
});

describe("JSON as data runs nothing", () => {
  const attacks: Readonly<Record<string, readonly string[]>> = {
    "a file of options": ["--data", "options.json"],
    "options that name another path": ["--data", "d.jsonl", "--data-options", "options.json"],
    "options that name another format": ["--data", "text.mjs.txt", "--data-options", "format.json"],
  };
  for (const [what, flags] of Object.entries(attacks))
    it(what, async () => {
      const folder = folderWith({
        "code.mjs": samples,
        "text.mjs.txt": samples,
        "options.json": '{"path":"code.mjs"}',
        "format.json": '{"format":"module"}',
      });
      const result = await tersor(folder, ["compare", "m.onnx", "m.onnx", "--runs", "0", ...flags]);
      expect(result.stderr).toContain("is a module, which runs");
      expect({ code: result.code, clear: isClear(result) }).toEqual({ code: 2, clear: true });
      expect(existsSync(join(folder, "trace"))).toBe(false);
    });

  it("in the library, where the spec is data", async () => {
    const folder = folderWith({ "code.mjs": samples });
    const inputs = [{ name: "x", dtype: "float32", dims: ["N", 4] }] as const;
    await expect(openData("code.mjs", { inputs, folder, modules: false })).rejects.toThrow("is a module, which runs");
  });
});

describe("what runs is said, and runs", () => {
  it("a recipe that is code", async () => {
    const folder = folderWith({ "code.mjs": trace });
    expect((await tersor(folder, ["run", "code.mjs"])).code).toBe(0);
    expect(existsSync(join(folder, "trace"))).toBe(true);
  });

  it("a recipe that is code takes nothing from elsewhere by itself", async () => {
    const folder = folderWith({
      "code.mjs": trace,
      "r.mjs": `export default ${recipe({ extends: "./code.mjs" })};`,
    });
    expect((await tersor(folder, ["run", "r.mjs"])).code).toBe(2);
    expect(existsSync(join(folder, "trace"))).toBe(false);
  });

  it("a module that the command line names", async () => {
    const folder = folderWith({ "code.mjs": samples, "d.jsonl": jsonl });
    const result = await tersor(folder, ["compare", "m.onnx", "m.onnx", "--runs", "0", "--data", "code.mjs"]);
    expect(result.code).toBe(0);
    expect(existsSync(join(folder, "trace"))).toBe(true);
  });

  it("the help page says so", async () => {
    const { stdout } = await tersor(folderWith(), ["--help"]);
    expect(stdout).toContain("What runs code:");
    expect(stdout).toContain("docs/trust.md");
  });
});
