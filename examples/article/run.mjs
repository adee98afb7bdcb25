/**
 * @file `node examples/article/run.mjs`: the article's network from beginning to end: built, trained on handwritten digits, pruned,
 * quantized in its three ways, distilled; then what each costs and is worth. docs/article.md walks through it.
 *
 *     node examples/article/run.mjs [--small] [--out FOLDER] [--threads N] [--epochs N]
 *
 * Takes minutes on all 60,000 digits; --small takes 600, one epoch, and some seconds, and shows that everything runs.
 */
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { data as datasets, evaluate, files, loadModel, runRecipe, runtime as runtimes, saveModel } from "tersor";
import { articleNetwork, studentNetwork } from "./networks.mjs";

const { values: flags } = parseArgs({
  options: {
    small: { type: "boolean", default: false },
    out: { type: "string", default: fileURLToPath(new URL("../../out/article", import.meta.url)) },
    threads: { type: "string", default: "2" },
    epochs: { type: "string", default: "3" },
  },
});
const threads = Number(flags.threads);
const epochs = flags.small ? 1 : Number(flags.epochs);
const split = (name, count) => ({
  path: fileURLToPath(new URL(`${name}.mjs`, import.meta.url)),
  ...(flags.small && { take: count }),
});
const data = split("train", 600);
const file = (name) => `${flags.out}/${name}.onnx`;
mkdirSync(flags.out, { recursive: true });

/** Nothing is chosen by looking at the test digits: no validation, a fixed number of epochs. */
const training = {
  data,
  validation: 0,
  threads,
  epochs,
  batchSize: 32,
  rate: 0.003,
  schedule: { name: "cosine", warmup: 0.1 },
  augment: { crop: 1 },
};

/** One recipe: from a file to a file, in steps. */
async function make(output, model, steps) {
  const start = performance.now();
  const { manifest } = await runRecipe({ model: file(model), output: file(output), seed: 1, steps });
  console.log(`${output}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
  return manifest.steps.map((step) => step.report);
}

// Built: plain ONNX with seeded parameters.
await saveModel(articleNetwork(), file("untrained"));
await saveModel(studentNetwork(), file("student-untrained"));

// Trained: the gradients and the optimizer are a graph as well.
const [{ history }] = await make("trained", "untrained", [{ finetune: training }]);
for (const { epoch, loss } of history) console.log(`  epoch ${epoch}: loss ${loss.toFixed(4)}`);

// 4.1.1 pruned: half of all weights, the smallest of the whole network; then trained on with the zeros kept.
await make("pruned", "trained", [
  { prune: { structure: "weights", ratio: 0.5, criterion: "l1", ranking: "global", compressed: false } },
]);
await make("pruned-tuned", "pruned", [{ finetune: { ...training, epochs: 1, rate: 0.0005 } }]);

// 4.2.1 to 4.2.3 quantized to 8 bits: one scale for all layers, one for each, and rounded at random.
await make("int8-global", "trained", [{ quantize: { dtype: "int8", granularity: "model" } }]);
await make("int8-layer", "trained", [{ quantize: { dtype: "int8", granularity: "tensor" } }]);
await make("int8-stochastic", "trained", [
  { quantize: { dtype: "int8", granularity: "tensor", rounding: "stochastic" } },
]);
await make("pruned-int8", "pruned-tuned", [{ quantize: { dtype: "int8", granularity: "channel" } }]);

// 3.4 distilled: the student alone, and the student after the trained network.
await make("student-alone", "student-untrained", [{ finetune: training }]);
await make("student-distilled", "student-untrained", [{ distill: { ...training, teacher: file("trained") } }]);

const rows = {
  trained: "trained, fp32",
  pruned: "pruned 50 %",
  "pruned-tuned": "pruned 50 %, trained on",
  "int8-global": "int8, one scale",
  "int8-layer": "int8, layer by layer",
  "int8-stochastic": "int8, stochastic",
  "pruned-int8": "pruned, trained on, int8",
  "student-alone": "student, labels alone",
  "student-distilled": "student, distilled",
};
const runtime = runtimes.workerRuntime("ort-node");
const sessions = {};
for (const name of Object.keys(rows)) sessions[name] = await runtime.create({ path: file(name) }, { threads: 1 });
const test = await datasets.openData(split("test", 500), { inputs: sessions.trained.inputs });
const accuracy = await accuracies(sessions, test);
const latency = await latencies(sessions, test);
console.log(`\n${test.size ?? "?"} test digits that nothing was trained on; latency of one digit, 1 thread, p50`);
const table = [["", "bytes", "brotli", "zeros", "accuracy", "latency"]];
for (const [name, title] of Object.entries(rows)) {
  const { bytes, brotli } = await files.measureSize([file(name)], { brotliQuality: 11 });
  table.push([
    title,
    String(bytes),
    String(brotli),
    `${(100 * zeroShare(loadModel(file(name)))).toFixed(0)} %`,
    `${accuracy[name].toFixed(2)} %`,
    `${latency[name].p50.toFixed(3)} ms`,
  ]);
}
await runtime.close();
print(table);

/** Right answers in %, by model. Every model sees the same batches. */
async function accuracies(models, dataset) {
  const right = Object.fromEntries(Object.keys(models).map((name) => [name, 0]));
  let count = 0;
  for await (const { inputs, samples } of datasets.batches(dataset, { size: 250 })) {
    count += samples.length;
    for (const [name, session] of Object.entries(models)) {
      const { y } = await session.run(inputs);
      samples.forEach(({ label }, row) => {
        const scores = y.data.subarray(row * 10, row * 10 + 10);
        if (scores.indexOf(Math.max(...scores)) === label) right[name]++;
      });
    }
  }
  return Object.fromEntries(Object.entries(right).map(([name, hits]) => [name, (100 * hits) / count]));
}

/** Times of one digit, the models in turns. */
async function latencies(models, dataset) {
  for await (const { inputs } of datasets.batches(dataset, { size: 1 })) {
    const lanes = Object.entries(models).map(([name, session]) => [name, (runs) => session.time(inputs, runs)]);
    return (
      await evaluate.measureLatency(Object.fromEntries(lanes), flags.small ? { rounds: 3 } : { rounds: 21, runs: 20 })
    ).models;
  }
}

/** Share of weights (tensors with an axis or more) that are zero. */
function zeroShare({ graph }) {
  const counts = { zero: 0, all: 0 };
  for (const { tensor } of graph.initializers) {
    if (!tensor || tensor.dims.length < 2) continue;
    for (const value of tensor.toNumbers()) {
      counts.all++;
      if (value === 0) counts.zero++;
    }
  }
  return counts.zero / counts.all;
}

function print(lines) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  for (const line of lines)
    console.log(line.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[0]))).join("   "));
}
