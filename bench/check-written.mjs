/**
 * @file Writes every format of quantized weights, from models of several kinds, and has ONNX Runtime (Python) load
 * the files and onnx.checker judge them.
 *
 * Usage: node bench/check-written.mjs [FOLDER…] [--keep FOLDER] [--shared FOLDER]
 * The .onnx files of each FOLDER, as other benches --keep them, are loaded and judged too. Needs `npm run build` and
 * bench/setup-python.sh. Exit code 1 when a file is refused, or when one of the formats below was not written.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadModel } from "../dist/node/load.js";
import { saveModel } from "../dist/node/save.js";
import { quantize } from "../dist/quantize/weights/quantize-weights.js";
import { markdown } from "./measure.mjs";
import { defaultShared, inFolder, root, simplified, zoo } from "./zoo.mjs";

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: { keep: { type: "string" }, shared: { type: "string", default: defaultShared } },
});

/** A convolutional one, one with Gemm, one with an LSTM in the branch of an If, one of opset 9, a transformer. */
const models = [
  "resnet20_cifar10",
  "mlperf_kws_dscnn",
  "silero_vad_half",
  "ch_ppocr_mobile_v2.0_cls_infer",
  "stories260K",
];

const integers = ["int8", "uint8", "int4", "uint4", "int2", "uint2"];
const granularities = ["model", "tensor", "channel", "group:32"];

/** Options of quantize; `external`: weights in a file beside the model. */
const settings = [
  { dtype: "float16" },
  { dtype: "bfloat16" },
  ...integers.flatMap((dtype) => granularities.map((granularity) => ({ dtype, granularity }))),
  ...integers.map((dtype) => ({ dtype, granularity: "group:16", format: "dequantize" })),
  { dtype: "int8", granularity: "group:32", format: "matmul-nbits" },
  { dtype: "uint8", granularity: "group:32", format: "matmul-nbits" },
  { dtype: "int8", bits: 5, granularity: "channel" },
  { dtype: "int8", granularity: "channel", external: true },
  { dtype: "int4", granularity: "group:32", external: true },
  { dtype: "float16", external: true },
];

const ways = ["per tensor", "per channel", "blocked"];
/** What must be among the files. */
const formats = [
  ...integers.flatMap((dtype) => ways.map((way) => `DequantizeLinear ${dtype} ${way}`)),
  ...["MatMulNBits", "GatherBlockQuantized"].flatMap((op) => [2, 4, 8].map((bits) => `${op} ${bits} bits`)),
  "MatMulNBits with zero points",
  "Cast float16",
  "Cast bfloat16",
  "external data",
];

/** The formats that a model holds, in the words of the list above. */
function formatsIn(model) {
  return model
    .graphs()
    .flatMap((graph) => graph.nodes)
    .flatMap((node) => {
      const { opType } = node;
      const [stored] = node.inputs;
      if (opType === "DequantizeLinear") {
        // After a lookup of rows, what is dequantized is computed from the constant.
        const codes = stored.tensor ?? stored.producer.inputs[0].tensor;
        const scales = node.input(1);
        const isOne = scales.tensor?.size === 1;
        return `${opType} ${codes.dtype} ${node.int("block_size", 0) ? ways[2] : isOne ? ways[0] : ways[1]}`;
      }
      if (opType === "MatMulNBits")
        return [`${opType} ${node.int("bits", 4)} bits`, ...(node.inputs[3] ? [`${opType} with zero points`] : [])];
      if (opType === "GatherBlockQuantized") return `${opType} ${node.int("bits", 4)} bits`;
      const dtype = stored?.tensor?.dtype ?? stored?.producer?.inputs[0]?.tensor?.dtype;
      return opType === "Cast" && dtype ? `${opType} ${dtype}` : [];
    });
}

async function writeAll(folder) {
  const written = new Map(formats.map((format) => [format, 0]));
  for (const name of models) {
    const { path } = zoo(args.shared).find((model) => model.name === name);
    const simple = await simplified(loadModel(path));
    for (const { external = false, ...options } of settings) {
      const { model } = quantize(simple, options);
      const label = [name, ...Object.values(options), ...(external ? ["external"] : [])].join("-").replaceAll(":", "-");
      await saveModel(model, join(folder, `${label}.onnx`), { external: external ? "always" : "auto" });
      const found = new Set([...formatsIn(model), ...(external ? ["external data"] : [])]);
      for (const format of found) if (written.has(format)) written.set(format, written.get(format) + 1);
    }
    console.error(`${name}: ${settings.length} files`);
  }
  return written;
}

const refused = await inFolder(args.keep, async (folder) => {
  mkdirSync(folder, { recursive: true });
  const written = await writeAll(folder);
  console.log(`${markdown(["format", "files"], [...written])}\n`);
  const files = [folder, ...positionals].flatMap((each) =>
    readdirSync(each)
      .filter((file) => file.endsWith(".onnx"))
      .map((file) => join(each, file)),
  );
  const python = join(root, ".venv", "bin", "python");
  const { status } = spawnSync(python, [join(root, "bench", "check-files.py"), ...files], { stdio: "inherit" });
  const missing = [...written].filter(([, count]) => count === 0).map(([format]) => format);
  if (missing.length > 0) console.log(`\nNot written: ${missing.join(", ")}`);
  return status !== 0 || missing.length > 0;
});
process.exitCode = refused ? 1 : 0;
