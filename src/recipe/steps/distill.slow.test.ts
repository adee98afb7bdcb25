/** @file Tests of distillation from files to files: quantized students, hints through projections, answers that are kept. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { encode } from "../../../test/wire.ts";
import { encodeNpz } from "../../data/npy.ts";
import { parse } from "../../ir/text/index.ts";
import { loadModel } from "../../node/load.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { runRecipe } from "../node/run-recipe.ts";
import type { RecipeStep } from "../recipe.ts";
import type { TrainReport } from "./train-report.ts";

const rng = new Rng(1, "distill");
const normals = (count: number, scale = 1) => Float32Array.from({ length: count }, () => rng.normal() * scale);

const teacher = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,8] x) => (float[N,3] y)
  <float[8,16] w1 = ${float32([8, 16], normals(128, 0.5))}, float[16] b1 = ${float32([16], normals(16, 0.1))},
   float[16,16] w2 = ${float32([16, 16], normals(256, 0.4))}, float[16] b2 = ${float32([16], normals(16, 0.1))},
   float[16,3] w3 = ${float32([16, 3], normals(48, 0.5))}, float[3] b3 = {0, 0, 0}> {
  h = Gemm(x, w1, b1)  r = Relu(h)  i = Gemm(r, w2, b2)  t = Relu(i)  y = Gemm(t, w3, b3) }`;

/** A folder with the teacher and inputs without labels. */
function folderWithTeacher(): string {
  const folder = mkdtempSync(join(tmpdir(), "tersor-distill-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "teacher.onnx"), encode(teacher));
  writeFileSync(join(folder, "data.npz"), encodeNpz({ x: hostTensor("float32", [256, 8], normals(2048)) }));
  return folder;
}

const dtypesOf = (path: string) =>
  loadModel(path).graph.initializers.map(({ name, tensor }) => `${name} ${tensor?.dtype}`);

async function run(folder: string, model: string, output: string, steps: readonly RecipeStep[]) {
  const { manifest } = await runRecipe({ model, output, data: "data.npz", steps }, { folder });
  return manifest.steps.at(-1)?.report as unknown as TrainReport;
}

const options = { epochs: 6, rate: 0.005, validation: 0, threads: 1 };

describe("a quantized student", () => {
  it("learns from the recipe's original, from the float weights that it was rounded from", async () => {
    const folder = folderWithTeacher();
    const toInt4 = { quantize: { mode: "static", dtype: "int4", granularity: "tensor" } } as const;
    await run(folder, "teacher.onnx", "int4.onnx", [toInt4]);
    const { quantized, trained, history } = await run(folder, "teacher.onnx", "trained.onnx", [
      toInt4,
      { distill: { ...options, teacher: "original" } },
    ]);
    expect(quantized).toEqual({ weights: 3, fromOriginal: 3, codes: { int8: 2, int4: 1 }, scales: "fixed" });
    expect([...trained].sort()).toEqual(["b1", "b2", "b3", "w1", "w2", "w3"]);
    expect(history.at(-1)?.loss).toBeLessThan(0.8 * (history[0]?.loss ?? 0));
    expect(dtypesOf(join(folder, "trained.onnx"))).toEqual(dtypesOf(join(folder, "int4.onnx")));
  });

  it("learns from another file, its scales as well, and can be trained again", async () => {
    const folder = folderWithTeacher();
    await run(folder, "teacher.onnx", "int4.onnx", [
      { quantize: { mode: "static", dtype: "int4", granularity: "tensor" } },
    ]);
    const learned = { ...options, teacher: "teacher.onnx", scales: "learned" } as const;
    const first = await run(folder, "int4.onnx", "once.onnx", [{ distill: learned }]);
    expect(first.quantized).toMatchObject({ fromOriginal: 3, scales: "learned" });
    expect(first.trained.length).toBeGreaterThan(6);
    const again = await run(folder, "once.onnx", "twice.onnx", [
      { finetune: { ...options, teacher: "teacher.onnx", loss: { name: "kl", target: "teacher:y" } } },
    ]);
    expect(again.history.at(-1)?.loss).toBeLessThan(first.history[0]?.loss ?? 0);
  });
});

const student = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,8] x) => (float[N,3] z)
  <float[8,6] v1 = ${float32([8, 6], normals(48, 0.5))}, float[6] a1 = {0, 0, 0, 0, 0, 0},
   float[6,3] v2 = ${float32([6, 3], normals(18, 0.5))}, float[3] a2 = {0, 0, 0}> {
  j = Gemm(x, v1, a1)  s = Relu(j)  z = Gemm(s, v2, a2) }`;

describe("hints", () => {
  const distilled = async (more: object, name = "out.onnx", folder = folderWithTeacher()) => {
    writeFileSync(join(folder, "student.onnx"), encode(student));
    const distill = { ...options, teacher: "teacher.onnx", ...more };
    const report = await run(folder, "student.onnx", name, [{ distill }]);
    return { folder, report, path: join(folder, name) };
  };

  it("pass a projection that is learned along and not in the model, the same on every run", async () => {
    const hints = [{ student: "s", teacher: "t" }];
    const { folder, report, path } = await distilled({ hints });
    expect(report.history.at(-1)?.loss).toBeLessThan(0.7 * (report.history[0]?.loss ?? 0));
    expect(report.trained).toEqual(["v1", "a1", "v2", "a2"]);
    expect(loadModel(path).graph.initializers.map(({ name }) => name)).toEqual(["v1", "a1", "v2", "a2"]);
    const again = await distilled({ hints, average: 0.5 }, "again.onnx", folder);
    expect(again.report.trained).toEqual(report.trained);
    await distilled({ hints }, "same.onnx", folder);
    expect(readFileSync(join(folder, "same.onnx"))).toEqual(readFileSync(path));
  });

  it("of several kinds train together", async () => {
    const hints = [
      { student: "s", teacher: "t", loss: "relation-distance" },
      { student: "s", teacher: "r", loss: "relation-angle", weight: 2 },
      { student: "j", teacher: "i" },
    ] as const;
    const { report } = await distilled({ hints });
    expect(report.history.at(-1)?.loss).toBeLessThan(0.8 * (report.history[0]?.loss ?? 0));
  });

  it("come first, alone, where hintEpochs says so", async () => {
    const folder = folderWithTeacher();
    const log = join(folder, "log.jsonl");
    await distilled({ hints: [{ student: "s", teacher: "t" }], hintEpochs: 2, epochs: 3, log }, "out.onnx", folder);
    const lines = readFileSync(log, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const steps = lines.filter(({ parts }) => parts);
    expect(steps).toHaveLength(24);
    for (const { step, loss, parts } of steps) expect(loss).toBeCloseTo(parts[step <= 16 ? 1 : 0], 6);
  });

  it.each([
    [
      { teacherOutput: "t" },
      'loss kl of "z" float32 [32, 3]: its target does not suit it: expected the same type and shape, got "t" float32 [32, 16].',
    ],
    [{ teacherOutput: "q" }, 'teacher: has no value "q".'],
    [
      { hints: [{ student: "s", teacher: "t", project: "never" }] },
      'loss mse of "s" float32 [32, 6]: its target does not suit it',
    ],
    [{ hintEpochs: 1 }, "hintEpochs without hints"],
    [{ hints: [{ student: "s", teacher: "t" }], hintEpochs: 6 }, "hintEpochs 6: expected fewer than all 6 epochs"],
  ] as const)("refuses %j", async (more, message) => {
    await expect(distilled(more)).rejects.toThrow(message);
  });
});

describe("a cache of the teacher's answers", () => {
  const folderWithStudent = () => {
    const folder = folderWithTeacher();
    writeFileSync(join(folder, "student.onnx"), encode(student));
    return folder;
  };
  const distill = (folder: string, output: string, more: object = {}) =>
    run(folder, "student.onnx", output, [
      { distill: { ...options, epochs: 2, teacher: "teacher.onnx", cache: "answers.npz", ...more } },
    ]);
  const bytesOf = (folder: string, name: string) => readFileSync(join(folder, name));

  it("is asked nothing twice, and gives the same bytes", async () => {
    const folder = folderWithStudent();
    const hints = [{ student: "s", teacher: "t" }];
    const first = await distill(folder, "a.onnx", { hints });
    expect(first.notes).toEqual(["the teacher answered for 256 samples; 0 answers were there before"]);
    const again = await distill(folder, "b.onnx", { hints });
    expect(again.notes).toEqual(["the teacher answered for 0 samples; 256 answers were there before"]);
    expect(bytesOf(folder, "b.onnx")).toEqual(bytesOf(folder, "a.onnx"));
    const beside = await distill(folder, "c.onnx", { hints, cache: undefined });
    expect(beside.history.at(-1)?.loss).toBeCloseTo(first.history.at(-1)?.loss ?? 0, 5);
  });

  it("finds nothing for data that was changed or prepared in another way, and keeps what it has", async () => {
    const folder = folderWithStudent();
    await distill(folder, "a.onnx");
    const data = { path: "data.npz", take: 64, scale: 0.5 };
    const scaled = await distill(folder, "b.onnx", { data });
    expect(scaled.notes).toEqual(["the teacher answered for 64 samples; 256 answers were there before"]);
    const back = await distill(folder, "c.onnx");
    expect(back.notes).toEqual(["the teacher answered for 0 samples; 320 answers were there before"]);
    expect(bytesOf(folder, "c.onnx")).toEqual(bytesOf(folder, "a.onnx"));
  });

  it("is made anew for another teacher, or other values of it", async () => {
    const folder = folderWithStudent();
    await distill(folder, "a.onnx");
    const anew = 'cache "answers.npz" was of another teacher, or of other values of it: it was made anew';
    const other = await distill(folder, "b.onnx", { hints: [{ student: "s", teacher: "t" }] });
    expect(other.notes).toEqual([anew, "the teacher answered for 256 samples; 0 answers were there before"]);
    const self = await distill(folder, "c.onnx", { teacher: "student.onnx" });
    expect(self.notes).toContain(anew);
  });

  it("takes augmentation of so many variants only, and no file of somebody else's", async () => {
    const folder = folderWithStudent();
    const noise = { noise: 0.1 };
    await expect(distill(folder, "a.onnx", { augment: noise })).rejects.toThrow(
      "cache: augmentation makes new samples in every epoch",
    );
    const varied = await distill(folder, "a.onnx", { augment: { ...noise, variants: 2 }, epochs: 4 });
    expect(varied.notes).toEqual(["the teacher answered for 512 samples; 0 answers were there before"]);
    copyFileSync(join(folder, "data.npz"), join(folder, "other.npz"));
    const before = bytesOf(folder, "other.npz");
    await expect(distill(folder, "b.onnx", { cache: "other.npz" })).rejects.toThrow(
      'cache "other.npz": expected answers of a teacher that tersor wrote (format 2), whole, got another file',
    );
    expect(bytesOf(folder, "other.npz")).toEqual(before);
  });
});

describe("a teacher that ends in Softmax", () => {
  it("teaches what it would without, to a student that does too", async () => {
    const folder = folderWithTeacher();
    const logits = teacher.clone();
    const y = logits.graph.outputs[0];
    const probabilities = logits.graph.addNode({ opType: "Softmax", inputs: [y], outputs: ["p"] }).output();
    logits.graph.removeOutput(y as NonNullable<typeof y>);
    logits.graph.addOutput(probabilities);
    writeFileSync(join(folder, "softmax.onnx"), encode(logits));
    const learn = (model: string) =>
      run(folder, model, "student.onnx", [
        { prune: { structure: "weights", ratio: 0.5 } },
        { distill: { ...options, epochs: 1, teacher: "original" } },
      ]);
    const [plain, behind] = [await learn("teacher.onnx"), await learn("softmax.onnx")];
    expect(plain.history[0]?.loss).toBeGreaterThan(0.01);
    expect(behind.history[0]?.loss).toBeCloseTo(plain.history[0]?.loss ?? 0, 6);
  });
});
