/**
 * @file What a teacher is worth: a small network on CIFAR-10 trained on labels alone, and after ResNet-56 in several ways.
 *
 * Usage: node bench/distill.mjs --only ARM --seed N --json FILE [--threads N] [--epochs N] [--samples N] [--cache FILE] [--shared FOLDER]
 *             [--validate] [--validation SHARE] [--temperature T]
 *        node bench/distill.mjs --table FILE…
 * Needs `npm run build`. A row trains one student on 9,000 of the 10,000 training images, flipped and shifted, in 4 variants each; the
 * other 1,000, drawn by the seed, choose the epoch; the test images are judged once, with the weights that were chosen. Nothing
 * but the loss differs between arms. --validate leaves the test images alone: with --validation 0.5, say, settings
 * can be compared.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { batches, unbatch } from "../dist/data/batch.js";
import { chooseMetric } from "../dist/evaluate/choose-metric.js";
import { nn, saveModel } from "../dist/node/index.js";
import { runRecipe } from "../dist/recipe/node/run-recipe.js";
import { markdown } from "./measure.mjs";
import { dataSpecs, defaultShared, inFolder, openSession, openSpec } from "./zoo.mjs";

const { values: args, positionals } = parseArgs({
  options: {
    only: { type: "string" },
    seed: { type: "string", default: "0" },
    json: { type: "string" },
    table: { type: "boolean", default: false },
    threads: { type: "string", default: "2" },
    epochs: { type: "string", default: "24" },
    samples: { type: "string", default: "10000" },
    cache: { type: "string" },
    validate: { type: "boolean", default: false },
    validation: { type: "string", default: "0.1" },
    temperature: { type: "string" },
    shared: { type: "string", default: defaultShared },
  },
  allowPositionals: true,
});

/** Behind the last block: 64 channels of 8 × 8 in both. Larger values would not fit into memory for all samples. */
const map = { student: "stage3", teacher: "layer3.8.relu2" };
/** The mean of each of those channels. */
const features = { student: "features", teacher: "flat" };

/** Options of the distillation; none: labels alone. */
const arms = {
  alone: { title: "labels alone" },
  soft: { title: "soft targets, T 4, labels 0.1", distill: {} },
  unlabelled: { title: "soft targets, no labels", distill: { labels: 0 } },
  attention: { title: "soft targets + attention", distill: { hints: [{ ...map, loss: "attention" }] } },
  hints: { title: "soft targets + a hint through a projection", distill: { hints: [{ ...map, project: "always" }] } },
  relations: {
    title: "soft targets + relations",
    distill: {
      hints: [
        { ...features, loss: "relation-distance" },
        { ...features, loss: "relation-angle", weight: 2 },
      ],
    },
  },
};

if (args.table) console.log(table(positionals));
else await row(args.only, Number(args.seed));

function studentNetwork(seed) {
  const conv = (channels, stride = 1) => nn.conv2d(channels, 3, { padding: 1, stride, bias: false });
  const block = (channels, stride) =>
    nn.sequential([
      conv(channels, stride),
      nn.batchNorm(),
      nn.relu(),
      nn.residual([conv(channels), nn.batchNorm()]),
      nn.relu(),
    ]);
  const model = nn.build([block(16, 1), block(32, 2), block(64, 2), nn.globalAvgPool(), nn.flatten(), nn.linear(10)], {
    input: [3, 32, 32],
    inputName: "input",
    seed,
    name: "student",
  });
  const names = { block1: "stage1", block2: "stage2", block3: "stage3", flatten1: "features" };
  for (const [from, to] of Object.entries(names)) model.graph.rename(model.graph.find(from), to);
  return model;
}

async function row(arm, seed) {
  const start = performance.now();
  const cpu = process.cpuUsage();
  const { distill } = arms[arm];
  const training = {
    samples: Number(args.samples),
    validation: Number(args.validation),
    threads: Number(args.threads),
    epochs: Number(args.epochs),
    batchSize: 64,
    optimizer: { name: "nesterov", weightDecay: 5e-4 },
    rate: 0.05,
    schedule: { name: "cosine", warmup: 0.05 },
    augment: { flip: true, crop: 4, variants: 4 },
    seed,
  };
  const result = await inFolder(undefined, async (folder) => {
    const [student, trained] = ["student.onnx", "trained.onnx"].map((name) => join(folder, name));
    const network = studentNetwork(seed);
    await saveModel(network, student);
    const teacher = resolve(args.shared, "data", "models", "resnet56_cifar10.onnx");
    const cache = resolve(args.cache ?? join(folder, "answers.npz"));
    const temperature = args.temperature !== undefined && { temperature: Number(args.temperature) };
    const step = distill
      ? { distill: { ...training, teacher, cache, ...temperature, ...distill } }
      : { finetune: training };
    const data = {
      ...dataSpecs.cifar,
      path: "cifar10-jpeg/train_x.u8.bin",
      labels: { path: "cifar10-jpeg/train_y.u8.bin", dtype: "uint8" },
    };
    const recipe = { model: student, output: trained, data, seed, steps: [{ simplify: { level: "constants" } }, step] };
    const { manifest } = await runRecipe(recipe, { folder: join(args.shared, "data"), progress });
    const { validation, history, notes } = manifest.steps.at(-1).report;
    const params = network.graph.initializers.reduce((sum, { tensor }) => sum + (tensor?.size ?? 0), 0);
    const test = args.validate ? undefined : await accuracy(trained);
    const losses = history.map(({ loss }) => loss);
    return { arm, seed, params, validation: validation.after, epoch: validation.epoch, test, losses, notes };
  });
  const { user, system } = process.cpuUsage(cpu);
  const seconds = { wall: (performance.now() - start) / 1000, cpu: (user + system) / 1e6 };
  const record = { ...result, settings: { ...training, seed: undefined }, seconds };
  console.log(JSON.stringify(record));
  if (!args.json) return;
  mkdirSync(dirname(resolve(args.json)), { recursive: true });
  writeFileSync(args.json, `${JSON.stringify(record)}\n`);
}

/** Prints a line about every tenth of the training. */
function progress(label, total) {
  if (label !== "training") return { update: () => {}, end: () => {} };
  let next = total / 10;
  const update = (done, note = "") => {
    if (done < next) return;
    next += total / 10;
    console.error(`${label}: ${done} of ${total} ${note}`);
  };
  return { update, end: () => {} };
}

async function accuracy(path) {
  const session = await openSession(path, { threads: Number(args.threads) });
  const score = (await chooseMetric("top-1", {})).create();
  for await (const batch of batches(await openSpec(dataSpecs.cifar, session.inputs, args.shared), { size: 100 })) {
    const outputs = unbatch(await session.run(batch.inputs), batch.samples.length);
    for (const [i, sample] of batch.samples.entries()) score.add(outputs[i], sample);
  }
  await session.release();
  return score.value();
}

function table(files) {
  const records = files.map((file) => JSON.parse(readFileSync(file, "utf8")));
  const of = (arm, key) => records.filter((record) => record.arm === arm).map((record) => record[key]);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const spread = (values) =>
    values.includes(undefined)
      ? ""
      : `${mean(values).toFixed(2)} (${values.map((value) => value.toFixed(2)).join(", ")})`;
  const present = Object.keys(arms).filter((arm) => of(arm, "seed").length > 0);
  const base = mean(of("alone", "test"));
  const rows = present.map((arm) => [
    arms[arm].title,
    spread(of(arm, "validation")),
    spread(of(arm, "test")),
    arm === "alone" ? "" : (mean(of(arm, "test")) - base).toFixed(2),
    mean(of(arm, "seconds").map(({ cpu }) => cpu)).toFixed(0),
  ]);
  return markdown(["student", "validation, %: mean (seeds)", "test, %: mean (seeds)", "gain", "CPU s"], rows);
}
