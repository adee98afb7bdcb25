/** @file The rules of this repository that no linter checks. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

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

describe("layers", () => {
  /** Of one folder: the folders that it may import, as the linter's message says, and those it may not. */
  const rules = new Map<string, { allowed: string[]; refused: string[] }>();
  for (const { includes, linter } of json("biome.json").overrides) {
    const folder = /^src\/([a-z]+)\/\*\*\/\*\.ts$/.exec(includes[0])?.[1];
    const [pattern] = linter.rules.style?.noRestrictedImports?.options.patterns ?? [];
    const allowed = /may import only: ([^(.]*)/.exec(pattern?.message ?? "")?.[1];
    if (!folder || !allowed) continue;
    const refused = pattern.group.map((glob: string) => glob.replaceAll(/[/*]/g, ""));
    rules.set(folder, { allowed: allowed.trim().split(", "), refused });
  }

  it("has a rule for every folder but the last, cli, which may import all", () => {
    expect(folders.filter((folder) => folder !== "cli" && !rules.has(folder))).toEqual([]);
  });

  it("refuses all that it does not allow", () => {
    const known = [...rules.keys(), "cli"];
    for (const [folder, { allowed, refused }] of rules)
      expect([...allowed, ...refused].sort(), folder).toEqual([...new Set(known)].sort());
  });

  it("are all in docs/architecture.md", () => {
    const page = read("docs/architecture.md");
    expect(folders.filter((folder) => !page.includes(`| \`${folder}\` |`))).toEqual([]);
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
