/** @file Constants that are stored sparsely: smaller, run to the same outputs, and refused for targets that would not load them. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli, temporaryFolder } from "../../../test/cli.ts";
import { randomFeeds, runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { parse } from "../../ir/text/index.ts";
import { loadModel } from "../../node/load.ts";
import { sparseInitializers } from "../../passes/sparse-initializers.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";

const rng = new Rng(2, "sparse");
const numbers = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );
const model = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,3,8,8] x) => (float[N,16,6,6] y)
  <float[32,3,1,1] w = ${numbers(32, 3, 1, 1)}, float[16,32,3,3] v = ${numbers(16, 32, 3, 3)}, float[16] b = ${numbers(16)}> {
  a = Conv(x, w)  r = Relu(a)  y = Conv(r, v, b) }`;

function folder(): string {
  const cwd = temporaryFolder();
  writeFileSync(join(cwd, "m.onnx"), encode(model));
  return cwd;
}

const pruned = ["prune", "m.onnx", "--structure", "weights", "--ratio", "0.9", "--no-simplify"];

describe("sparse constants", () => {
  it("are fewer bytes and the same outputs", async () => {
    const cwd = folder();
    const dense = await runCli([...pruned, "-o", "dense.onnx"], { cwd });
    const sparse = await runCli([...pruned, "-o", "sparse.onnx", "--sparse", "node-x64", "--check"], { cwd });
    expect([dense.code, sparse.code, sparse.stderr]).toEqual([0, 0, ""]);
    const [before, after] = ["dense.onnx", "sparse.onnx"].map((name) => join(cwd, name)) as [string, string];
    expect(statSync(after).size).toBeLessThan(0.4 * statSync(before).size);
    const stored = loadModel(after);
    expect(stored.graph.find("v")?.sparse?.dims).toEqual([16, 32, 3, 3]);
    const feeds = randomFeeds([{ name: "x", dtype: "float32", dims: [2, 3, 8, 8] }], 1);
    expect(await runModel(stored, feeds)).toEqual(await runModel(loadModel(before), feeds));
    const { steps } = JSON.parse(readFileSync(`${after}.json`, "utf8"));
    const { report } = steps.find(({ step }: { step: string }) => step === "sparse");
    expect(report.constants.map(({ name }: { name: string }) => name)).toContain("v");
    expect(report.size.after.brotli).toBeGreaterThan(0);
    // The plain wasm build loads them as well, the one that WebGPU comes with does not.
    const session = await inProcessRuntime("ort-web").create(readFileSync(after), { threads: 1 });
    const [y] = Object.values(await session.run(feeds));
    await session.release();
    expect(y?.dims).toEqual([2, 16, 6, 6]);
  });

  it("are refused for targets that do not load them", async () => {
    const { code, stderr } = await runCli([...pruned, "--sparse", "web-wasm"], { cwd: folder() });
    expect(code).toBe(2);
    expect(stderr).toContain('target "web-wasm" does not load sparse initializers: expected one of node-x64,');
  });

  it("stay dense where that is smaller, and the second time", () => {
    expect(sparseInitializers(model)).toMatchObject({ model, modified: false, constants: [] });
    const copy = model.clone();
    const v = copy.graph.find("v");
    if (v?.tensor)
      v.tensor = float32(
        v.tensor.dims,
        v.tensor.toFloat32().map((x, i) => (i % 4 === 0 ? x : 0)),
      );
    const { model: stored, constants } = sparseInitializers(copy);
    expect(constants).toMatchObject([{ name: "v", elements: 4608, nonzero: 1152, before: 18432, after: 13824 }]);
    expect(sparseInitializers(stored).modified).toBe(false);
    expect(copy.graph.find("v")?.tensor).toBeDefined();
  });
});
