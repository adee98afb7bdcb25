/** @file `tersor finetune` and `tersor distill` as processes: results, bad input, Ctrl-C, and going on to the same bytes. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { filesIn, runCli, temporaryFolder } from "../../test/cli.ts";
import { encode } from "../../test/wire.ts";
import { encodeNpy } from "../data/npy.ts";
import { parse } from "../ir/text/index.ts";
import { loadModel } from "../node/load.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import { float32 } from "../tensor/tensor.ts";
import { Rng } from "../util/rng.ts";

const rng = new Rng(11, "train");
const normals = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() / Math.sqrt(dims[0] ?? 1)),
  );

const teacher = parse`<ir_version: 10, opset_import: ["": 21]> large (float[N,4] x) => (float[N,2] y)
  <float[4,24] w1 = ${normals(4, 24)}, float[24] b1 = ${normals(24)}, float[24,2] w2 = ${normals(24, 2)}, float[2] b2 = {0, 0}> {
  a = Gemm(x, w1, b1)  h = Relu(a)  y = Gemm(h, w2, b2) }`;
const student = parse`<ir_version: 10, opset_import: ["": 21]> small (float[N,4] x) => (float[N,2] z, float[N,2] other)
  <float[4,6] v1 = ${normals(4, 6)}, float[6] c1 = ${normals(6)}, float[6,2] v2 = ${normals(6, 2)}, float[2] c2 = {0, 0}, float[6,2] v3 = ${normals(6, 2)}> {
  i = Gemm(x, v1, c1)  s = Relu(i)  z = Gemm(s, v2, c2)  other = MatMul(s, v3) }`;

const count = 192;
const inputs = Array.from({ length: count }, () => Array.from({ length: 4 }, () => rng.normal()));
const labelOf = ([a = 0, b = 0]: readonly number[]) => Number(a * b > 0);
const lines = (label: (x: readonly number[], i: number) => unknown) =>
  inputs.map((x, i) => JSON.stringify({ inputs: { x }, label: label(x, i) })).join("\n");

/** A folder with both models and the samples with and without labels. */
function folderWithAll(): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "teacher.onnx"), encode(teacher));
  writeFileSync(join(folder, "student.onnx"), encode(student));
  writeFileSync(join(folder, "labels.jsonl"), lines(labelOf));
  writeFileSync(join(folder, "plain.npy"), encodeNpy(hostTensor("float32", [count, 4], inputs.flat())));
  return folder;
}

const commands: Readonly<Record<"finetune" | "distill", readonly string[]>> = {
  finetune: ["finetune", "student.onnx", "--data", "labels.jsonl"],
  distill: [
    ...["distill", "student.onnx", "--teacher", "teacher.onnx", "--data", "plain.npy"],
    ...["--hints", "s=h,s=a:relation-distance*0.5", "--cache", "answers.npz"],
  ],
};
const steady = ["--threads", "1", "--rate", "0.02", "--seed", "5"];

describe("the results of", () => {
  it("finetune are a better model with the same names, and a table of epochs", async () => {
    const cwd = folderWithAll();
    const { code, stdout, stderr } = await runCli([...commands.finetune, ...steady, "--epochs", "15"], { cwd });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("Trained 4 weight tensors on 173 samples of labels.jsonl");
    expect(stdout).toMatch(/top-1: \d+\.\d+ % → \d+\.\d+ %/);
    expect(stdout).toContain("no gradient reaches v3: they stayed as they were");
    const report = JSON.parse(readFileSync(join(cwd, "student.finetuned.onnx.json"), "utf8")).steps.at(-1).report;
    expect(report.validation.after).toBeGreaterThan(report.validation.before + 20);
    expect(report.withoutGradient).toEqual(["v3"]);
    const { graph } = loadModel(join(cwd, "student.finetuned.onnx"));
    expect(graph.initializers.map(({ name }) => name)).toEqual(["v1", "c1", "v2", "c2", "v3"]);
  });

  it("distill need no labels, and say what the teacher was asked", async () => {
    const cwd = folderWithAll();
    const args = [...commands.distill, ...steady, "--epochs", "8", "-o", "out.onnx", "--json"];
    const { code, stdout, stderr } = await runCli(args, { cwd });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { history, notes } = JSON.parse(stdout).steps.at(-1).report;
    expect(history.at(-1).loss).toBeLessThan(0.6 * history[0].loss);
    expect(notes).toContain("the teacher answered for 192 samples; 0 answers were there before");
    expect(filesIn(cwd)).toEqual(
      ["answers.npz", "labels.jsonl", "out.onnx", "out.onnx.json", "plain.npy", "student.onnx", "teacher.onnx"].sort(),
    );
  });
});

it("distill --shrink makes the student of the model itself, which is the teacher", async () => {
  const cwd = folderWithAll();
  const args = ["distill", "teacher.onnx", "--shrink", "0.5", "--data", "plain.npy", ...steady, "--epochs", "8"];
  const { code, stdout, stderr } = await runCli([...args, "-o", "small.onnx"], { cwd });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain("student: 86 of 170 parameters, inherited weights");
  expect(loadModel(join(cwd, "small.onnx")).graph.find("w1")?.tensor?.dims).toEqual([4, 12]);
});

describe.each(["finetune", "distill"] as const)("%s", (kind) => {
  it("stopped by Ctrl-C writes its checkpoint and nothing else, and goes on from it to the same bytes", async () => {
    const cwd = folderWithAll();
    const train = [...commands[kind], ...steady, "--epochs", "30"];
    await runCli([...train, "-o", "whole.onnx"], { cwd });
    const kept = [...train, "--checkpoint", "c.npz", "--log", "log.jsonl"];
    const stopped = await runCli([...kept, "-o", "broken.onnx"], {
      cwd,
      onStart: (kill) => void whenTraining(join(cwd, "log.jsonl")).then(() => kill("SIGINT")),
    });
    expect(stopped.code).toBe(130);
    expect(filesIn(cwd).filter((name) => /broken|tmp|tersor/.test(name))).toEqual([]);
    expect(existsSync(join(cwd, "c.npz"))).toBe(true);
    const resumed = await runCli([...kept, "--resume", "-o", "resumed.onnx"], { cwd });
    expect(resumed.code).toBe(0);
    const [whole, rest] = ["whole.onnx", "resumed.onnx"].map((name) => readFileSync(join(cwd, name)));
    expect(rest).toEqual(whole);
    const other = await runCli([...kept, "--resume", "--batch-size", "16"], { cwd });
    expect(other.code).toBe(3);
    expect(other.stderr).toContain('checkpoint "c.npz": belongs to another training');
  });
});

/** Resolves when some steps are done. */
async function whenTraining(log: string): Promise<void> {
  const steps = () => (existsSync(log) ? readFileSync(log, "utf8").split("\n").length : 0);
  while (steps() < 30) await setTimeout(5);
}

describe("what is wrong is said in one line, and nothing is written:", () => {
  const bad: readonly (readonly [string, Readonly<Record<string, string | Uint8Array>>, readonly string[], number, string])[] = [
    ["a label out of range", { "d.jsonl": lines((_, i) => (i === 7 ? 2 : 0)) }, ["finetune", "student.onnx", "--data", "d.jsonl"], 3, "label out of range: expected 0 to 1, or negative for what does not count, got 2. The model has 2 classes."],
    ["no labels", {}, ["finetune", "student.onnx", "--data", "plain.npy"], 3, "has no label: expected a class index. Give data with labels, or train on"],
    ["no data", {}, ["distill", "student.onnx", "--teacher", "teacher.onnx"], 2, "distill: no data: expected --data PATH."],
    ["no teacher", {}, ["distill", "student.onnx", "--data", "plain.npy"], 2, "--teacher"],
    ["a teacher of other classes", {}, [...commands.distill.slice(0, 6), "--teacher-output", "h"], 3, 'loss kl of "z" float32 [32, 2]: its target does not suit it: expected the same type and shape, got "h" float32 [32, 24].'],
    ["a value that is not there", {}, [...commands.distill.slice(0, 6), "--hints", "q=h"], 3, 'loss mse: output "q": the model has no such value'],
    ["a checkpoint that is none", { "c.npz": "?" }, [...commands.finetune, "--checkpoint", "c.npz", "--resume"], 3, "c.npz"],
    ["a checkpoint's folder that is not there", {}, [...commands.finetune, "--checkpoint", "nowhere/c.npz"], 3, 'nowhere/c.npz": can\'t be written: no such file or folder.'],
  ]; // biome-ignore format: a line a case
  it.each(bad)("%s", async (_, files, args, code, says) => {
    const cwd = folderWithAll();
    for (const [name, data] of Object.entries(files)) writeFileSync(join(cwd, name), data);
    const before = filesIn(cwd);
    const result = await runCli([...args, "--threads", "1", "-o", "out.onnx"], { cwd });
    expect(result.stderr).toContain(says);
    expect(result.stderr.trim().split("\n")).toHaveLength(1);
    expect(result.code).toBe(code);
    expect(filesIn(cwd).filter((name) => !before.includes(name) && name !== "answers.npz")).toEqual([]);
  });
});

it("a loss that is no number ends the training: the last good weights are written, with the step and the likely cause", async () => {
  const cwd = folderWithAll();
  const args = [
    ...commands.finetune,
    "--optimizer",
    "sgd",
    "--rate",
    "1".padEnd(39, "0"),
    "--schedule",
    "constant",
    "--validation",
    "0",
  ];
  const { code, stdout } = await runCli([...args, "-o", "out.onnx"], { cwd });
  expect(code).toBe(1);
  expect(stdout).toMatch(/step \d+: the loss became (NaN|Infinity|-Infinity)/);
  expect(stdout).toContain("The likely cause is a learning rate that is too high");
  const { graph } = loadModel(join(cwd, "out.onnx"));
  for (const { tensor } of graph.initializers)
    expect([...(tensor?.toNumbers() ?? [])].every(Number.isFinite)).toBe(true);
});
