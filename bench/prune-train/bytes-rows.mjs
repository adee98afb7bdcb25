/** @file Rows of single weights: zeros, training with the zeros kept, then integers or a table of values; bytes after brotli. */
import { openLab } from "./lab.mjs";

/** How a trained sparse model is stored in the end. */
const forms = {
  "int8 per channel": { dtype: "int8", granularity: "channel" },
  "256 values": { dtype: "uint8", format: "codebook" },
  "16 values": { dtype: "uint4", format: "codebook" },
};

/** Bytes after brotli, how many times fewer than the fp32 file has, and the metric. */
const sizeRow = (lab, network, what, size, fp32, value) => ({
  network: `${network}: bytes`,
  what,
  KB: size.bytes / 1000,
  "KB, brotli": size.brotli / 1000,
  "times smaller": fp32.bytes / size.brotli,
  [`${lab.metric}, %`]: value,
});

/** The forms of a float model. */
async function stored(lab, network, zeros, file, fp32) {
  const rows = [];
  const row = (form, size, value) => sizeRow(lab, network, `${zeros}, ${form}`, size, fp32, value);
  rows.push(row("fp32", await lab.size(file), await lab.judge(file)));
  for (const [form, quantize] of Object.entries(forms)) {
    const made = await lab.make("stored", [{ simplify: {} }, { quantize }], file);
    rows.push(row(form, await lab.size(made.file), await lab.judge(made.file)));
  }
  return rows;
}

const zeros = (ratio, more) => ({ prune: { structure: "weights", ratio, compressed: false, ...more } });
const percent = (ratio) => `${(100 * ratio).toFixed(0)} % zeros`;

/** ResNet-20 after as many epochs as the dense one gets; much is taken in several cuts, an epoch after each but the last, which gets the rest. */
const resnet20 = (title, cuts, epochs) => async (settings) => {
  const lab = await openLab("resnet20", settings);
  const between = cuts.slice(1).map(() => lab.finetune(1, { validation: 0 }));
  const last = lab.finetune(epochs - between.length);
  const steps = [...cuts.flatMap((step, i) => [step, between[i] ?? last]), ...(cuts.length === 0 ? [last] : [])];
  const { file } = await lab.make("sparse", steps);
  const trained = [...between, last].reduce((sum, { finetune }) => sum + finetune.epochs, 0);
  return stored(lab, "ResNet-20", `${title}, ${trained} epochs`, file, await lab.size(lab.model));
};

/** More and more zeros, learned from the network that was trained as long without any. */
async function resnet20Distilled(settings) {
  const lab = await openLab("resnet20", settings);
  const fp32 = await lab.size(lab.model);
  const teacher = (await lab.make("teacher", [lab.finetune(EPOCHS)])).file;
  const rows = [];
  let from = teacher;
  for (const ratio of [0.7, 0.8]) {
    const learn = lab.distill(EPOCHS_DISTILLED, { teacher, labels: 0.1, validation: 0.1 });
    const { file } = await lab.make(`sparse${100 * ratio}`, [zeros(ratio), learn], from);
    const epochs = `distilled, ${lab.epochs(EPOCHS_DISTILLED)} epochs`;
    rows.push(...(await stored(lab, "ResNet-20", `${percent(ratio)}, ${epochs}`, file, fp32)));
    from = file;
  }
  return rows;
}

/** The article's network, more and more of it, with training after each cut. */
async function article(settings) {
  const lab = await openLab("article", settings);
  const fp32 = await lab.size(lab.model);
  const rows = await stored(lab, "article's CNN", "dense", lab.model, fp32);
  let from = lab.model;
  for (const [ratio, epochs] of [
    [0.8, 1],
    [0.9, 1],
    [0.95, 3],
    [0.97, 3],
  ]) {
    const learn = lab.finetune(epochs, { validation: 0, rate: 0.001, schedule: { name: "cosine" } });
    const { file } = await lab.make(`sparse${100 * ratio}`, [zeros(ratio), learn], from);
    rows.push(...(await stored(lab, "article's CNN", percent(ratio), file, fp32)));
    from = file;
  }
  return rows;
}

/** The recogniser, distilled on unlabelled crops of other lines. */
const lines = (ratio, epochs) => async (settings) => {
  const lab = await openLab("lines", settings);
  const learn = lab.distill(epochs, { temperature: 1, batchNorm: "frozen" });
  const steps =
    ratio === 0
      ? [{ simplify: {} }]
      : [{ simplify: {} }, zeros(ratio, { criterion: "sparsegpt", ...lab.calibration }), learn];
  const { file } = await lab.make("sparse", steps);
  const title = ratio === 0 ? "dense" : percent(ratio);
  const fp32 = await lab.size(lab.model);
  const rows = await stored(lab, "PP-OCRv4 recogniser", title, file, fp32);
  if (ratio === 0) return rows;
  // Four bits are too few for this network, unless it learns with them.
  const four = { quantize: { dtype: "int4", granularity: "group:32", scale: "mse" } };
  const { file: small } = await lab.make(
    "small",
    [four, { distill: { ...learn.distill, teacher: lab.model, prunedZeros: true } }],
    file,
  );
  const form = `int4 in groups of 32, distilled again, ${lab.epochs(epochs)} epochs`;
  return [
    ...rows,
    sizeRow(lab, "PP-OCRv4 recogniser", `${title}, ${form}`, await lab.size(small), fp32, await lab.judge(small)),
  ];
};

const EPOCHS = 3;
const EPOCHS_DISTILLED = 4;

export const bytesRows = {
  "resnet20-dense": resnet20("dense", [], EPOCHS),
  "resnet20-50": resnet20(percent(0.5), [zeros(0.5)], EPOCHS),
  "resnet20-70": resnet20(percent(0.7), [zeros(0.7)], EPOCHS),
  "resnet20-90": resnet20(percent(0.9), [zeros(0.6), zeros(0.8), zeros(0.9)], EPOCHS),
  "resnet20-2:4": resnet20("2:4", [zeros(undefined, { structure: "2:4" })], EPOCHS),
  "resnet20-distilled": resnet20Distilled,
  "article-bytes": article,
  "lines-dense": lines(0, 0),
  "lines-50": lines(0.5, 2),
  "lines-70": lines(0.7, 2),
};
