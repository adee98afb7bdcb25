/** @file The time of results: measured where it can be, said where it is slower, decided by where that is asked for. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runCli, temporaryFolder } from "../../../test/cli.ts";
import { encode } from "../../../test/wire.ts";
import { parse } from "../../ir/text/index.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { runRecipe } from "../node/run-recipe.ts";
import type { RecipeStep } from "../recipe.ts";
import type { FitLatencyReport } from "./fit-latency.ts";

const normal = (count: number, key = "") => {
  const rng = new Rng(5, `${count}${key}`);
  return Float32Array.from({ length: count }, () => rng.normal());
};
/** Depthwise convolutions of 16 channels: a lookup of weights at every run takes many times as long as they do. */
const names = [0, 1, 2, 3];
const tensors = new Map(names.map((i) => [`w${i}`, float32([16, 1, 5, 5], normal(400, `${i}`))]));
const model = encode(
  parse(
    `<ir_version: 8, opset_import: ["": 17]> g (float[N,16,64,64] x) => (float[N,16,64,64] y3)
    <${names.map((i) => `float[16,1,5,5] w${i} = {…w${i}}`).join(", ")}> {
      ${names.map((i) => `[dw${i}] y${i} = Conv<pads = [2, 2, 2, 2], group = 16>(${i === 0 ? "x" : `y${i - 1}`}, w${i})`).join("\n")}
    }`,
    { tensors: (key) => tensors.get(key) },
  ),
);

async function run(step: RecipeStep, rest = {}) {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "m.onnx"), model);
  writeFileSync(join(folder, "x.bin"), normal(4 * 16 * 64 * 64));
  const data = { path: "x.bin", dtype: "float32", dims: [16, 64, 64] };
  const result = await runRecipe({ model: "m.onnx", output: "o.onnx", data, steps: [step], ...rest }, { folder });
  return { ...result, bytes: readFileSync(join(folder, "o.onnx")) };
}

it("a slower result says so, with the reason and the next command", async () => {
  const { speed, manifest } = await run({ quantize: {} });
  expect(speed?.ratio).toBeGreaterThan(1.2);
  expect(speed?.slower).toContain("decoded at every run");
  expect(JSON.stringify(manifest)).not.toContain('"speed"');
  const folder = temporaryFolder();
  writeFileSync(join(folder, "m.onnx"), model);
  const { stdout, code, stderr } = await runCli(["quantize", join(folder, "m.onnx"), "-o", join(folder, "o.onnx")]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/Time slower: .* ×\d+\.\d\d .*one thread/);
});

it("what is made for another machine is not timed here", async () => {
  expect((await run({ quantize: { mode: "static", target: "web-wasm", layers: "*" } })).speed).toBeUndefined();
});

it("the clock decides where it is asked to, and its decisions give the same bytes without a clock", async () => {
  const fitted = await run({ quantize: { mode: "static", target: "node-x64-vnni" } }, { fitLatency: true });
  const report = fitted.manifest.steps[0]?.report.fitLatency as FitLatencyReport;
  expect(report.ratio).toBeLessThanOrEqual(report.ratioAsAsked);
  expect(report.layers.map(({ match }) => match)).toEqual(["0", "1", "2", "3"]);
  const again = await run({
    quantize: { mode: "static", target: "node-x64-vnni", layers: report.layers },
  } as unknown as RecipeStep);
  expect(again.bytes.equals(fitted.bytes)).toBe(true);
});
