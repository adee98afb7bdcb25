/**
 * @file What criteria and schedules of pruning are worth: accuracy right after channels were cut, by criterion and ranking; and accuracy and bytes of
 * weights that are pruned at once or in steps, with the same training in all, then int8.
 *
 * Usage: node bench/prune-criteria.mjs --only ROW [--seed N] [--threads N] [--samples N] [--epochs N] [--json FILE] [--shared FOLDER]
 *        node bench/prune-criteria.mjs --table FILE…
 * Needs `npm run build`. Criteria look at 256 training images (keywords: the first 200 of 1,000), training sees 4,000 others; all are judged on data that
 * neither saw, and no epoch is chosen. `dense` is trained in the same way.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { collect, datasetOf, take } from "../dist/data/dataset.js";
import { loadModel } from "../dist/node/load.js";
import { measureSize } from "../dist/node/size.js";
import { constantToInitializer } from "../dist/passes/constant-to-initializer.js";
import { pruneChannels } from "../dist/prune/channels/prune-channels.js";
import { pruneOptions } from "../dist/prune/options.js";
import { inputsOf } from "../dist/recipe/data/inputs-of.js";
import { runRecipe } from "../dist/recipe/node/run-recipe.js";
import { cifarTrain } from "./prune-tasks.mjs";
import { judge, singleRows, spread, tableOf, timeOf } from "./single-rows.mjs";
import { dataSpecs, openSession, openSpec, simplified, zoo } from "./zoo.mjs";

const models = {
  resnet20: { model: "resnet20_cifar10", test: dataSpecs.cifar, seen: 256, train: cifarTrain },
  resnet56: { model: "resnet56_cifar10", test: dataSpecs.cifar, seen: 256, train: cifarTrain },
  keywords: { model: "mlperf_kws_dscnn", test: dataSpecs.keywords, seen: 200 },
};

const choices = [
  { criterion: "random" },
  { criterion: "l1" },
  { criterion: "l2" },
  { criterion: "bn-gamma" },
  { criterion: "fpgm" },
  { criterion: "activation-norm" },
  { criterion: "wanda" },
  { criterion: "taylor" },
  { criterion: "taylor", gradients: "outputs" },
  { criterion: "fisher" },
  { criterion: "fisher", gradients: "outputs" },
  { criterion: "obd" },
];
const nameOf = ({ criterion, gradients }) => (gradients ? `${criterion}, without labels` : criterion);
const rankings = ["layer", "global", "sensitivity"];
const RATIO = 0.3;

const criteriaRow =
  (key, ranking) =>
  async ({ seed, threads, samples = Number.POSITIVE_INFINITY, shared }) => {
    const { model: name, test, seen, train } = models[key];
    const whole = constantToInitializer(loadModel(zoo(shared).find((each) => each.name === name).path)).model;
    const model = await simplified(whole);
    const all = await collect(await openSpec(test, inputsOf(model), shared));
    const known = train
      ? await collect(take(await openSpec(train, inputsOf(model), shared), seen))
      : all.slice(0, seen);
    const held = (train ? all : all.slice(seen)).slice(0, samples);
    const calibration = {
      data: datasetOf("seen", known.slice(0, samples)),
      open: (probed) => openSession(probed, { runtime: "ort-node", optimization: "all", threads }),
    };
    const results = {};
    // Sensitivity runs the model for every group and share: three criteria have to do.
    const asked = choices.filter(
      ({ criterion }) => ranking !== "sensitivity" || ["l1", "taylor", "fisher"].includes(criterion),
    );
    for (const choice of asked)
      for (const recover of ["none", "least-squares"]) {
        const options = pruneOptions.parse({ ...choice, ratio: RATIO, by: "macs", ranking, recover, seed });
        // Batch norms that are folded into weights have no factors any more.
        const given = choice.criterion === "bn-gamma" ? whole : model;
        const { model: pruned } = await pruneChannels(given, options, {
          ...calibration,
          // Gradients are of single samples; everything else is the same for any batch.
          ...(ranking === "sensitivity" &&
            !["taylor", "fisher", "obd"].includes(choice.criterion) && { batchSize: 32 }),
        });
        results[`${nameOf(choice)} ${recover}`] = await judge(pruned, held, "top-1", { threads });
      }
    return { dense: await judge(model, held, "top-1", { threads }), results, count: held.length };
  };

const weights = { structure: "weights" };
const schedules = {
  dense: {},
  "50 once": { ...weights, ratio: 0.5 },
  "70 cubic": { ...weights, ratio: 0.7, schedule: "cubic", steps: 4 },
  "90 once": { ...weights, ratio: 0.9 },
  "90 iterative": { ...weights, ratio: 0.9, schedule: "iterative", steps: 4 },
  "90 cubic": { ...weights, ratio: 0.9, schedule: "cubic", steps: 4 },
  "90 cubic fisher": {
    ...weights,
    ratio: 0.9,
    schedule: "cubic",
    steps: 4,
    criterion: "fisher",
    calibrationSamples: 256,
  },
  "2:4 once": { structure: "2:4" },
};
/** Half of them while more and more goes, the other half afterwards. */
const EPOCHS = 8;
/** Training images that criteria do not look at come behind these. */
const TRAINED = 4000;

const scheduleRow =
  (prune) =>
  async ({ seed, threads, samples = TRAINED, epochs = EPOCHS, shared, folder }) => {
    const { path } = zoo(shared).find(({ name }) => name === "resnet20_cifar10");
    const training = {
      rate: 0.001,
      augment: { flip: true, crop: 2 },
      validation: 0,
      threads,
      samples,
      data: cifarTrain,
    };
    const finetune = { ...training, epochs: epochs / 2 / (prune.steps ?? 1) };
    const step = prune.structure
      ? { prune: { ...prune, finetune, compressed: false, ...(prune.criterion && { calibrate: cifarTrain }) } }
      : { finetune };
    const output = join(folder, "int8.onnx");
    // Batch norms are folded once all is trained: without them a network that lost 90 % of its weights hardly learns again.
    const steps = [
      step,
      { finetune: { ...training, epochs: epochs / 2 } },
      { simplify: {} },
      { quantize: { dtype: "int8" } },
    ];
    const { manifest } = await runRecipe({ model: path, output, seed, steps }, { folder: join(shared, "data") });
    const held = await collect(await openSpec(dataSpecs.cifar, inputsOf(loadModel(path)), shared));
    const { brotli } = await measureSize([output], {});
    const layers = manifest.steps[0].report.layers ?? [];
    return {
      top1: await judge(output, held, "top-1", { threads }),
      before: await judge(path, held, "top-1", { threads }),
      bytes: statSync(output).size,
      brotli,
      zeros:
        layers.reduce((sum, layer) => sum + layer.zeros, 0) / layers.reduce((sum, layer) => sum + layer.weights, 1),
    };
  };

function tables(runs) {
  const criteria = Object.keys(models).flatMap((key) => {
    const own = rankings.flatMap((ranking) => runs.get(`${key}-${ranking}`)?.map((run) => ({ ranking, ...run })) ?? []);
    if (own.length === 0) return [];
    const header = [
      `${key}, dense ${own[0].dense.toFixed(1)} %`,
      ...own.map(({ ranking }) => `${ranking}: none / least-squares`),
    ];
    const percent = (x) => (x === undefined ? "" : x.toFixed(1));
    return tableOf(
      header,
      choices.map((choice) => [
        own[0].row,
        () => [
          nameOf(choice),
          ...own.map(({ results }) =>
            ["none", "least-squares"].map((how) => percent(results[`${nameOf(choice)} ${how}`])).join(" / "),
          ),
        ],
      ]),
      runs,
    );
  });
  const header = [
    "ResNet-20",
    "zeros",
    "top-1 trained, int8",
    "bytes",
    "brotli",
    "brotli against dense",
    "seeds",
    "CPU / wall s",
  ];
  const dense = runs.get("dense")?.[0]?.brotli;
  const scheduled = tableOf(
    header,
    Object.keys(schedules).map((name) => [
      name,
      (each) => [
        name,
        `${(100 * each[0].zeros).toFixed(0)} %`,
        spread(each.map(({ top1 }) => top1)),
        each[0].bytes,
        each[0].brotli,
        dense ? (each[0].brotli / dense).toFixed(2) : "",
        each.length,
        timeOf(each),
      ],
    ]),
    runs,
  );
  return [...criteria, ...scheduled];
}

await singleRows(
  {
    ...Object.fromEntries(
      Object.keys(models).flatMap((key) => rankings.map((ranking) => [`${key}-${ranking}`, criteriaRow(key, ranking)])),
    ),
    ...Object.fromEntries(Object.entries(schedules).map(([name, prune]) => [name, scheduleRow(prune)])),
  },
  tables,
);
