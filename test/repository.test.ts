/** @file The rules of this repository that no linter checks. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { importsOf, rooms } from "../scripts/documents/rooms.ts";
import { circles } from "./circles.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string) => readFileSync(join(root, path), "utf8");
const json = (path: string) => JSON.parse(read(path));
const git = (...args: string[]) => execFileSync("git", args, { cwd: root, encoding: "utf8" }).split("\0");
/** Committed or about to be; what was deleted since is left out. */
const files = git("ls-files", "-z").filter((path) => path && existsSync(join(root, path)));
const code = files.filter((path) => /\.(ts|mjs)$/.test(path));
const generated = /\.(generated|wasm)\.ts$/;
const folders = readdirSync(join(root, "src"), { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

describe("files", () => {
  it("name no path of a machine and no registry", () => {
    const places = ["work", "tmp", "root", "home", "Users"].join("|");
    const forbidden = new RegExp(`(?<![\\w.})])/(${places})/|\\.lib${""}rary/|regis${""}try\\.[a-z]|"res${""}olved":`);
    const hits = files
      .filter((path) => /\.(ts|mjs|js|json|md|py|sh|ya?ml|txt)$|\/run$|rc$/.test(path))
      .flatMap((path) => {
        const found = forbidden.exec(read(path));
        return found ? [`${path}: ${found[0]}`] : [];
      });
    expect(hits).toEqual([]);
  });

  it("say on their first line what they are; tests are about the file beside them", () => {
    const silent = code.filter(
      (path) => !path.endsWith(".test.ts") && !/^(#!.*\n)?\/\*\*\s+(\*\s+)?@file\s/.test(read(path)),
    );
    expect(silent).toEqual([]);
  });

  it("have at most 500 lines", () => {
    const long = code.filter((path) => !generated.test(path) && read(path).split("\n").length > 501);
    expect(long).toEqual([]);
  });
});

describe("rooms", () => {
  it("are all in the one list of scripts/documents/rooms.ts, and nothing else is", () => {
    expect(rooms.map(({ name }) => name).sort()).toEqual([...folders].sort());
  });

  it("import nothing above them", () => {
    for (const [at, room] of rooms.entries())
      for (const name of importsOf(room)) expect(rooms.findIndex((each) => each.name === name)).toBeLessThan(at);
  });

  it("have no circles of imports, types included, but for the graph of ir, which is one thing", () => {
    const ir = ["attribute", "graph", "node", "value"].map((name) => `ir/${name}.ts`);
    expect(circles()).toEqual([ir]);
  });
});

describe("install", () => {
  const { packages } = json("package-lock.json");

  it("does not run the script of onnxruntime-node, which downloads CUDA libraries", () => {
    const why =
      'remove "hasInstallScript" of onnxruntime-node from package-lock.json: npm 10 runs the script otherwise';
    expect(packages["node_modules/onnxruntime-node"].hasInstallScript, why).toBeUndefined();
  });

  it("says of every package with a script whether it may run", () => {
    const names = Object.entries<{ hasInstallScript?: boolean }>(packages)
      .filter(([path, { hasInstallScript }]) => path && hasInstallScript)
      .map(([path]) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length));
    const decided = Object.keys(json("package.json").allowScripts);
    expect(names.filter((name) => !decided.includes(name))).toEqual([]);
  });
});

describe("documents", () => {
  const pages = files.filter((path) => path.endsWith(".md"));

  it("link to files that exist", () => {
    const broken = pages.flatMap((page) =>
      [...read(page).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)]
        .map(([, link = ""]) => join(dirname(page), link))
        .filter((path) => !existsSync(join(root, path)))
        .map((path) => `${page}: ${path}`),
    );
    expect(broken).toEqual([]);
  });

  it("name npm scripts that exist", () => {
    const scripts = Object.keys(json("package.json").scripts);
    const used = pages.flatMap((page) => [...read(page).matchAll(/npm run ([a-z:]+)/g)].map(([, name]) => name));
    expect(used.filter((name) => name && !scripts.includes(name))).toEqual([]);
  });

  it("show code that is run: the README's is in examples/library.mjs", () => {
    const tested = new Set(read("examples/library.mjs").split("\n"));
    const blocks = [...read("README.md").matchAll(/```js\n(.*?)```/gs)].map(([, block = ""]) => block.trimEnd());
    expect(blocks).not.toEqual([]);
    expect(blocks.flatMap((block) => block.split("\n")).filter((line) => !tested.has(line))).toEqual([]);
  });

  it("have the changes to come on top of the changelog", () => {
    expect(/^## .*$/m.exec(read("CHANGELOG.md"))?.[0]).toBe("## Unreleased");
  });
});
