/** @file Files that are not what they seem: data through links, models that change, descriptors, leftovers of killed runs, a full disk. */
import { spawn } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { loadModel } from "../../src/node/load.ts";
import { saveModel } from "../../src/node/save.ts";
import { removeStale, temporaryName } from "../../src/node/temporary.ts";
import { runRecipe } from "../../src/recipe/node/run-recipe.ts";
import { fnv1a64 } from "../../src/util/hash.ts";
import { cliFile, filesIn, temporaryFolder } from "../cli.ts";
import { fileOf } from "../wire.ts";
import { folderWith, isClear, tersor } from "./attack.ts";

/** One float32 weight [2048] that lies in a file. */
const external = (location: string) => {
  const entry = (key: string, value: string) => ({ key, value });
  const type = { tensorType: { elemType: 1, shape: { dim: [{ dimValue: 2048n }] } } };
  return fileOf({
    input: [{ name: "x", type }],
    output: [{ name: "y", type }],
    node: [{ opType: "Add", input: ["x", "w"], output: ["y"] }],
    initializer: [
      { name: "w", dims: [2048n], dataType: 1, dataLocation: 1, externalData: [entry("location", location)] },
    ],
  });
};
const weights = Buffer.from(Float32Array.from({ length: 2048 }, (_, i) => i).buffer);

describe("external data through links", () => {
  it("that lead out of the model's folder is refused: a file, a folder, and a chain of both", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "secret"));
    writeFileSync(join(folder, "secret/w.bin"), weights);
    mkdirSync(join(folder, "model"));
    const at = (name: string) => join(folder, "model", name);
    symlinkSync("../secret/w.bin", at("file.bin"));
    symlinkSync("../secret", at("folder"));
    symlinkSync("file.bin", at("chain.bin"));
    for (const location of ["file.bin", "folder/w.bin", "chain.bin"]) {
      writeFileSync(at("m.onnx"), external(location));
      expect(() => loadModel(at("m.onnx")), location).toThrow(/is a link that leaves the model's folder/);
      const result = await tersor(folder, ["quantize", "model/m.onnx", "-o", "q.onnx"]);
      expect({ code: result.code, clear: isClear(result) }).toEqual({ code: 3, clear: true });
      expect(filesIn(folder)).toEqual(["model", "secret"]);
    }
  });

  it("that stay in it is read, and so is that of a store which links to model and data", () => {
    const folder = temporaryFolder();
    for (const name of ["blobs", "snapshot", "model/sub"]) mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, "model/sub/w.bin"), weights);
    symlinkSync("sub/w.bin", join(folder, "model/link.bin"));
    writeFileSync(join(folder, "model/m.onnx"), external("link.bin"));
    writeFileSync(join(folder, "blobs/1"), external("m.onnx_data"));
    writeFileSync(join(folder, "blobs/2"), weights);
    symlinkSync("../blobs/1", join(folder, "snapshot/m.onnx"));
    symlinkSync("../blobs/2", join(folder, "snapshot/m.onnx_data"));
    for (const path of ["model/m.onnx", "snapshot/m.onnx"]) {
      using model = loadModel(join(folder, path));
      expect(model.graph.initializers[0]?.tensor?.toNumbers()[5]).toBe(5);
    }
  });
});

describe("an input that changes while it is read", () => {
  const change: Readonly<Record<string, (path: string) => void>> = {
    "in place, with the same size": (path) => {
      const fd = openSync(path, "r+");
      writeSync(fd, Buffer.from([1, 2, 3]), 0, 3, 4000);
      closeSync(fd);
      utimesSync(path, new Date(), new Date(Date.now() + 5000));
    },
    "by growing": (path) => writeFileSync(path, Buffer.alloc(10), { flag: "a" }),
  };
  const model = () => {
    const folder = folderWith({ "big.onnx": external("w.bin"), "w.bin": weights });
    return { folder, path: join(folder, "big.onnx"), data: join(folder, "w.bin") };
  };

  for (const [how, alter] of Object.entries(change))
    for (const which of ["path", "data"] as const)
      it(`${how}, ${which === "path" ? "the model" : "its data"}: nothing is written`, async () => {
        const files = model();
        const loaded = loadModel(files.path);
        alter(files[which]);
        await expect(saveModel(loaded.clone(), join(files.folder, "q.onnx"))).rejects.toThrow(
          "changed while it was read",
        );
        expect(filesIn(files.folder).filter((name) => name.startsWith("q") || name.startsWith("."))).toEqual([]);
        loaded.close();
      });

  it("or is replaced during a recipe: nothing is written", async () => {
    for (const alter of [...Object.values(change), (path: string) => writeFileSync(path, readFileSync(path))]) {
      const { folder, path } = model();
      let altered = false;
      const run = runRecipe(
        { model: "big.onnx", output: "q.onnx", steps: [{ simplify: {} }] },
        {
          folder,
          progress: () => {
            if (!altered) alter(path);
            altered = true;
            return { update: () => {}, end: () => {} };
          },
        },
      );
      await expect(run).rejects.toThrow("changed while it was read");
      expect(filesIn(folder).filter((name) => name.startsWith("q") || name.startsWith("."))).toEqual([]);
    }
  });
});

describe("file descriptors", () => {
  const open = () => readdirSync("/proc/self/fd").length;

  it("are given back by close and by using, and 3,000 models can be opened one after the other", () => {
    const folder = folderWith({ "big.onnx": external("w.bin"), "w.bin": weights });
    const before = open();
    for (let i = 0; i < 1500; i++) {
      loadModel(join(folder, "big.onnx")).close();
      using _ = loadModel(join(folder, "big.onnx"));
    }
    expect(open()).toBeLessThan(before + 20);
    const model = loadModel(join(folder, "big.onnx"));
    model.close();
    model.close();
    expect(() => model.graph.initializers[0]?.tensor?.toNumbers()).toThrow(
      "read after its model was closed. Load it again.",
    );
  });

  it("are given back by recipes", async () => {
    const folder = folderWith();
    const recipe = { model: "m.onnx", output: "q.onnx", steps: [{ quantize: {} }] };
    await runRecipe(recipe, { folder });
    const before = open();
    for (let i = 0; i < 40; i++) await runRecipe(recipe, { folder });
    expect(open()).toBeLessThan(before + 20);
  });
});

describe("what a killed run leaves behind", () => {
  it("is removed by the next one, and what lives or belongs to others is not", async () => {
    const folder = folderWith();
    const host = fnv1a64([new TextEncoder().encode(hostname())]).slice(0, 8);
    const dead = `.tersor-${host}-${2 ** 22 + 1}-x`;
    const alive = `.tersor-${host}-${process.pid}-x`;
    const foreign = `.tersor-00000000-${2 ** 22 + 1}-x`;
    for (const name of [dead, alive, foreign]) mkdirSync(join(folder, name, "0"), { recursive: true });
    expect((await tersor(folder, ["quantize", "m.onnx", "-o", "q.onnx"])).code).toBe(0);
    const left = filesIn(folder).filter((name) => name.startsWith(".tersor-"));
    expect(left).toEqual([alive, foreign].sort());
    expect(temporaryName().startsWith(`.tersor-${host}-${process.pid}-`)).toBe(true);
    removeStale(join(folder, "nowhere"));
  });

  it("killed for real", async () => {
    const lines = Array.from({ length: 4000 }, (_, i) => `{"inputs":{"x":[${i},1,2,3]},"label":${i % 2}}`).join("\n");
    const folder = folderWith({ "long.jsonl": lines });
    const args = [
      "finetune",
      "m.onnx",
      "--data",
      "long.jsonl",
      "--epochs",
      "500",
      "--checkpoint",
      "c.npz",
      "-o",
      "o.onnx",
    ];
    const child = spawn(process.execPath, [cliFile, ...args], { cwd: folder, stdio: "ignore" });
    await wait(3000);
    // What it would have at the end of the training.
    mkdirSync(join(folder, temporaryName().replace(`${process.pid}`, `${child.pid}`)));
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
    expect((await tersor(folder, ["quantize", "m.onnx", "-o", "q.onnx"])).code).toBe(0);
    expect(filesIn(folder).filter((name) => name.startsWith(".tersor-"))).toEqual([]);
  });
});

describe("a full disk", () => {
  it("is said of the file that was asked for, and nothing is left", async () => {
    const folder = folderWith();
    const script = `ulimit -f 1; exec "$0" "$@"`;
    for (const args of [
      ["quantize", "m.onnx", "-o", "q.onnx", "--external-data", "--dtype", "float16"],
      ["quantize", "m.onnx", "-o", "q.onnx"],
    ]) {
      const child = spawn("bash", ["-c", script, process.execPath, cliFile, ...args], { cwd: folder });
      let stderr = "";
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        stderr += text;
      });
      const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
      expect({ code, clear: isClear({ code, stdout: "", stderr }) }).toEqual({ code: 3, clear: true });
      expect(stderr).toMatch(/^tersor: q\.onnx: can't be written: /);
      expect(filesIn(folder)).toEqual(["d.jsonl", "d.npy", "m.onnx"]);
    }
  });
});

describe("a result that is larger than the input", () => {
  it("is said, with the next step; a smaller one has no such note", async () => {
    const folder = folderWith();
    const large = await tersor(folder, [
      "quantize",
      "m.onnx",
      "-o",
      "q.onnx",
      "--granularity",
      "group:1",
      "--min-elements",
      "1",
    ]);
    const [before, after] = ["m.onnx", "q.onnx"].map((name) => readFileSync(join(folder, name)).length) as [
      number,
      number,
    ];
    expect(after).toBeGreaterThan(before);
    expect(large.stdout).toContain(`the result is larger than the input, by ${after - before} bytes`);
    expect(large.stdout).toContain("--granularity");
    const manifest = JSON.parse(readFileSync(join(folder, "q.onnx.json"), "utf8"));
    expect(manifest.notes).toEqual([expect.stringContaining("larger than the input")]);
    const small = await tersor(folder, ["quantize", "m.onnx", "-o", "s.onnx", "--float16"]);
    const isSmaller = readFileSync(join(folder, "s.onnx")).length <= before;
    expect(small.stdout.includes("larger than the input")).toBe(!isSmaller);
  });
});
