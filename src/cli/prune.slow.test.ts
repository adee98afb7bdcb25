/** @file `tersor prune` as a process: bounds that can't be met, layers that are protected or shared, and what is refused. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli, temporaryFolder } from "../../test/cli.ts";
import { encode } from "../../test/wire.ts";
import type { Model } from "../ir/model.ts";
import { parse } from "../ir/text/index.ts";
import { loadModel } from "../node/load.ts";
import { float32 } from "../tensor/tensor.ts";
import { Rng } from "../util/rng.ts";

const rng = new Rng(3, "prune command");
const numbers = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );

const plain = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,6] x) => (float[N,3] y)
  <float[6,24] w1 = ${numbers(6, 24)}, float[24,20] w2 = ${numbers(24, 20)}, float[20,3] w3 = ${numbers(20, 3)}> {
  [first] a = MatMul(x, w1)  b = Relu(a)  [second] c = MatMul(b, w2)  d = Relu(c)  [third] y = MatMul(d, w3) }`;

async function prune(model: Model, ...args: string[]) {
  const cwd = temporaryFolder();
  writeFileSync(join(cwd, "m.onnx"), encode(model));
  const result = await runCli(["prune", "m.onnx", "--no-compressed", ...args], { cwd });
  const file = join(cwd, "m.pruned.onnx");
  const report = existsSync(file)
    ? JSON.parse(readFileSync(`${file}.json`, "utf8")).steps.find(({ step }: { step: string }) => step === "prune")
        .report
    : undefined;
  const dims = (name: string) => loadModel(file).graph.find(name)?.tensor?.dims;
  return { ...result, report, dims };
}

describe("a bound", () => {
  it("that can't be met is missed by as little as may be: exit code 1, a file, and what holds it up", async () => {
    const { code, stdout, stderr, dims } = await prune(plain, "--ratio", "0.9", "--min-channels", "8", "--by", "macs");
    expect([code, stderr]).toEqual([1, ""]);
    expect(stdout).toMatch(/90 % of macs can't be removed, [\d.]+ % were: first keeps 8; second keeps 8/);
    expect([dims("w1"), dims("w3")]).toEqual([
      [6, 8],
      [8, 3],
    ]);
  });

  it("is kept with channels in multiples, and a least number", async () => {
    const { code, report, dims } = await prune(plain, "--ratio", "0.4", "--by", "params", "--round-to", "8", "--prove");
    expect(code).toBe(0);
    expect(report.proof.maxRelativeError).toBeLessThan(1e-5);
    expect([dims("w1")?.[1], dims("w2")?.[1]].map((size) => (size ?? 1) % 4)).toEqual([0, 0]);
    for (const { channels, removed } of report.groups)
      expect((channels - removed) % 8 === 0 || removed === 0).toBe(true);
  });

  it("leaves protected layers whole", async () => {
    const { code, report, dims } = await prune(plain, "--ratio", "0.3", "--protect", "fir*");
    // The share is of the channels that may go.
    expect(code).toBe(0);
    expect(report.groups).toMatchObject([
      { name: "first", removed: 0, reason: "protected" },
      { name: "second", removed: 6 },
    ]);
    expect(dims("w1")).toEqual([6, 24]);
  });
});

it("looks at the factors of batch norms before they are folded", async () => {
  const normed = parse`<ir_version: 10, opset_import: ["": 17]> net (float[N,2,4,4] x) => (float[N,3,4,4] y)
    <float[4,2,1,1] w1 = ${numbers(4, 2, 1, 1)}, float[4] g = {3, 0.1, 2, 0.2}, float[4] b = {0, 0, 0, 0}, float[4] m = {0, 0, 0, 0}, float[4] v = {1, 1, 1, 1},
     float[3,4,1,1] w2 = ${numbers(3, 4, 1, 1)}> {
    a = Conv(x, w1)  c = BatchNormalization(a, g, b, m, v)  d = Relu(c)  y = Conv(d, w2) }`;
  const { code, stderr, report, dims } = await prune(normed, "--ratio", "0.5", "--criterion", "bn-gamma");
  expect([code, stderr]).toEqual([0, ""]);
  expect(report.groups).toMatchObject([{ channels: 4, removed: 2 }]);
  expect(dims("w2")).toEqual([3, 2, 1, 1]);
  // They are trained too, and folded when all is trained.
  const data = join(temporaryFolder(), "rows.jsonl");
  const square = () => Array.from({ length: 4 }, () => Array.from({ length: 4 }, () => rng.normal()));
  const row = () => JSON.stringify({ inputs: { x: [square(), square()] } });
  writeFileSync(data, Array.from({ length: 8 }, row).join("\n"));
  const trained = await prune(
    normed,
    "--ratio",
    "0.5",
    "--finetune",
    data,
    "--finetune-epochs",
    "1",
    "--finetune-options",
    '{"batchSize":4}',
  );
  expect([trained.code, trained.stderr]).toEqual([0, ""]);
  expect(trained.report.schedule[0].training.trained).toContain("g");
  expect([trained.dims("g"), trained.dims("w2")]).toEqual([undefined, [3, 2, 1, 1]]);
});

describe("what is left of a model", () => {
  const zeros = plain.clone();
  const w2 = zeros.graph.find("w2");
  if (w2) w2.tensor = float32([24, 20], new Float32Array(480));

  it.each([
    ["--structure", "weights"],
    ["--structure", "2:4"],
    ["--by", "macs", "--ranking", "global"],
    ["--ranking", "global", "--normalize", "lamp"],
    ["--criterion", "fpgm", "--ranking", "global"],
  ])("with a layer of nothing but zeros is pruned as any: %s %s %s %s", async (...args) => {
    const ratio = args.includes("2:4") ? [] : ["--ratio", "0.4"];
    const { code, stderr, report } = await prune(zeros, ...args.filter((arg) => arg !== undefined), ...ratio);
    expect([code, stderr]).toEqual([0, ""]);
    if (report.layers) expect(report.layers[1].zeros).toBe(480);
  });

  it("with one channel in a layer stays, with the reason", async () => {
    const narrow = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,6] x) => (float[N,3] y)
      <float[6,1] w1 = ${numbers(6, 1)}, float[1,3] w2 = ${numbers(1, 3)}> { a = MatMul(x, w1)  b = Relu(a)  y = MatMul(b, w2) }`;
    const { code, stdout, stderr } = await prune(narrow, "--ratio", "0.5");
    expect([code, stderr]).toEqual([1, ""]);
    expect(stdout).toContain("no layer has channels that can go");
  });

  it("with a weight that is shared in ways that do not fit each other stays, with the reason", async () => {
    const shared = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,4] x) => (float[N,3] y)
      <float[4,4] w = ${numbers(4, 4)}, float[4,3] v = ${numbers(4, 3)}> {
      [one] a = MatMul(x, w)  b = Relu(a)  [two] c = MatMul(b, w)  d = Relu(c)  y = MatMul(d, v) }`;
    const { code, report } = await prune(shared, "--ratio", "0.5");
    expect(code).toBe(1);
    expect(report.groups).toEqual([]);
    expect(report.kept[0]).toMatchObject({ layer: "one", because: "input" });
  });
});

describe("what is refused", () => {
  it.each([
    [["--ratio", "1.5"], "--ratio: too big: expected number to be <=1, got 1.5"],
    [["--ratio", "-0.1"], "--ratio: too small: expected number to be >=0, got -0.1"],
    [
      ["--ratio", "0.5", "--protect", "fist"],
      'layer "fist": no such layer: expected a name, glob, operator type or index from 0 to 2. Nearest: "first"',
    ],
    [["--ratio", "0.5", "--criterion", "taylor"], 'criterion "taylor" needs calibration data'],
    [["--ratio", "0.5", "--criterion", "molchanov"], "--criterion"],
    [["--ratio", "0.5", "--structure", "weights", "--criterion", "fpgm"], 'criterion "fpgm" is for channels'],
    [["--ratio", "0.5", "--gradients", "everything"], "--gradients"],
    [["--ratio", "0.5", "--min-channels", "0"], "--min-channels"],
  ])("%j: %s", async (args, message) => {
    const { code, stderr, report } = await prune(plain, ...args);
    expect([code, report]).toEqual([2, undefined]);
    expect(stderr).toContain(message);
  });
});
