/** @file Pruning in steps with training in between, as a process: what goes when, masks that hold, and the same bytes again. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli, temporaryFolder } from "../../../test/cli.ts";
import { runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { encodeNpy } from "../../data/npy.ts";
import { fidelityOf } from "../../evaluate/fidelity.ts";
import { parse } from "../../ir/text/index.ts";
import { loadModel } from "../../node/load.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { partsOf, shareOfRest } from "./prune-schedule.ts";

const rng = new Rng(21, "schedule");
const normals = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() / Math.sqrt(dims[0] ?? 1)),
  );

const model = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,4] x) => (float[N,2] y)
  <float[4,24] w1 = ${normals(4, 24)}, float[24] b1 = ${normals(24)}, float[24,2] w2 = ${normals(24, 2)}, float[2] b2 = {0, 0}> {
  [first] a = Gemm(x, w1, b1)  h = Relu(a)  [last] y = Gemm(h, w2, b2) }`;

const inputs = Array.from({ length: 160 }, () => Array.from({ length: 4 }, () => rng.normal()));

function folder(): string {
  const cwd = temporaryFolder();
  writeFileSync(join(cwd, "m.onnx"), encode(model));
  const line = (x: readonly number[]) =>
    JSON.stringify({ inputs: { x }, label: Number((x[0] ?? 0) * (x[1] ?? 0) > 0) });
  writeFileSync(join(cwd, "labels.jsonl"), inputs.map(line).join("\n"));
  writeFileSync(join(cwd, "plain.npy"), encodeNpy(hostTensor("float32", [inputs.length, 4], inputs.flat())));
  return cwd;
}

const steady = ["--finetune-rate", "0.02", "--finetune-options", '{"threads":1}', "--no-simplify"];

async function prune(args: readonly string[], cwd = folder()) {
  const { code, stderr, stdout } = await runCli(["prune", "m.onnx", ...steady, ...args], { cwd });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const file = join(cwd, "m.pruned.onnx");
  return { report: JSON.parse(readFileSync(`${file}.json`, "utf8")).steps.at(-1).report, file, stdout };
}

const zerosOf = (file: string, name: string) =>
  Array.from(loadModel(file).graph.find(name)?.tensor?.toNumbers() ?? []).filter((x) => x === 0).length;

describe("a schedule", () => {
  it("grows as it says, and shares of the rest add up", () => {
    expect(partsOf("once", undefined)).toEqual([1]);
    expect(partsOf("iterative", 4)).toEqual([0.25, 0.5, 0.75, 1]);
    expect(partsOf("cubic", 2)).toEqual([0.875, 1]);
    expect(partsOf("cubic", undefined)).toHaveLength(5);
    expect(0.25 + 0.75 * shareOfRest(0.5, 0.25)).toBeCloseTo(0.5, 12);
    expect([shareOfRest(0.5, 0.6), shareOfRest(1, 1)]).toEqual([0, 0]);
  });

  it("of weights trains after every step, and holds what was pruned", async () => {
    const args = ["--structure", "weights", "--ratio", "0.75", "--schedule", "cubic", "--steps", "2"];
    const cwd = folder();
    const { report, file, stdout } = await prune(
      [...args, "--finetune", "labels.jsonl", "--finetune-epochs", "6"],
      cwd,
    );
    const zeros = zerosOf(file, "w1") + zerosOf(file, "w2");
    expect(zeros).toBe(108);
    expect(report.layers.map(({ zeros: count }: { zeros: number }) => count)).toEqual([
      zerosOf(file, "w1"),
      zerosOf(file, "w2"),
    ]);
    expect(report.schedule.map(({ ratio }: { ratio: number }) => ratio)).toEqual([0.65625, 0.75]);
    const { validation, history } = report.schedule[1].training;
    expect(history).toHaveLength(6);
    expect(validation.metric.name).toBe("top-1");
    expect(stdout).toContain("top-1 before");
    const bytes = readFileSync(file);
    await prune([...args, "--finetune", "labels.jsonl", "--finetune-epochs", "6"], cwd);
    expect(readFileSync(file).equals(bytes)).toBe(true);
  });

  it("of channels adds up to the ratio, and trains after the original where there are no labels", async () => {
    const args = ["--ratio", "0.5", "--schedule", "iterative", "--steps", "2"];
    const alone = await prune(["--ratio", "0.5", "--finetune", "plain.npy", "--finetune-epochs", "0.01"]);
    const { report, file } = await prune([...args, "--finetune", "plain.npy", "--finetune-epochs", "12", "--prove"]);
    expect(report.groups).toMatchObject([{ name: "first", channels: 24, removed: 12 }]);
    expect(loadModel(file).graph.find("w1")?.tensor?.dims).toEqual([4, 12]);
    expect(report.params).toEqual({ before: 170, after: 86 });
    expect(report.removed).toBeCloseTo(0.5, 12);
    expect(report.proof.maxRelativeError).toBeLessThan(1e-5);
    expect(report.schedule.map(({ training }: { training: { data: { name: string } } }) => training.data.name)).toEqual(
      ["plain.npy", "plain.npy"],
    );
    const feeds = {
      x: hostTensor(
        "float32",
        [40, 4],
        Array.from({ length: 160 }, () => rng.normal()),
      ),
    };
    const wanted = (await runModel(model, feeds)).y?.data as Float32Array;
    const sqnr = async (path: string) =>
      fidelityOf(wanted, (await runModel(loadModel(path), feeds)).y?.data as Float32Array).sqnr;
    expect(await sqnr(file)).toBeGreaterThan((await sqnr(alone.file)) + 3);
  });

  it("leaves a layer that is all zeros at zero, and scales ratios of layers of their own", async () => {
    const { report, file } = await prune([
      ...[
        "--structure",
        "weights",
        "--ratio",
        "0.5",
        "--layers",
        "first@1,last",
        "--schedule",
        "iterative",
        "--steps",
        "2",
      ],
      ...["--finetune", "plain.npy", "--finetune-epochs", "2"],
    ]);
    expect([zerosOf(file, "w1"), zerosOf(file, "w2")]).toEqual([96, 24]);
    expect(report.schedule).toHaveLength(2);
  });
});

describe("what does not fit", () => {
  it.each([
    [["--ratio", "0.5", "--steps", "3"], "--steps has no effect here: it goes with schedule iterative or cubic"],
    [["--structure", "2:4", "--schedule", "cubic"], 'schedule "cubic" raises a ratio'],
    [["--ratio", "0.5", "--finetune-epochs", "2"], "without samples: expected --finetune PATH"],
    [["--ratio", "0.5", "--schedule", "quartic"], "schedule"],
    [["--ratio", "0.5", "--finetune", "labels.jsonl", "--finetune-epochs", "0"], "--finetune-epochs: too small"],
  ])("%j is refused", async (args, message) => {
    const { code, stderr } = await runCli(["prune", "m.onnx", ...args], { cwd: folder() });
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });
});
