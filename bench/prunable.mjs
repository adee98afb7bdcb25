/**
 * @file How much of the world's graphs can be cut: every model at hand at ratio 0.3 of its MACs, proved, loaded and run.
 *
 * Usage: node bench/prunable.mjs [--only TEXT] [--ratio R] [--onnx FOLDER] [--cases] [--shared FOLDER]
 * Needs `npm run build`, and bench/setup-python.sh for the graphs of the Python package onnx (--onnx: its backend/test/data): nine
 * networks whose weights are all one number there, which get random ones, and the cases converted from PyTorch, mostly of one
 * operator. --cases lists the latter one by one. Proof: largest difference between the cut and the masked model, relative to the largest
 * output, graph optimizations off; beside it that of the cut model with and without them, which is rounding. Exit code 1 where a model with inner channels is not cut, or a cut is not what the masked model computes.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { collect } from "../dist/data/dataset.js";
import { seededDataset } from "../dist/data/seeded.js";
import { loadModel } from "../dist/node/load.js";
import { infer } from "../dist/ops/infer.js";
import { removeDeadCode } from "../dist/passes/dead-code.js";
import { float32 } from "../dist/tensor/tensor.js";
import { Rng } from "../dist/util/rng.js";
import { markdown } from "./measure.mjs";
import { largestDifference, proveCut } from "./prune-tasks.mjs";
import { defaultShared, openSession, root, runAll, simplified, zoo } from "./zoo.mjs";

const { values: args } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    ratio: { type: "string", default: "0.3" },
    onnx: { type: "string" },
    cases: { type: "boolean", default: false },
    shared: { type: "string", default: defaultShared },
  },
});
const tolerance = 1e-5;
const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** Test data of the Python package onnx, where bench/setup-python.sh put it. */
function onnxData() {
  const libraries = join(root, ".venv", "lib");
  const [python = ""] = existsSync(libraries) ? readdirSync(libraries) : [];
  const folder = args.onnx ?? join(libraries, python, "site-packages", "onnx", "backend", "test", "data");
  if (existsSync(folder)) return folder;
  console.error(`${folder}: not there; networks of the Python package onnx are left out. Run bench/setup-python.sh.`);
  return undefined;
}

/** Weights that a ConstantOfShape makes are all one number: channels would be alike, and no proof. They become random, of a size that keeps activations in range. */
function withRandomWeights(model) {
  const copy = model.clone();
  const { types } = infer(copy);
  for (const node of [...copy.graph.nodes]) {
    if (node.opType !== "ConstantOfShape") continue;
    const value = node.output();
    const { dtype, shape } = types.get(value);
    if (dtype !== "float32" || !shape?.every((dim) => typeof dim === "number")) continue;
    const rng = new Rng(1, value.name);
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
    // What is one number per channel may be a variance: it is positive.
    const draw = shape.length > 1 ? () => rng.normal() * Math.sqrt(2 / fanIn) : () => 0.5 + rng.uniform();
    const size = shape.reduce((a, b) => a * b, 1);
    const weight = copy.graph.addInitializer(value.name, float32(shape, Float32Array.from({ length: size }, draw)));
    copy.graph.replaceUses(value, weight);
    copy.graph.removeNodes([node]);
  }
  // Shares of a thousand classes would hide what differs: the logits are compared.
  copy.graph.outputs.forEach((output, i) => {
    if (output.producer?.opType === "Softmax") copy.graph.setOutput(i, output.producer.input(0));
  });
  return removeDeadCode(copy).model;
}

/** Indices that begin at zero fit every table. */
const made = ({ inputs }) => {
  const ranges = Object.fromEntries(inputs.map(({ name }) => [name, [0, 1]]));
  return seededDataset(inputs, { count: 1, ranges });
};

function* entries() {
  for (const { name, path, samples } of zoo(args.shared))
    yield { name, kind: "network", load: () => loadModel(path), samples: (inputs) => samples(inputs, 1) };
  const folder = onnxData();
  if (!folder) return;
  for (const file of readdirSync(join(folder, "light")).filter((name) => name.endsWith(".onnx")))
    yield {
      name: file.replace(/\.onnx$/, ""),
      kind: "network",
      load: () => withRandomWeights(loadModel(join(folder, "light", file))),
      samples: (inputs) => made({ inputs }),
    };
  for (const kind of ["pytorch-converted", "pytorch-operator"])
    for (const name of readdirSync(join(folder, kind)).sort())
      yield {
        name: name.replace("test_", ""),
        kind,
        load: () => loadModel(join(folder, kind, name, "model.onnx")),
        samples: (inputs) => made({ inputs }),
      };
}

/** @returns what came of one model: cut, nothing inside, or what went wrong */
async function look({ name, kind, load, samples }) {
  const model = await simplified(load());
  const session = await openSession(model, { optimization: "disabled" }).catch((error) => {
    throw Object.assign(error, { isRefused: true });
  });
  const data = await collect(await samples(session.inputs));
  await session.release();
  const { result, error, seconds } = await proveCut(model, data, Number(args.ratio)).catch((cause) => {
    if (cause.code !== "bad-recipe") throw cause;
    return proveCut(model, data, Number(args.ratio), "channels");
  });
  const fast = await runAll(result.model, data);
  const rounding = largestDifference(await runAll(result.plain, data, { optimization: "disabled" }), fast);
  const { groups, kept, before, after } = result;
  const sum = (list, of) => list.reduce((total, each) => total + of(each), 0);
  const held = new Map();
  for (const { because, channels } of kept) held.set(because, (held.get(because) ?? 0) + channels);
  return {
    name,
    kind,
    groups: groups.length,
    channels: sum(groups, (group) => group.channels),
    removed: sum(groups, (group) => group.removed),
    macs: before.macs > 0 ? 1 - after.macs / before.macs : 0,
    params: before.params > 0 ? 1 - after.params / before.params : 0,
    error,
    rounding,
    seconds,
    held: [...held].sort((a, b) => b[1] - a[1]),
  };
}

const rows = [];
const broken = [];
/** Graphs that ONNX Runtime does not load as they are, being of an operator set below 7. */
const refused = new Map();
for (const entry of entries()) {
  if (!entry.name.includes(args.only)) continue;
  try {
    const row = await look(entry);
    rows.push(row);
    if (row.groups > 0 && row.removed === 0) broken.push(`${row.name}: has inner channels and was not cut`);
    if (row.removed > 0 && !(row.error <= Math.max(tolerance, row.rounding)))
      broken.push(`${row.name}: the cut and the masked model differ by ${row.error}`);
  } catch (error) {
    if (!error.isRefused) broken.push(`${entry.name}: ${error.message}`);
    else refused.set(entry.kind, (refused.get(entry.kind) ?? 0) + 1);
  }
}
const cells = ({ name, groups, channels, removed, macs, params, error, rounding, seconds, held }) => [
  name,
  `${groups}`,
  `${removed} of ${channels}`,
  percent(macs),
  percent(params),
  groups > 0 ? error.toExponential(1) : "",
  groups > 0 ? rounding.toExponential(1) : "",
  seconds.toFixed(2),
  held.map(([because, count]) => `${because} ${count}`).join(", "),
];
const header = ["model", "groups", "channels cut", "MACs", "params", "proof", "rounding", "s", "channels held by"];
const networks = rows.filter(({ kind }) => kind === "network");
console.log(`Networks, ratio ${args.ratio}\n\n${markdown(header, networks.map(cells))}`);
for (const kind of ["pytorch-converted", "pytorch-operator"]) {
  const cases = rows.filter((row) => row.kind === kind);
  if (cases.length === 0) continue;
  const inner = cases.filter(({ groups }) => groups > 0);
  console.log(
    `\n${kind}: ${cases.length} graphs run, ${inner.length} of them with inner channels; ${refused.get(kind) ?? 0} are too old for ONNX Runtime`,
  );
  const shown = args.cases ? cases : inner;
  if (shown.length > 0) console.log(`\n${markdown(header, shown.map(cells))}`);
}
if (broken.length > 0) console.log(`\nBroken:\n${broken.map((line) => `- ${line}`).join("\n")}`);
process.exitCode = broken.length > 0 ? 1 : 0;
