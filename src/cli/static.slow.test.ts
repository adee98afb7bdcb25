/** @file Static and dynamic quantization from the command line, as processes of the built program. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { filesIn, runCli, temporaryFolder } from "../../test/cli.ts";
import { encode } from "../../test/wire.ts";
import { encodeNpy } from "../data/npy.ts";
import { parse } from "../ir/text/index.ts";
import { loadModel } from "../node/load.ts";
import { float32 } from "../tensor/tensor.ts";
import { Rng } from "../util/rng.ts";

const rng = new Rng(3, "static");
const normal = (...dims: number[]) =>
  Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal());

/** A convolution with ReLU and a classifier behind it, and two sets of pictures. */
function setUp() {
  const folder = temporaryFolder();
  const path = (name: string) => join(folder, name);
  const model = parse`<ir_version: 8, opset_import: ["": 17]>
    g (float[N,8,6,6] x) => (float[N,4] y)
    <float[16,8,3,3] w = ${float32([16, 8, 3, 3], normal(16, 8, 3, 3))}, float[16,4] head = ${float32([16, 4], normal(16, 4))}, float[4] b = {0, 0, 0, 0}> {
      [conv] a = Conv <pads = [1,1,1,1]> (x, w)
      r = Relu(a)
      p = GlobalAveragePool(r)
      f = Flatten(p)
      [head] y = Gemm(f, head, b)
    }`;
  writeFileSync(path("m.onnx"), encode(model));
  for (const name of ["seen", "unseen"])
    writeFileSync(path(`${name}.npy`), encodeNpy({ dtype: "float32", dims: [20, 8, 6, 6], data: normal(20, 8, 6, 6) }));
  return { folder, path };
}

describe("quantize --calibrate, --dynamic, --float16", () => {
  it("puts Q/DQ around the layers, and stays close on data it has not seen", async () => {
    const { path } = setUp();
    const { code, stdout, stderr } = await runCli([
      ...["quantize", path("m.onnx"), "-o", path("q.onnx"), "--calibrate", path("seen.npy"), "--target", "node-x64"],
      ...["--data", path("unseen.npy"), "--runs", "0", "--json"],
    ]);
    expect([code, stderr]).toEqual([0, ""]);
    const { steps } = JSON.parse(stdout) as { steps: { step: string; report: Record<string, unknown> }[] };
    expect(steps.map(({ step }) => step)).toEqual(["simplify", "quantize", "compare"]);
    expect(steps[1]?.report.calibration).toEqual({ data: "seen.npy", samples: 20 });
    const [fidelity] = Object.values(steps[2]?.report.fidelity as Record<string, { sqnr: number }>);
    expect(fidelity?.sqnr).toBeGreaterThan(25);
    const ops = loadModel(path("q.onnx")).graph.nodes.map((node) => node.opType);
    expect(ops.filter((op) => op === "QuantizeLinear").length).toBeGreaterThan(1);
  });

  it("quantizes dynamically, without data", async () => {
    const { path } = setUp();
    const { code, stdout, stderr } = await runCli([
      ...["quantize", path("m.onnx"), "-o", path("q.onnx"), "--dynamic", "--min-elements", "1", "--target", "node-x64"],
      ...["--data", path("unseen.npy"), "--runs", "0", "--json"],
    ]);
    expect([code, stderr]).toEqual([0, ""]);
    const { steps } = JSON.parse(stdout) as { steps: { step: string; report: Record<string, unknown> }[] };
    expect(steps.map(({ step }) => step)).toEqual(["simplify", "quantize", "compare"]);
    const [fidelity] = Object.values(steps[2]?.report.fidelity as Record<string, { sqnr: number }>);
    expect(fidelity?.sqnr).toBeGreaterThan(25);
    const ops = new Set(loadModel(path("q.onnx")).graph.nodes.map((node) => node.opType));
    expect([ops.has("ConvInteger"), ops.has("MatMulInteger")]).toEqual([true, true]);
  });

  it("looks at samples for dynamic quantization, and says what it did", async () => {
    const { path } = setUp();
    const { code, stdout, stderr } = await runCli([
      ...["quantize", path("m.onnx"), "-o", path("q.onnx"), "--dynamic", "--min-elements", "1"],
      ...["--calibrate", path("seen.npy"), "--min-activation-sqnr", "70", "--json"],
    ]);
    expect([code, stderr]).toEqual([0, ""]);
    const { steps } = JSON.parse(stdout) as { steps: { report: Record<string, unknown> }[] };
    expect(steps[1]?.report.notes).toContain("smoothquant: inputs of layers scaled: 0");
    expect(steps[1]?.report.layers).toContainEqual(
      expect.objectContaining({
        name: "head",
        format: "DequantizeLinear",
        reason: expect.stringMatching(/^weights only/),
      }),
    );
  });

  it.each([
    [
      "weights alone",
      ["--method", "adaround", "--dtype", "int4", "--min-elements", "1"],
      "weights",
      "adaround: rounding of 2 layers",
    ],
    [
      "weights of integer layers",
      ["--method", "brecq", "--activations", "uint8", "--layers", "conv@int4"],
      "static",
      "brecq: rounding of 1 block",
    ],
  ])("learns the rounding of %s", async (_, flags, mode, note) => {
    const { path } = setUp();
    const { code, stdout, stderr } = await runCli([
      ...["quantize", path("m.onnx"), "-o", path("q.onnx"), "--calibrate", path("seen.npy")],
      ...[...flags, "--iterations", "20", "--data", path("unseen.npy"), "--runs", "0", "--json"],
    ]);
    expect([code, stderr]).toEqual([0, ""]);
    const { steps } = JSON.parse(stdout) as {
      steps: { options: Record<string, unknown>; report: Record<string, unknown> }[];
    };
    expect(steps[1]?.options.mode).toBe(mode);
    expect(steps[1]?.report.notes).toContainEqual(expect.stringContaining(note));
    const [fidelity] = Object.values(steps[2]?.report.fidelity as Record<string, { sqnr: number }>);
    expect(fidelity?.sqnr).toBeGreaterThan(15);
  });

  it("turns the whole model into float16", async () => {
    const { path } = setUp();
    const { code, stderr } = await runCli(["quantize", path("m.onnx"), "-o", path("h.onnx"), "--float16"]);
    expect([code, stderr]).toEqual([0, ""]);
    const { graph } = loadModel(path("h.onnx"));
    expect(graph.initializers.filter(({ tensor }) => tensor?.dtype === "float32")).toEqual([]);
    expect(graph.nodes.filter(({ opType }) => opType === "Cast")).toHaveLength(2);
  });

  it("keeps what data shows to overflow in float32, and names it", async () => {
    const { path } = setUp();
    const model = parse`<ir_version: 8, opset_import: ["": 17]>
      g (float[N,8,6,6] x) => (float[N,8,6,6] y) <float[8,8,1,1] w = ${float32([8, 8, 1, 1], normal(8, 8, 1, 1))}> {
        [huge] a = Exp(x)
        [blown] b = Mul(a, a)
        [again] c = Mul(b, b)
        [back] d = Log(c)
        [conv] y = Conv(d, w)
      }`;
    writeFileSync(path("m.onnx"), encode(model));
    const flags = ["--float16", "--calibrate", path("seen.npy"), "--data", path("unseen.npy"), "--runs", "0"];
    const { code, stdout, stderr } = await runCli(["quantize", path("m.onnx"), "-o", path("h.onnx"), ...flags]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/1 × Mul: "c" reaches [\d.e+]+, beyond 65504 \(again\)/);
    const { steps } = JSON.parse(readFileSync(path("h.onnx.json"), "utf8"));
    expect(steps[1].report.calibration).toEqual({ data: "seen.npy", samples: 20 });
    expect(steps[1].report.skipped.map(({ name }: { name: string }) => name)).toEqual(["again", "back"]);
    expect(steps[2].report.fidelity.y.sqnr).toBeGreaterThan(40);
  });

  it.each([
    [
      "activations in dynamic quantization",
      ["--dynamic", "--activations", "int8"],
      "--activations: does not go with dyn",
    ],
    ["learned rounding without data", ["--method", "adaround"], "learns on samples: expected calibration data"],
    [
      "learned rounding and a bound",
      ["--method", "brecq", "--calibrate", "seen.npy", "--min-sqnr", "20"],
      "method brecq: does not go with an accuracy bound",
    ],
    [
      "an option of weights alone",
      ["--calibrate", "seen.npy", "--bits", "4"],
      "--bits: does not go with static quantization",
    ],
    ["two ways at once", ["--float16", "--depthwise"], "--depthwise: does not go with a float16 model"],
    ["a target without data", ["--target", "web-wasm"], "--target: does not go with quantizing weights alone"],
    ["an unknown target", ["--calibrate", "seen.npy", "--target", "node-x65"], "Nearest: node-x64"],
    ["missing data", ["--calibrate", "nowhere.npy"], "nowhere.npy"],
  ])("refuses %s, and writes nothing", async (_, flags, message) => {
    const { folder, path } = setUp();
    const result = await runCli(["quantize", "m.onnx", "-o", path("q.onnx"), ...flags], { cwd: folder });
    expect(result.code).toBeGreaterThan(1);
    expect(result.stderr).toContain(message);
    expect(result.stderr.trim().split("\n")).toHaveLength(1);
    expect(filesIn(folder)).toEqual(["m.onnx", "seen.npy", "unseen.npy"]);
  });
});
