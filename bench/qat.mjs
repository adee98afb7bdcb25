/**
 * @file What quantization-aware training regains of the accuracy that rounding loses: ResNet-20 on CIFAR-10.
 *
 * Usage: node bench/qat.mjs [--settings TEXT] [--samples N] [--epochs N] [--rate X] [--seeds N] [--shared FOLDER]
 * Needs `npm run build`. The fp32 model is quantized, and trained after itself on training images without their labels; it is
 * judged on the test images, whose labels nothing has seen, with graph optimizations on and off. No epoch is chosen: the last one counts.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { batches, unbatch } from "../dist/data/batch.js";
import { collect, datasetOf } from "../dist/data/dataset.js";
import { chooseMetric } from "../dist/evaluate/choose-metric.js";
import { runRecipe } from "../dist/recipe/node/run-recipe.js";
import { markdown } from "./measure.mjs";
import { dataSpecs, defaultShared, inFolder, openSession, openSpec, zoo } from "./zoo.mjs";

const { values: args } = parseArgs({
  options: {
    settings: { type: "string", default: "" },
    samples: { type: "string", default: "4000" },
    epochs: { type: "string", default: "3" },
    rate: { type: "string", default: "0.0005" },
    seeds: { type: "string", default: "1" },
    shared: { type: "string", default: defaultShared },
  },
});

const training = {
  ...dataSpecs.cifar,
  path: "cifar10-jpeg/train_x.u8.bin",
  labels: { path: "cifar10-jpeg/train_y.u8.bin", dtype: "uint8" },
};

const settings = [
  { name: "static, int4 weights, uint8 activations", step: { static: { target: "node-x64", weights: "int4" } } },
  { name: "int2 weights", step: { quantize: { dtype: "int2", granularity: "channel", scale: "mse" } } },
];

const metric = await chooseMetric("top-1", {});
const { path } = zoo(args.shared).find(({ name }) => name === "resnet20_cifar10");
const session = await openSession(path);
const { inputs } = session;
await session.release();
const test = await collect(await openSpec(dataSpecs.cifar, inputs, args.shared));

async function judge(file, optimization) {
  const score = metric.create();
  const opened = await openSession(file, { optimization });
  for await (const batch of batches(datasetOf("test", test), { size: 50, pad: "split" })) {
    const outputs = unbatch(await opened.run(batch.inputs), batch.samples.length);
    for (const [i, sample] of batch.samples.entries()) score.add(outputs[i], sample);
  }
  await opened.release();
  return score.value();
}

async function row(name, model, steps, file, seed = 0) {
  const start = process.cpuUsage();
  const recipe = { model, output: file, data: training, seed, steps };
  await runRecipe(recipe, { folder: join(args.shared, "data") });
  const { user, system } = process.cpuUsage(start);
  const scores = [await judge(file, "all"), await judge(file, "disabled")];
  console.error(name, ...scores);
  return [name, ...scores.map((score) => score.toFixed(2)), ((user + system) / 1e6).toFixed(0)];
}

await inFolder(undefined, async (folder) => {
  const fp32 = [await judge(path, "all"), await judge(path, "disabled")];
  const rows = [["fp32", ...fp32.map((score) => score.toFixed(2)), ""]];
  const numbers = { samples: Number(args.samples), epochs: Number(args.epochs), rate: Number(args.rate) };
  const distill = { ...numbers, teacher: "original", labels: 0, validation: 0, augment: { flip: true, crop: 2 } };
  for (const { name, step } of settings.filter((each) => each.name.includes(args.settings))) {
    const before = [{ simplify: {} }, step];
    rows.push(await row(name, path, before, join(folder, "quantized.onnx")));
    for (const scales of ["fixed", "learned"])
      for (let seed = 0; seed < Number(args.seeds); seed++) {
        const trained = [...before, { distill: { ...distill, scales } }];
        const title = `… trained, scales ${scales}${args.seeds === "1" ? "" : `, seed ${seed}`}`;
        rows.push(await row(title, path, trained, join(folder, `${scales}${seed}.onnx`), seed));
      }
  }
  console.log(markdown(["ResNet-20, top-1 in %", "optimized", "not optimized", "CPU s"], rows));
});
