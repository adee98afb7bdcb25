/**
 * @file The linear algebra and the time of GPTQ and HQQ against PyTorch and ONNX Runtime's Python, one thread each, in turn (A B A B …)
 * on the same data: 2048 correlated inputs, 4 bits in groups of 128. CPU seconds of the calls alone, without start-up.
 *
 * Usage: node bench/methods.mjs [--rounds N] [--shapes 768x768,3072x768] [--dist FOLDER]
 * Needs `npm run build` and `bench/setup-python.sh` with torch.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { markdown, median } from "./measure.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values: args } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    shapes: { type: "string", default: "768x768,3072x768" },
    dist: { type: "string", default: join(root, "dist") },
  },
});
const from = (path) => import(pathToFileURL(join(resolve(args.dist), path)).href);
const { kernels } = await from("kernels/index.js");
const { methods } = await from("quantize/methods/index.js");
const { dequantizeMatrix } = await from("quantize/methods/matrix.js");
const { resolveSpec, specOptions } = await from("quantize/grid/spec.js");
const { Rng } = await from("util/rng.js");

const SAMPLES = 2048;
const { memory, linalg } = kernels();
const folder = mkdtempSync(join(tmpdir(), "tersor-methods-"));

const python = spawn(join(root, ".venv", "bin", "python"), [join(root, "bench", "peers", "gptq_torch.py")], {
  stdio: ["pipe", "pipe", "inherit"],
  env: { ...process.env, OMP_NUM_THREADS: "1", MKL_NUM_THREADS: "1" },
});
const answers = createInterface({ input: python.stdout })[Symbol.asyncIterator]();
async function peer(job) {
  python.stdin.write(`${job}\n`);
  const { value, done } = await answers.next();
  if (done) throw new Error("bench/peers/gptq_torch.py ended; was bench/setup-python.sh run, with torch?");
  return JSON.parse(value);
}

function timed(work) {
  const [wall, cpu] = [performance.now(), process.cpuUsage()];
  const result = work();
  const used = process.cpuUsage(cpu);
  return { wall: (performance.now() - wall) / 1000, cpu: (used.user + used.system) / 1e6, result };
}

/** Heavy-tailed weights and inputs that share sixteen hidden factors, channels of different size. */
function makeData(k, n) {
  const rng = new Rng(1, `${k}x${n}`);
  const w = Float32Array.from({ length: k * n }, () => rng.normal() * 0.02 * (rng.uniform() < 0.01 ? 6 : 1));
  const mix = Float32Array.from({ length: 16 * k }, () => rng.normal() / 4);
  const size = Float32Array.from({ length: k }, () => Math.exp(rng.normal() * 0.5));
  const x = new Float32Array(SAMPLES * k);
  for (let s = 0; s < SAMPLES; s++) {
    const hidden = Array.from({ length: 16 }, () => rng.normal());
    for (let i = 0; i < k; i++) {
      let value = rng.uniform() - 0.5;
      for (let f = 0; f < 16; f++) value += hidden[f] * mix[f * k + i];
      x[s * k + i] = value * size[i];
    }
  }
  return { w, x };
}

function hessianOf(x, k) {
  return memory.scope(() => {
    const at = memory.alloc32(SAMPLES * k);
    const h = memory.alloc32(k * k);
    memory.f32(at, SAMPLES * k).set(x);
    memory.f32(h, k * k).fill(0);
    const run = timed(() => linalg.syrk(SAMPLES, k, { at, stride: k }, { at: h, stride: k }));
    return { ...run, result: memory.f32(h, k * k).slice() };
  });
}

/** Cholesky and transposed inverse of a damped Hessian, as GPTQ needs them. */
function factor(hessian, k) {
  return memory.scope(() => {
    const stride = k + 16;
    const r = memory.alloc32(k * stride);
    const z = memory.alloc32(k * stride);
    const view = memory.f32(r, k * stride).fill(0);
    let trace = 0;
    for (let i = 0; i < k; i++) trace += hessian[i * (k + 1)];
    for (let i = 0; i < k; i++) {
      view.set(hessian.subarray(i * k, (i + 1) * k), i * stride);
      view[i * (stride + 1)] += (0.01 * trace) / k;
    }
    return timed(() => {
      linalg.cholesky(k, { at: r, stride });
      linalg.invertTransposed(k, { at: r, stride }, { at: z, stride });
    });
  });
}

/** sum of d^T H d over that of w. */
function relativeError(hessian, w, values, k, n) {
  const energy = (data) =>
    memory.scope(() => {
      const [h, d, p] = [memory.alloc32(k * k), memory.alloc32(k * n), memory.alloc32(k * n)];
      memory.f32(h, k * k).set(hessian);
      linalg.mirrorUpper(k, h);
      memory.f32(d, k * n).set(data);
      memory.f32(p, k * n).fill(0);
      linalg.gemmTn({ m: k, n, k, a: { at: h, stride: k }, b: { at: d, stride: n }, c: { at: p, stride: n } });
      const product = memory.f32(p, k * n);
      return data.reduce((sum, v, i) => sum + v * product[i], 0);
    });
  return energy(w.map((v, i) => v - values[i])) / energy(w);
}

const spec = resolveSpec(specOptions.parse({ dtype: "uint4", granularity: "group:128" }), "bench");
const rows = [];
for (const shape of args.shapes.split(",")) {
  const [k, n] = shape.split("x").map(Number);
  const { w, x } = makeData(k, n);
  writeFileSync(join(folder, "x.f32"), x);
  writeFileSync(join(folder, "w.f32"), w);
  await peer(`load ${folder} ${k} ${n}`);
  const matrix = { name: "w", k, n, data: w, groupSize: 128, fold: 1, dtype: "float32" };
  const hessian = hessianOf(x, k).result;
  const quantize = (name) => {
    const method = methods[name];
    const options = method.options.parse({});
    return timed(() => method.quantize(matrix, spec, { hessian }, options));
  };
  const absolute = (values) =>
    w.reduce((s, v, i) => s + Math.abs(v - values[i]), 0) / w.reduce((s, v) => s + Math.abs(v), 0);
  const jobs = {
    syrk: { ours: () => hessianOf(x, k), flops: SAMPLES * k * k },
    factor: { ours: () => factor(hessian, k), flops: (2 / 3) * k ** 3 },
    gptq: { ours: () => quantize("gptq"), error: (values) => relativeError(hessian, w, values, k, n) },
    hqq: { ours: () => quantize("hqq"), error: absolute },
  };
  for (const [name, { ours, flops, error }] of Object.entries(jobs)) {
    const runs = [];
    for (let round = -1; round < Number(args.rounds); round++) {
      const a = ours();
      const b = await peer(name);
      if (round >= 0) runs.push({ a, b });
    }
    const cpu = (side) => Math.min(...runs.map((run) => run[side].cpu));
    const last = runs.at(-1);
    const errors = error
      ? [
          error(dequantizeMatrix(matrix, spec, last.a.result)),
          last.b.error,
          error(dequantizeMatrix(matrix, spec, quantize("rtn").result)),
        ]
      : [];
    rows.push([
      `${name} ${shape}`,
      (cpu("a") * 1000).toFixed(0),
      (cpu("b") * 1000).toFixed(0),
      median(runs.map(({ a, b }) => a.cpu / b.cpu)).toFixed(2),
      flops ? (flops / cpu("a") / 1e9).toFixed(1) : "",
      ...[0, 1, 2].map((i) => (errors[i] === undefined ? "" : errors[i].toExponential(3))),
    ]);
    console.error(rows.at(-1).join("  "));
  }
}
python.stdin.end();
rmSync(folder, { recursive: true });
const header = ["job", "CPU ms", "peer CPU ms", "ratio (median)", "GFLOP/s", "error", "peer's error", "error of rtn"];
console.log(`${args.rounds} rounds, Node ${process.version}; CPU ms: least of all rounds\n\n${markdown(header, rows)}`);
