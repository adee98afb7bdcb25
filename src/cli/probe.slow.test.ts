/** @file `tersor probe` and the target that it writes, as processes of the built program. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { filesIn, runCli, temporaryFolder } from "../../test/cli.ts";
import { encode } from "../../test/wire.ts";
import { encodeNpy } from "../data/npy.ts";
import { parse } from "../ir/text/index.ts";
import { targetNamed } from "../targets/targets.ts";
import { float32 } from "../tensor/tensor.ts";
import { Rng } from "../util/rng.ts";

const rng = new Rng(8, "probe");
const normal = (count: number) => Float32Array.from({ length: count }, () => rng.normal());

/** A model of one product and samples for it. */
function setUp() {
  const folder = temporaryFolder();
  const model = parse`<ir_version: 8, opset_import: ["": 17]> g (float[N,32] x) => (float[N,32] y)
    <float[32,32] w = ${float32([32, 32], normal(1024))}> { [product] y = MatMul(x, w) }`;
  writeFileSync(join(folder, "m.onnx"), encode(model));
  writeFileSync(join(folder, "x.npy"), encodeNpy({ dtype: "float32", dims: [8, 32], data: normal(256) }));
  return folder;
}

const quantize = ["quantize", "m.onnx", "-o", "q.onnx", "--calibrate", "x.npy", "--target"];

it("measures this machine and writes a target that quantize takes", async () => {
  const cwd = setUp();
  const { code, stdout, stderr } = await runCli(["probe", "-o", "my-machine.json", "--json"], { cwd });
  expect([code, stderr]).toEqual([0, ""]);
  const report = JSON.parse(stdout);
  expect(report.files).toEqual(["my-machine.json"]);
  expect(JSON.parse(readFileSync(join(cwd, "my-machine.json"), "utf8"))).toEqual(report.target);
  expect(report.target).toMatchObject({ name: "my-machine", runtime: "ort-node" });
  const made = await runCli([...quantize, "./my-machine.json", "--json"], { cwd });
  expect([made.code, made.stderr]).toEqual([0, ""]);
  expect(JSON.parse(made.stdout).steps[1].options.target.name).toBe("my-machine");
  expect(filesIn(cwd)).toEqual(["m.onnx", "my-machine.json", "q.onnx", "q.onnx.json", "x.npy"]);
});

it.each([
  ["an unknown key", { saturate: true }, 'target "t.json": unknown option "saturate" (did you mean saturates?)'],
  ["a wrong value", { accuracyLevel: 2 }, 'target "t.json": "accuracyLevel"'],
])("refuses a target with %s, and writes nothing", async (_, change, message) => {
  const cwd = setUp();
  writeFileSync(join(cwd, "t.json"), JSON.stringify({ ...targetNamed("any"), ...change }));
  const { code, stderr } = await runCli([...quantize, "t.json"], { cwd });
  expect(code).toBe(2);
  expect(stderr).toContain(message);
  expect(filesIn(cwd)).toEqual(["m.onnx", "t.json", "x.npy"]);
});

it.each([
  [["--runtime", "ort-nodes"], '--runtime: expected one of ort-node, ort-web, got "ort-nodes"'],
  [["-o", "nowhere/t.json"], 'output "nowhere/t.json"'],
])("refuses probe %j", async (flags, message) => {
  const { code, stderr } = await runCli(["probe", ...flags], { cwd: temporaryFolder() });
  expect(code).toBe(2);
  expect(stderr).toContain(message);
});
