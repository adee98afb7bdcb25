/** @file The look at outputs that every quantization ends with: kept, repaired, useless, broken, not judged. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../../../test/cli.ts";
import { encode } from "../../../test/wire.ts";
import { parse } from "../../ir/text/index.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { runRecipe } from "../node/run-recipe.ts";
import type { Recipe, RecipeStep } from "../recipe.ts";
import { boundsMet } from "../run-steps.ts";
import type { JudgedReport } from "./judge.ts";

const normal = (count: number, scale = 1, rng = new Rng(5, `${count}`)) =>
  Float32Array.from({ length: count }, () => scale * rng.normal());

const [taps, bins, bands, classes, frames, samples] = [128, 32, 16, 8, 20, 48];
const length = taps + (frames - 1) * 32;

/** The two halves of a discrete Fourier transform as taps of a Conv [2·bins, 1, taps]. */
function transform(): Float32Array {
  const w = new Float32Array(2 * bins * taps);
  for (let k = 0; k < bins; k++)
    for (let t = 0; t < taps; t++) {
      const window = Math.sin((Math.PI * (t + 0.5)) / taps) ** 2;
      w[k * taps + t] = window * Math.cos((2 * Math.PI * k * t) / taps);
      w[(bins + k) * taps + t] = window * Math.sin((2 * Math.PI * k * t) / taps);
    }
  return w;
}

/** Triangles over the spectrum [bins, bands]. */
function triangles(): Float32Array {
  const w = new Float32Array(bins * bands);
  for (let band = 0; band < bands; band++)
    for (let bin = 0; bin < bins; bin++) w[bin * bands + band] = Math.max(0, 1 - Math.abs(bin - (2 * band + 1)) / 2);
  return w;
}

/** Waves → spectrum → bands → logarithm → scores: what the small values say counts as much as what the large ones do. */
const mel = encode(parse`<ir_version: 8, opset_import: ["": 17]>
  mel (float[N,1,${length}] x) => (float[N,${classes}] y) <
    float[${2 * bins},1,${taps}] dft = ${float32([2 * bins, 1, taps], transform())},
    float[${bins},${bands}] triangles = ${float32([bins, bands], triangles())},
    float[${bands},64] w1 = ${float32([bands, 64], normal(bands * 64, 0.25))},
    float[64,${classes}] w2 = ${float32([64, classes], normal(64 * classes, 0.12))},
    float floor = {1e-6}, int64[1] axis = {1}
  > {
    [dft] spectrum = Conv<strides = [32]>(x, dft)
    power = Mul(spectrum, spectrum)
    real, imaginary = Split<axis = 1>(power)
    energy = Add(real, imaginary)
    turned = Transpose<perm = [0, 2, 1]>(energy)
    [bands] banded = MatMul(turned, triangles)
    above = Add(banded, floor)
    logs = Log(above)
    [hidden] h = MatMul(logs, w1)
    r = Relu(h)
    [head] scores = MatMul(r, w2)
    y = ReduceMean<axes = [1], keepdims = 0>(scores)
  }`);

/** A loud tone over quiet ones. */
function waves(): Float32Array {
  const rng = new Rng(6, "waves");
  const x = new Float32Array(samples * length);
  for (let n = 0; n < samples; n++) {
    const tones = [3, 11, 19, 27].map((k, at) => ({ k: k + (n % 4), gain: 10 ** (-at - rng.uniform()) }));
    for (let t = 0; t < length; t++)
      x[n * length + t] = tones.reduce((sum, { k, gain }) => sum + gain * Math.sin((2 * Math.PI * k * t) / taps), 0);
  }
  return x;
}

const plain = encode(parse`<ir_version: 8, opset_import: ["": 17]>
  g (float[N,16] x) => (float[N,8] y) <
    float[16,32] w1 = ${float32([16, 32], normal(16 * 32))}, float[32,8] w2 = ${float32([32, 8], normal(32 * 8))}
  > {
    [first] a = MatMul(x, w1)
    b = Relu(a)
    [second] y = MatMul(b, w2)
  }`);

async function judge(model: Uint8Array, step: RecipeStep, rest: Partial<Recipe> = {}) {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "m.onnx"), model);
  writeFileSync(join(folder, "waves.bin"), waves());
  writeFileSync(join(folder, "x.bin"), normal(samples * 16));
  const recipe: Recipe = { model: "m.onnx", output: "out.onnx", steps: [{ simplify: {} }, step], ...rest };
  const { manifest } = await runRecipe(recipe, { folder });
  return {
    report: manifest.steps[1]?.report.judged as JudgedReport,
    skipped: manifest.steps[1]?.report,
    ok: boundsMet(manifest.steps),
    bytes: readFileSync(join(folder, "out.onnx")),
    before: model.byteLength,
  };
}

const numbers = { path: "x.bin", dtype: "float32", dims: [16] };
const recordings = { path: "waves.bin", dtype: "float32", dims: [1, length] };

describe("on real samples", () => {
  it("repairs a front end that static quantization makes useless, and is still smaller", async () => {
    const asked = await judge(
      mel,
      { quantize: { mode: "static", calibrate: recordings, layers: "*" } },
      { asAsked: true },
    );
    expect(asked.report).toMatchObject({ verdict: "low", output: "y" });
    expect(asked.report.sqnr).toBeLessThan(20);
    const { report, ok, bytes, before } = await judge(mel, {
      quantize: { mode: "static", calibrate: recordings, layers: "*" },
    });
    expect(report).toMatchObject({ verdict: "repaired", sqnrAsAsked: asked.report.sqnr, data: { samples: 16 } });
    expect(report.sqnr).toBeGreaterThanOrEqual(20);
    expect(report.changes?.length).toBeGreaterThan(0);
    expect(ok).toBe(true);
    expect(bytes.byteLength).toBeLessThan(before);
  });

  it("looks at a few samples for what float16 can't hold, which a processor that computes in float32 hides", async () => {
    const loud = encode(parse`<ir_version: 8, opset_import: ["": 17]>
      g (float[N,16] x) => (float[N,8] y) <
        float[16,32] w1 = ${float32([16, 32], normal(16 * 32, 6e4))}, float[32,8] w2 = ${float32([32, 8], normal(32 * 8))},
        float small = {1e-5}
      > {
        [first] a = MatMul(x, w1)
        b = Relu(a)
        c = Mul(b, small)
        [second] y = MatMul(c, w2)
      }`);
    const { report, ok, skipped } = await judge(loud, { quantize: { mode: "float16" } }, { data: numbers });
    expect(JSON.stringify(skipped)).toContain("beyond 65504");
    expect(report).toMatchObject({ verdict: "kept", output: "y" });
    expect(ok).toBe(true);
  });

  it("says useless, with exit code 1, where nothing helps", async () => {
    const { report, ok } = await judge(
      plain,
      { quantize: { dtype: "int2", seeds: 2, rounding: "stochastic" } },
      { data: numbers },
    );
    expect(report).toMatchObject({ verdict: "useless", output: "y", data: { name: "x.bin", samples: 16 } });
    expect(report.sqnr).toBeLessThan(20);
    expect(ok).toBe(false);
  });

  it("steps up the layers of weight quantization, by the same bytes every time", async () => {
    const [first, second] = await Promise.all(
      [0, 1].map(() => judge(plain, { quantize: { dtype: "int2" } }, { data: numbers })),
    );
    expect(first?.report).toMatchObject({ verdict: "repaired" });
    expect(first?.bytes).toEqual(second?.bytes);
    expect(first?.ok).toBe(true);
  });

  it("keeps what is good as it was asked for", async () => {
    const { report, bytes } = await judge(plain, { quantize: { mode: "dynamic" } }, { data: numbers });
    expect(report).toMatchObject({ verdict: "kept", data: { madeUp: false } });
    expect(bytes).toEqual((await judge(plain, { quantize: { mode: "dynamic" } }, { asAsked: true })).bytes);
  });
});

describe("without samples", () => {
  it("warns, and repairs nothing", async () => {
    const { report, ok } = await judge(plain, { quantize: { dtype: "int2" } });
    expect(report).toMatchObject({ verdict: "low", data: { madeUp: true, samples: 4 } });
    expect(report.changes).toBeUndefined();
    expect(ok).toBe(true);
  });

  it("is not misled where the runtime refuses exact sums", async () => {
    const shared = encode(parse`<ir_version: 8, opset_import: ["": 17]>
      g (float[N,16,8,8] x) => (float[N,16,8,8] y) <float[16,16,3,3] w = ${float32([16, 16, 3, 3], normal(2304, 0.1))}> {
        a = Conv<pads = [1, 1, 1, 1]>(x, w)
        y = Conv<pads = [1, 1, 1, 1]>(a, w)
      }`);
    expect((await judge(shared, { quantize: {} })).report).toMatchObject({ verdict: "kept" });
  });

  it("says why nothing is judged", async () => {
    const indices = encode(parse`<ir_version: 8, opset_import: ["": 17]>
      g (float[N,16] x) => (int64[N,1] y) <float[16,32] w = ${float32([16, 32], normal(16 * 32))}> {
        a = MatMul(x, w)
        y = ArgMax<axis = 1>(a)
      }`);
    const { report, ok } = await judge(indices, { quantize: {} });
    expect(report).toMatchObject({ verdict: "not judged", reason: expect.stringContaining("no output is a float") });
    expect(ok).toBe(true);
  });
});

it("leaves to training what training follows", async () => {
  const train = { finetune: { data: numbers, epochs: 1, validation: 0, loss: { name: "mse", target: "input:x" } } };
  const square = encode(parse`<ir_version: 8, opset_import: ["": 17]>
    g (float[N,16] x) => (float[N,16] y) <float[16,16] w = ${float32([16, 16], normal(256))}> { y = MatMul(x, w) }`);
  const { report } = await judge(
    square,
    { quantize: { dtype: "int2", granularity: "channel" } },
    {
      data: numbers,
      steps: [{ simplify: {} }, { quantize: { dtype: "int4" } }, train as unknown as RecipeStep],
    },
  );
  expect(report).toBeUndefined();
});

it("leaves models that draw random numbers unjudged, and says why", async () => {
  const noisy = encode(
    parse`<ir_version: 8, opset_import: ["": 17]> g (float[N,64] x) => (y) <float[64,64] w = ${float32([64, 64], normal(4096))}> { r = RandomNormalLike(x) s = Add(x, r) y = MatMul(s, w) }`,
  );
  const { report, ok } = await judge(noisy, { quantize: {} });
  expect([report.verdict, ok]).toEqual(["not judged", true]);
  expect(report.reason).toContain("random numbers");
});
