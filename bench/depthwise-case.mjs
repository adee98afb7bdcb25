/**
 * @file The case of a depthwise net: inverted residuals distilled from ResNet-56 on CIFAR-10 that went through JPEG, then cut as
 * `tersor prune` cuts by default, judged before and after three epochs of distillation.
 *
 * Usage: node bench/depthwise-case.mjs --only teacher|case|cut|trained --keep FOLDER [--threads N] [--epochs N] [--samples N] [--json FILE] [--shared FOLDER]
 *        node bench/depthwise-case.mjs --table FILE…
 * Needs `npm run build`. --keep is a folder outside of the repository: `teacher` leaves tuned.onnx there, `case` (about an hour on one core)
 * case.onnx, with a checkpoint after every epoch that the same command goes on from; `cut` and `trained` read them.
 * A tenth of the training images chooses the epoch; the test images are judged once and decide nothing.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { nn, saveModel } from "../dist/node/index.js";
import { cut, openLab, timesFewer } from "./prune-train/lab.mjs";
import { singleRows, tableOf } from "./single-rows.mjs";

/** Inverted residuals (Sandler et al. 2018, https://arxiv.org/abs/1801.04381) for 32 × 32: [expansion, channels, stride]. */
const blocks = [
  [2, 16, 1],
  [3, 24, 2],
  [4, 24, 1],
  [4, 48, 2],
  [4, 48, 1],
  [4, 80, 1],
  [4, 80, 1],
];
const STEM = 16;
const HEAD = 160;

function caseNetwork(seed) {
  const normed = (layer) => [layer, nn.batchNorm()];
  const pointwise = (channels) => normed(nn.conv2d(channels, 1, { bias: false }));
  const layers = [...normed(nn.conv2d(STEM, 3, { padding: 1, bias: false })), nn.relu()];
  let width = STEM;
  for (const [expansion, channels, stride] of blocks) {
    const inside = [
      ...pointwise(width * expansion),
      nn.relu(),
      ...normed(nn.depthwiseConv2d(3, { padding: 1, stride, bias: false })),
      nn.relu(),
      ...pointwise(channels),
    ];
    layers.push(stride === 1 && channels === width ? nn.residual(inside) : nn.sequential(inside));
    width = channels;
  }
  layers.push(...pointwise(HEAD), nn.relu(), nn.globalAvgPool(), nn.flatten(), nn.linear(10));
  return nn.build(layers, { input: [3, 32, 32], inputName: "input", seed, name: "inverted-residuals" });
}

const EPOCHS_TEACHER = 4;
const EPOCHS_CASE = 18;
const EPOCHS_AFTER = 3;

const teacherOf = (lab) => lab.makeOnce("tuned", [lab.finetune(EPOCHS_TEACHER)]);

async function teacher(settings) {
  const lab = await openLab("resnet56", settings);
  return { "top-1": await lab.judge((await teacherOf(lab)).file) };
}

async function made(settings) {
  const lab = await openLab("resnet56", settings);
  const { folder, seed } = settings;
  const file = join(folder, "case.onnx");
  if (existsSync(file)) return { "top-1": await lab.judge(file) };
  const untrained = join(folder, "untrained.onnx");
  await saveModel(caseNetwork(seed), untrained);
  const learn = lab.distill(EPOCHS_CASE, {
    teacher: (await teacherOf(lab)).file,
    cache: join(folder, "answers.npz"),
    checkpoint: join(folder, "checkpoint"),
    resume: true,
    labels: 0.1,
    validation: 0.1,
    rate: 0.05,
    optimizer: { name: "nesterov", weightDecay: 2e-4 },
    augment: { flip: true, crop: 4, variants: 4 },
    log: join(folder, "case.jsonl"),
  });
  await lab.make("case", [learn], untrained);
  return { "top-1": await lab.judge(file) };
}

/** As `tersor prune case.onnx --ratio 0.3 --by macs --calibrate …`, with 256 training images. */
const RATIO = 0.3;

async function cutOnly(settings) {
  const lab = await openLab("resnet56", settings);
  const dense = join(settings.folder, "case.onnx");
  const { file, reports } = await lab.make("cut", [{ simplify: { level: "all" } }, cut(RATIO, lab.calibration)], dense);
  const { approach, ...report } = reports[1];
  return {
    "MACs, times fewer": timesFewer(report),
    dense: await lab.judge(dense),
    "top-1": await lab.judge(file),
    approach,
  };
}

/** Cut and then distilled from the dense net, without labels; batch norms are folded once all is trained. */
async function cutTrained(settings) {
  const lab = await openLab("resnet56", settings);
  const dense = join(settings.folder, "case.onnx");
  const learn = lab.distill(EPOCHS_AFTER, {
    teacher: dense,
    rate: 0.01,
    optimizer: { name: "nesterov", weightDecay: 2e-4 },
    augment: { flip: true, crop: 4, variants: 4 },
  });
  const steps = [
    { simplify: { level: "constants" } },
    cut(RATIO, lab.calibration),
    learn,
    { simplify: { level: "all" } },
  ];
  const { file, reports } = await lab.make("cut-trained", steps, dense);
  return { "MACs, times fewer": timesFewer(reports[1]), "top-1": await lab.judge(file) };
}

const rows = { teacher, case: made, cut: cutOnly, trained: cutTrained };
const cells = (row) => [row, ([run]) => [row, run["MACs, times fewer"]?.toFixed(2) ?? "1", run["top-1"].toFixed(2)]];
await singleRows(rows, (runs) => tableOf(["row", "MACs, times fewer", "top-1, %"], Object.keys(rows).map(cells), runs));
