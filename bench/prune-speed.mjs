/**
 * @file Speed of pruning itself: the exact threshold of 100 million weights against a memcpy of them, grouping and cutting a graph of a
 * thousand nodes, and SparseGPT against PyTorch, one thread each, in turns.
 *
 * Usage: node bench/prune-speed.mjs [--only threshold|graph|sparsegpt] [--rounds N] [--million N] [--json FILE]
 * Needs `npm run build`; sparsegpt needs bench/setup-python.sh too. Ratios are of medians of CPU time over the rounds.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { attr } from "../dist/ir/attribute.js";
import { Graph } from "../dist/ir/graph.js";
import { Model } from "../dist/ir/model.js";
import { tensorType } from "../dist/ir/types.js";
import { pruneChannels } from "../dist/prune/channels/prune-channels.js";
import { pruneOptions } from "../dist/prune/options.js";
import { shareOf } from "../dist/prune/weights/choose-columns.js";
import { sparseGpt } from "../dist/prune/weights/sparsegpt.js";
import { lineBelow } from "../dist/prune/weights/units.js";
import { float32 } from "../dist/tensor/tensor.js";
import { Rng } from "../dist/util/rng.js";
import { markdown } from "./measure.mjs";
import { root } from "./zoo.mjs";

const { values: args } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    rounds: { type: "string", default: "7" },
    million: { type: "string", default: "100" },
    json: { type: "string" },
  },
});
const rounds = Number(args.rounds);
const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];
/** CPU milliseconds of this process since a mark. */
const cpuSince = (mark) => {
  const { user, system } = process.cpuUsage(mark);
  return (user + system) / 1e3;
};
const timed = (run) => {
  const mark = process.cpuUsage();
  run();
  return cpuSince(mark);
};

/** Weights as scores come: not negative. */
function threshold() {
  const count = Number(args.million) * 1e6;
  const size = 1 << 22;
  const source = new Float32Array(count);
  const rng = new Rng(1, "weights");
  const some = Float32Array.from({ length: size }, () => Math.abs(rng.normal()));
  for (let at = 0; at < count; at += size) source.set(some.subarray(0, Math.min(size, count - at)), at);
  // No two pieces are alike.
  for (let at = 0; at < count; at += 7) source[at] *= 1 + (at % 1013) / 4096;
  const target = new Float32Array(count);
  const parts = [];
  for (let at = 0; at < count; at += size) parts.push(source.subarray(at, Math.min(at + size, count)));
  target.set(source);
  const [copies, selections] = [[], []];
  let line;
  for (let round = 0; round < rounds; round++) {
    copies.push(timed(() => target.set(source)));
    selections.push(timed(() => (line = lineBelow(() => parts, count / 2, count))));
  }
  let below = 0;
  for (const x of source) if (x < line.limit) below++;
  if (below + line.ties !== count / 2) throw new Error("the threshold is not exact");
  return {
    what: `exact threshold of ${args.million} M weights`,
    ours: `${median(selections).toFixed(0)} CPU ms`,
    peer: `memcpy ${median(copies).toFixed(0)} CPU ms`,
    ratio: median(selections) / median(copies),
    bound: 3,
  };
}

/** A residual network of about a thousand nodes. */
function thousandNodes() {
  const graph = new Graph("thousand");
  const rng = new Rng(1, "thousand");
  const weight = (...dims) =>
    graph.addInitializer(
      "w",
      float32(
        dims,
        Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
      ),
    );
  const node = (opType, inputs, attributes = {}) =>
    graph.addNode({ opType, inputs, outputs: ["v"], attributes, name: `n${graph.nodes.length}` }).output();
  const x = graph.declare("x", tensorType("float32", [1, 3, 32, 32]));
  graph.addInput(x);
  const pads = { pads: attr.ints([1, 1, 1, 1]) };
  let value = node("Conv", [x, weight(64, 3, 3, 3)], pads);
  while (graph.nodes.length < 995) {
    let inner = value;
    for (let i = 0; i < 2; i++) {
      inner = node("Conv", [inner, weight(64, 64, 3, 3), weight(64)], pads);
      inner = node("BatchNormalization", [inner, weight(64), weight(64), weight(64), weight(64)]);
      inner = node("Relu", [inner]);
    }
    value = node("Relu", [node("Add", [value, inner])]);
  }
  const flat = node("Flatten", [node("GlobalAveragePool", [value])]);
  const y = node("Gemm", [flat, weight(64, 10)]);
  y.type = tensorType("float32", [1, 10]);
  graph.addOutput(y);
  const model = new Model(graph);
  model.opsetImports = new Map([["", 21]]);
  return model;
}

async function graphOfThousand() {
  const model = thousandNodes();
  const times = [];
  let result;
  for (let round = 0; round < Math.min(3, rounds); round++) {
    const mark = process.cpuUsage();
    result = await pruneChannels(model, pruneOptions.parse({ ratio: 0.3, by: "macs" }), undefined);
    times.push(cpuSince(mark));
  }
  return {
    what: `grouping, ranking and cutting ${model.graph.nodes.length} nodes, ${result.groups.length} groups, the first time`,
    ours: `${times[0].toFixed(0)} CPU ms`,
    peer: "1000 ms",
    ratio: times[0] / 1000,
    bound: 1,
  };
}

/** Rounds that are not counted: a model has dozens of matrices, and what compiles its code in the first of them are few. */
const WARM = 6;

/** SparseGPT of one matrix [outputs, inputs] at 50 %, by both. */
async function sparseGptAgainstTorch() {
  const python = join(root, ".venv", "bin", "python");
  if (!existsSync(python)) {
    console.error(`${python}: not there; SparseGPT is left out. Run bench/setup-python.sh.`);
    return undefined;
  }
  const [outputs, inputs, samples] = [768, 768, 2048];
  const rng = new Rng(2, "matrix");
  const matrix = Float32Array.from({ length: outputs * inputs }, () => rng.normal());
  const x = Float32Array.from({ length: samples * inputs }, (_, i) => rng.normal() * (1 + (i % 7)));
  const sums = new Float64Array(inputs * inputs);
  for (let row = 0; row < samples; row++)
    for (let i = 0; i < inputs; i++) {
      const a = x[row * inputs + i];
      for (let j = 0; j < inputs; j++) sums[i * inputs + j] += a * x[row * inputs + j];
    }
  const folder = mkdtempSync(join(tmpdir(), "tersor-sparsegpt-"));
  writeFileSync(join(folder, "h.f64"), sums);
  writeFileSync(join(folder, "w.f32"), matrix);
  const peer = spawn(python, [join(root, "bench", "peers", "sparsegpt_torch.py"), folder, `${inputs}`, `${outputs}`], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  try {
    const lines = createInterface({ input: peer.stdout })[Symbol.asyncIterator]();
    const ask = async (command) => {
      peer.stdin.write(`${command}\n`);
      return JSON.parse((await lines.next()).value);
    };
    const gram = { sums, rows: samples };
    const spec = { rows: outputs, columns: inputs, gram, damp: 0.01, choose: shareOf(0.5), subject: "bench" };
    const [own, others] = [[], []];
    let pruned;
    for (let round = 0; round < rounds + WARM; round++) {
      pruned = matrix.slice();
      const mine = timed(() => sparseGpt(pruned, spec));
      const { cpu } = await ask("prune");
      if (round >= WARM) {
        own.push(mine);
        others.push(cpu * 1e3);
      }
    }
    const { error } = await ask("error");
    const zeros = pruned.reduce((sum, w) => sum + Number(w === 0), 0) / pruned.length;
    const loss = relativeError(matrix, pruned, sums, outputs, inputs);
    return {
      what: `SparseGPT, [${outputs}, ${inputs}], ${(100 * zeros).toFixed(1)} % zeros; error ${loss.toExponential(3)}, PyTorch ${error.toExponential(3)}`,
      ours: `${median(own).toFixed(0)} CPU ms`,
      peer: `PyTorch ${median(others).toFixed(0)} CPU ms`,
      ratio: median(own) / median(others),
      bound: 0.5,
    };
  } finally {
    peer.stdin.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Of the layer's output: tr(D H D^T) / tr(W H W^T). */
function relativeError(w, pruned, h, rows, columns) {
  const energy = (valueAt) => {
    let sum = 0;
    for (let row = 0; row < rows; row++)
      for (let i = 0; i < columns; i++) {
        const a = valueAt(row * columns + i);
        for (let j = 0; a !== 0 && j < columns; j++) sum += a * h[i * columns + j] * valueAt(row * columns + j);
      }
    return sum;
  };
  return energy((at) => w[at] - pruned[at]) / energy((at) => w[at]);
}

const benches = { threshold, graph: graphOfThousand, sparsegpt: sparseGptAgainstTorch };
const rows = [];
for (const [name, run] of Object.entries(benches)) {
  if (!name.includes(args.only)) continue;
  const row = await run();
  if (row) rows.push(row);
}
if (args.json) writeFileSync(args.json, JSON.stringify(rows));
console.log(
  markdown(
    ["what", "ours", "against", "ratio", "bound"],
    rows.map(({ what, ours, peer, ratio, bound }) => [what, ours, peer, ratio.toFixed(2), `${bound}`]),
  ),
);
process.exitCode = rows.every(({ ratio, bound }) => ratio <= bound) ? 0 : 1;
