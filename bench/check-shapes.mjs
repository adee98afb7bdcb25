/**
 * @file Checks shape inference against ONNX' own backend test data (the folder onnx/backend/test/data of the Python wheel):
 * infers every model without the types it declares for its outputs, and compares with the expected output tensors.
 * Build first, then: node bench/check-shapes.mjs FOLDER [--disagree] [--unknown]
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { decodeTensor } from "../dist/ir/serde/decode-tensor.js";
import { loadModel } from "../dist/node/load.js";
import { infer } from "../dist/ops/infer.js";
import { decodeMessage } from "../dist/proto/decode.js";
import { MemorySource } from "../dist/util/bytes.js";

const [folder, ...flags] = process.argv.slice(2);
if (!folder) {
  console.error("usage: node bench/check-shapes.mjs FOLDER [--disagree] [--unknown]");
  process.exit(2);
}

const rows = new Map();
const models = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith("model.onnx"));
for (const path of models.sort()) {
  const directory = join(folder, path, "..");
  const data = join(directory, "test_data_set_0");
  if (!existsSync(data)) continue;
  const model = loadModel(join(folder, path));
  const ops = model.graph.nodes.map((node) => node.opType);
  const op = ops.length === 1 ? ops[0] : "(several nodes)";
  const row = rows.get(op) ?? { agree: 0, unknown: 0, disagree: 0, error: 0 };
  rows.set(op, row);
  const report = (kind, text) => {
    row[kind]++;
    if (kind !== "agree" && flags.includes(`--${kind === "error" ? "disagree" : kind}`))
      console.log(`${kind} ${basename(directory)}: ${text}`);
  };
  try {
    check(model, data, report);
  } catch (error) {
    report("error", error.message);
  }
}

function check(model, data, report) {
  const { graph } = model;
  const expected = graph.outputs.map((value, i) => ({ value, tensor: readTensor(value.type, data, `output_${i}`) }));
  graph.inputs.forEach((value, i) => {
    const tensor = readTensor(value.type, data, `input_${i}`);
    // Integer inputs are shapes, axes and sizes, short float vectors are scales: make them constants.
    if (tensor && (/^u?int|bool/.test(tensor.dtype) || tensor.size <= 4)) value.tensor = tensor;
  });
  for (const value of [...graph.inputs]) if (value.tensor) graph.removeInput(value);
  for (const node of graph.nodes) for (const value of node.outputs) if (value) value.type = undefined;
  const { types } = infer(model);
  for (const { value, tensor } of expected) {
    if (!tensor) continue;
    const type = types.get(value);
    const text = `${value.name} ${type?.dtype}[${type?.shape}] against ${tensor.dtype}[${tensor.dims}]`;
    if (!type?.shape) report("unknown", text);
    else if (type.dtype !== tensor.dtype || type.shape.length !== tensor.dims.length) report("disagree", text);
    else if (type.shape.some((dim, i) => typeof dim === "number" && dim !== tensor.dims[i])) report("disagree", text);
    else report(type.shape.every((dim) => typeof dim === "number") ? "agree" : "unknown", text);
  }
}

function readTensor(type, data, name) {
  const path = join(data, `${name}.pb`);
  if (type?.kind !== "tensor" || !existsSync(path)) return undefined;
  return decodeTensor(decodeMessage(new MemorySource(readFileSync(path)), "TensorProto"), name, () => undefined);
}

const total = { agree: 0, unknown: 0, disagree: 0, error: 0 };
console.log("operator                     agree  unknown  disagree  error");
for (const [op, row] of [...rows].sort()) {
  for (const kind of Object.keys(total)) total[kind] += row[kind];
  print(op, row);
}
print("all", total);

function print(op, { agree, unknown, disagree, error }) {
  const cells = [agree, unknown, disagree, error].map((count, i) => String(count).padStart([6, 9, 10, 7][i]));
  console.log(op.padEnd(28) + cells.join(""));
}
