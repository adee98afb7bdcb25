/**
 * @file Every model at hand through the whole of Tersor: read, print, parse, write, infer, simplify, quantize, run.
 *
 * Usage: node bench/models.mjs [--only TEXT] [--samples N] [--keep FOLDER] [--shared FOLDER]
 * Needs `npm run build`. --only takes the models whose name contains TEXT; --keep leaves the files in FOLDER, for
 * bench/check-written.mjs. Exit code 1 when a promise is broken: it is then printed below the tables.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { collect } from "../dist/data/dataset.js";
import { FidelityMeter } from "../dist/evaluate/fidelity.js";
import { hashTensor, parse, print } from "../dist/ir/text/index.js";
import { loadModel } from "../dist/node/load.js";
import { saveModel } from "../dist/node/save.js";
import { simplify, simplifyWithin } from "../dist/passes/simplify.js";
import { quantize } from "../dist/quantize/weights/quantize-weights.js";
import { describeModel, tensorsInAttribute } from "../dist/recipe/describe-model.js";
import { markdown } from "./measure.mjs";
import { compareShapes } from "./run-time-shapes.mjs";
import { defaultShared, inFolder, openSession, runAll, simplified, simplifyOptions, zoo } from "./zoo.mjs";

/** Largest difference after all passes, relative to the largest magnitude of the output. */
const passTolerance = 1e-5;
/** The same between int8 in wasm and native, both without fusions: native ones may make activations int8. */
const wasmTolerance = 1e-4;

const { values: args } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    samples: { type: "string", default: "4" },
    keep: { type: "string" },
    shared: { type: "string", default: defaultShared },
  },
});

/** Prints the model and reads the text, large tensors known by their hash. */
function throughText(model) {
  const tensors = model
    .graphs()
    .flatMap((graph) => [
      ...graph.initializers.flatMap(({ tensor, sparse }) => tensor ?? [sparse.values, sparse.indices]),
      ...graph.nodes.flatMap((node) => [...node.attributes.values()].flatMap(tensorsInAttribute)),
    ]);
  const byHash = new Map(
    tensors.filter(({ dtype }) => dtype !== "string").map((tensor) => [hashTensor(tensor), tensor]),
  );
  const text = print(model);
  const parsed = parse(text, { tensors: (hash) => byHash.get(hash) });
  return { text, parsed, isSame: print(parsed) === text };
}

function isIdentical(a, b) {
  return a.every((outputs, i) =>
    Object.entries(outputs).every(([name, { dims, data }]) => {
      const other = b[i][name];
      return other?.dims.join() === dims.join() && Buffer.compare(bytesOf(data), bytesOf(other.data)) === 0;
    }),
  );
}

const bytesOf = ({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength);

/** The worst output of `candidate` over all samples: least SQNR in dB, largest relative difference. */
function compareOutputs(reference, candidate) {
  const meter = new FidelityMeter();
  reference.forEach((outputs, i) => void meter.add(outputs, candidate[i]));
  const all = Object.values(meter.result());
  return {
    sqnr: Math.min(...all.map(({ sqnr }) => sqnr)),
    difference: Math.max(...all.map(({ maxRelativeError }) => maxRelativeError)),
  };
}

async function bench({ name, path, data, samples: samplesFor }, folder) {
  const broken = [];
  const promise = (holds, text) => void (holds || broken.push(`${name}: ${text}`));
  const save = async (model, what) => {
    const file = join(folder, `${name}-${what}.onnx`);
    const { bytes } = await saveModel(model, file);
    return { file, bytes };
  };
  const session = await openSession(path);
  const count = Number(args.samples);
  const both = await collect(await samplesFor(session.inputs, 2 * count));
  // Simplifying checks itself on other samples than those that judge it.
  const [samples, others] = [both.slice(0, count), both.slice(count)];
  await session.release();
  const original = await runAll(path, samples);
  const model = loadModel(path);

  const encoded = await save(model, "encoded");
  const { text, parsed, isSame } = throughText(model);
  const printed = await save(parsed, "parsed");
  promise(isSame, "the text of the parsed text differs");
  for (const { file } of [encoded, printed])
    promise(isIdentical(original, await runAll(file, samples)), `${file} gives other outputs`);

  const feeds = samples[0].inputs;
  const shapes = Object.fromEntries(Object.entries(feeds).map(([input, { dims }]) => [input, dims]));
  const about = describeModel(model, { shapes });
  const seen = await compareShapes(model, feeds);
  for (const line of seen.disagreements) promise(false, line);

  const own = compareOutputs(original, await runAll(path, samples, { optimization: "disabled" })).difference;
  const simple = (await simplify(model)).model;
  const folded = await simplified(model);
  const wanted = await runAll(path, others);
  const within = await simplifyWithin(model, simplifyOptions, async (candidate) => {
    return compareOutputs(wanted, await runAll(candidate, others)).difference <= passTolerance;
  });
  const differences = [];
  for (const [what, each] of Object.entries({ folded, within: within.model })) {
    const { file } = await save(each, what);
    differences.push(compareOutputs(original, await runAll(file, samples)).difference);
  }
  const [, difference] = differences;
  promise(difference <= passTolerance, `outputs differ by ${difference}, more than ${passTolerance}`);

  const result = quantize(folded, { dtype: "int8", granularity: "channel" });
  const { file, bytes } = await save(result.model, "int8");
  const native = await runAll(file, samples);
  const wasm = await runAll(file, samples, { runtime: "ort-web", optimization: "basic" });
  const { sqnr } = compareOutputs(original, native);
  const inWasm = compareOutputs(original, wasm);
  const apart = compareOutputs(await runAll(file, samples, { optimization: "basic" }), wasm).difference;
  promise(Number.isFinite(sqnr), "int8: an output is not finite, or nothing was quantized");
  promise(apart <= wasmTolerance, `int8: wasm and native differ by ${apart}`);
  const layers = result.layers();
  const quantized = layers.filter(({ status }) => status === "quantized");
  console.error(`${name}: done`);
  return {
    broken,
    structure: [
      name,
      about.nodes,
      about.params.toLocaleString("en"),
      (about.macs.total / 1e6).toFixed(1) + (about.macs.unknownNodes ? " +" : ""),
      (text.length / 1000).toFixed(0),
      broken.length === 0 ? "yes" : "NO",
      `${seen.given} / ${seen.values}`,
      `${seen.symbolic} / ${seen.values}`,
      countNodes(simple),
      countNodes(folded),
      countNodes(within.model),
      within.fold,
      ...[...differences, own].map(scientific),
    ],
    int8: [
      name,
      data,
      `${quantized.length} of ${layers.length}`,
      (encoded.bytes / 1000).toFixed(0),
      (bytes / 1000).toFixed(0),
      Math.min(...quantized.map((layer) => layer.sqnr)).toFixed(1),
      sqnr.toFixed(1),
      inWasm.sqnr.toFixed(1),
      scientific(apart),
    ],
  };
}

const scientific = (value) => (value === 0 ? "0" : value.toExponential(1));
const countNodes = (model) => model.graphs().reduce((sum, graph) => sum + graph.nodes.length, 0);

const results = await inFolder(args.keep, async (folder) => {
  const list = [];
  for (const row of zoo(args.shared).filter(({ name }) => name.includes(args.only)))
    list.push(await bench(row, folder));
  return list;
});
const structure = [
  "model",
  "nodes",
  "params",
  "MACs (M)",
  "text KB",
  "promises kept",
  "shapes known, sizes given",
  "shapes known, by symbols",
  "nodes simplified",
  "… with a runtime",
  "… within 1e-5",
  "folded within 1e-5",
  "everything folded: outputs differ by",
  "… within 1e-5",
  "ORT's own optimizations",
];
const int8 = [
  "model",
  "inputs",
  "weights quantized",
  "KB before",
  "KB after",
  "least weight SQNR (dB)",
  "SQNR native (dB)",
  "SQNR wasm (dB)",
  "native to wasm, no fusions",
];
console.log(
  markdown(
    structure,
    results.map((row) => row.structure),
  ),
);
console.log(
  `\n${markdown(
    int8,
    results.map((row) => row.int8),
  )}`,
);
const broken = results.flatMap((row) => row.broken);
if (broken.length > 0) console.log(`\nBroken promises:\n${broken.map((line) => `- ${line}`).join("\n")}`);
process.exitCode = broken.length > 0 ? 1 : 0;
