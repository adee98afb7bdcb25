/**
 * @file Worker threads over layers: wall time of quantizing and writing a made-up model with workers against without, in turn
 * (A B A B …), each time in a process of its own. The shapes are those of transformer blocks of width 768; 4 bits in groups of 128.
 * Timed are planning, quantizing and writing, the start of the workers included; not the start of the process, nor reading the second
 * moments of 2048 made-up inputs. Files are compared byte for byte.
 *
 * Usage: node bench/methods-workers.mjs [--rounds N] [--workers 2] [--blocks 4] [--methods gptq,awq,hqq] [--dist FOLDER]
 * Needs `npm run build`, and a machine with as many idle cores as workers.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { markdown, median } from "./measure.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values: args } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    workers: { type: "string", default: "2" },
    blocks: { type: "string", default: "4" },
    methods: { type: "string", default: "gptq,awq,hqq" },
    dist: { type: "string", default: join(root, "dist") },
    // Of the processes that this one starts: the folder with the model, and "method workers".
    folder: { type: "string" },
    run: { type: "string" },
  },
});
const from = (path) => import(pathToFileURL(join(resolve(args.dist), path)).href);
const { loadModel, methodPool, parse, quantize, saveModel } = await from("node/index.js");
const { kernels } = await from("kernels/index.js");
const { float32 } = await from("tensor/tensor.js");
const { Rng } = await from("util/rng.js");

const SAMPLES = 2048;
const [rounds, workers, blocks] = [args.rounds, args.workers, args.blocks].map(Number);
const WIDTHS = [768, 3072];

/** Residual blocks of four products of 768 x 768 and a widening to 3072 and back. */
function makeModel() {
  const rng = new Rng(1, "weights");
  const layers = [];
  const normal = (k, n) =>
    float32(
      [k, n],
      Float32Array.from({ length: k * n }, () => rng.normal() * 0.02 * (rng.uniform() < 0.01 ? 6 : 1)),
    );
  const lines = Array.from({ length: blocks }, (_, b) => {
    for (const name of ["q", "k", "v", "o"]) layers.push([`${name}${b}`, 768, 768]);
    layers.push([`up${b}`, 768, 3072], [`down${b}`, 3072, 768]);
    return `hq${b} = MatMul(x${b}, q${b}) hk${b} = MatMul(x${b}, k${b}) hv${b} = MatMul(x${b}, v${b})
      m${b} = Mul(hq${b}, hk${b}) s${b} = Add(m${b}, hv${b}) ho${b} = MatMul(s${b}, o${b}) r${b} = Add(x${b}, ho${b})
      hu${b} = MatMul(r${b}, up${b}) a${b} = Relu(hu${b}) hd${b} = MatMul(a${b}, down${b}) x${b + 1} = Add(r${b}, hd${b})`;
  });
  const weights = new Map(layers.map(([name, k, n]) => [name, normal(k, n)]));
  const declared = layers.map(([name, k, n]) => `float[${k},${n}] ${name} = {}`).join(", ");
  const texts = declared.split("{}");
  const values = [...weights.values()];
  texts[0] = `(float[N,768] x0) => (x${blocks}) <${texts[0]}`;
  texts[texts.length - 1] += `> { ${lines.join("\n")} }`;
  const model = parse(Object.assign(texts, { raw: texts }), ...values);
  return { model, layers };
}

/** X^T X of inputs that share sixteen hidden factors, upper triangle. */
function momentsOf(k) {
  const { memory, linalg } = kernels();
  const rng = new Rng(2, String(k));
  const mix = Float32Array.from({ length: 16 * k }, () => rng.normal() / 4);
  return memory.scope(() => {
    const at = memory.alloc32(SAMPLES * k);
    const h = memory.alloc32(k * k);
    const x = memory.f32(at, SAMPLES * k);
    for (let s = 0; s < SAMPLES; s++) {
      const hidden = Array.from({ length: 16 }, () => rng.normal());
      for (let i = 0; i < k; i++) {
        let value = rng.uniform() - 0.5;
        for (let f = 0; f < 16; f++) value += hidden[f] * mix[f * k + i];
        x[s * k + i] = value;
      }
    }
    memory.f32(h, k * k).fill(0);
    linalg.syrk(SAMPLES, k, { at, stride: k }, { at: h, stride: k });
    return { sums: Float64Array.from(memory.f32(h, k * k)), groups: 1, k };
  });
}

/** Prints wall and CPU seconds (of all threads) of one run. */
async function once(folder, method, count) {
  const model = loadModel(join(folder, "model.onnx"));
  const grams = new Map(
    WIDTHS.map((k) => [k, { sums: new Float64Array(readFileSync(join(folder, `${k}.f64`)).buffer), groups: 1, k }]),
  );
  const stats = new Map([...model.graph.initializers].map((value) => [value.name, grams.get(value.tensor.dims[0])]));
  const [wall, cpu] = [performance.now(), process.cpuUsage()];
  const result = quantize(model, { method, dtype: "uint4", granularity: "group:128" }, stats);
  const pool = count > 0 ? methodPool(count) : undefined;
  if (pool) await result.precompute(pool);
  await saveModel(result.model, join(folder, "out.onnx"));
  const used = process.cpuUsage(cpu);
  const seconds = (performance.now() - wall) / 1000;
  console.log(JSON.stringify({ wall: seconds, cpu: (used.user + used.system) / 1e6 }));
  await pool?.close();
}

if (args.run !== undefined) {
  const [method, count] = args.run.split(" ");
  await once(args.folder, method, Number(count));
  process.exit();
}

const folder = mkdtempSync(join(tmpdir(), "tersor-workers-"));
const { model, layers } = makeModel();
await saveModel(model, join(folder, "model.onnx"));
for (const k of WIDTHS) writeFileSync(join(folder, `${k}.f64`), momentsOf(k).sums);

function measured(method, count) {
  const command = [
    fileURLToPath(import.meta.url),
    "--dist",
    args.dist,
    "--folder",
    folder,
    "--run",
    `${method} ${count}`,
  ];
  const numbers = JSON.parse(execFileSync(process.execPath, command, { encoding: "utf8" }));
  return {
    ...numbers,
    hash: createHash("sha256")
      .update(readFileSync(join(folder, "out.onnx")))
      .digest("hex"),
  };
}

const load = loadavg()[0].toFixed(1);
const rows = [];
for (const method of args.methods.split(",")) {
  const runs = [];
  for (let round = 0; round < rounds; round++) {
    const [alone, pooled] = [measured(method, 0), measured(method, workers)];
    if (alone.hash !== pooled.hash) throw new Error(`${method}: the files differ`);
    console.error(`${method} ${round}: ${alone.wall.toFixed(2)} s, ${pooled.wall.toFixed(2)} s`);
    runs.push({ alone, pooled });
  }
  const of = (side, what) => median(runs.map((run) => run[side][what])).toFixed(2);
  const ratios = runs.map(({ alone, pooled }) => alone.wall / pooled.wall).sort((a, b) => a - b);
  rows.push([
    method,
    of("alone", "wall"),
    of("pooled", "wall"),
    `${median(ratios).toFixed(2)}x`,
    `${ratios[0].toFixed(2)}–${ratios.at(-1).toFixed(2)}`,
    of("alone", "cpu"),
    of("pooled", "cpu"),
  ]);
}
rmSync(folder, { recursive: true });
const header = [
  "method",
  "alone, s",
  `${workers} workers, s`,
  "faster (median)",
  "least–most",
  "CPU s alone",
  "CPU s with workers",
];
console.log(
  `${layers.length} layers, ${rounds} rounds, Node ${process.version}, load before ${load} on ${availableParallelism()} cores\n\n${markdown(header, rows)}`,
);
