/** @file Rows of channels cut from networks that are trained afterwards: accuracy dense, cut, recovered, trained. */
import { join } from "node:path";
import { spokenDigits } from "../spoken-digits.mjs";
import { cut, openLab, timesFewer } from "./lab.mjs";
import { SPOKEN_HIDDEN } from "./tasks.mjs";

/** ResNet-56 at 2.1 times fewer MACs: the paper of DepGraph (Fang et al. 2023, https://arxiv.org/abs/2301.12900) has 2.13. */
const RATIO_56 = 1 - 1 / 2.1;
const EPOCHS_56 = 4;
/** On top of these, for the dense network, which does not gain by them, and for the cut one, which does. */
const EPOCHS_DENSE = 8;
const EPOCHS_CUT = 20;

const cut56 = (lab, more) => cut(RATIO_56, { ...lab.calibration, ...more });

/** The network on labels: what is cut afterwards, and the teacher of what is left. */
const tuned56 = (lab) => lab.makeOnce("tuned", [lab.finetune(EPOCHS_56)]);

const row56 = async (lab, what, { file, reports }) => {
  const pruned = reports.find(({ macs }) => macs);
  return {
    network: "ResNet-56",
    what,
    "MACs, times fewer": pruned ? timesFewer(pruned) : 1,
    "top-1": await lab.judge(file),
  };
};

async function resnet56Dense(settings) {
  const lab = await openLab("resnet56", settings);
  return [
    await row56(lab, "as it was", { file: lab.model, reports: [] }),
    await row56(lab, `fine-tuned, ${lab.epochs(EPOCHS_56)} epochs: the teacher`, await tuned56(lab)),
  ];
}

/** Goes on from the tuned network. */
const resnet56More = (what, epochs, steps) => async (settings) => {
  const lab = await openLab("resnet56", settings);
  const { file } = await tuned56(lab);
  const made = await lab.make("more", steps(lab, settings.folder), file);
  return [await row56(lab, `${what}, ${lab.epochs(epochs)} epochs more`, made)];
};

/** Before any training: by what is cut, and what recovery makes up for. */
async function resnet56Recovery(settings) {
  const lab = await openLab("resnet56", settings);
  const rows = [];
  for (const [criterion, ranking] of [
    ["l1", "layer"],
    ["activation-norm", "global"],
    ["wanda", "global"],
  ])
    for (const recover of ["none", "mean", "least-squares"]) {
      const { file, reports } = await lab.make("cut", [cut56(lab, { criterion, ranking, recover })]);
      rows.push({
        network: "ResNet-56",
        what: `cut by ${criterion}, ranked by ${ranking}, recovery: ${recover}`,
        "MACs, times fewer": timesFewer(reports[0]),
        "top-1": await lab.judge(file),
      });
    }
  return rows;
}

/** 30 % of the recogniser's MACs, and distillation on unlabelled crops of other lines. */
async function lines(settings) {
  const lab = await openLab("lines", settings);
  const smaller = await lab.make("cut", [cut(0.3, lab.calibration)]);
  const learn = lab.distill(EPOCHS_LINES, { teacher: lab.model, temperature: 1, batchNorm: "frozen" });
  const learnt = await lab.make("distilled", [learn], smaller.file);
  const fewer = { "MACs, times fewer": timesFewer(smaller.reports[0]) };
  const row = async (what, file) => ({
    network: "PP-OCRv4 recogniser",
    what,
    ...(file !== lab.model && fewer),
    "character errors, %": await lab.judge(file),
  });
  return [
    await row("as it was", lab.model),
    await row("cut on data, least squares", smaller.file),
    await row(`distilled, ${lab.epochs(EPOCHS_LINES)} epochs`, learnt.file),
  ];
}

const EPOCHS_LINES = 4;

/** Half of the hidden units, both ways, and as much training as the dense network gets on top of its own. */
async function spoken(settings) {
  const lab = await openLab("spoken", settings);
  const validation = spokenDigits(settings.shared, settings.folder)("validation");
  const learn = () => lab.finetune(EPOCHS_SPOKEN, { validation });
  const half = { prune: { ratio: 0.5, compressed: false, ...lab.calibration } };
  const dense = await lab.make("dense", [learn()]);
  const cutOnly = await lab.make("cut", [half]);
  const trained = await lab.make("cut-trained", [half, learn()]);
  const network = `bidirectional LSTM of ${SPOKEN_HIDDEN}, spoken digits`;
  const more = `${lab.epochs(EPOCHS_SPOKEN)} epochs`;
  const fewer = { parameters: cutOnly.reports[0].params.after };
  return [
    { network, what: "trained", parameters: cutOnly.reports[0].params.before, "top-1": await lab.judge(lab.model) },
    { network, what: `${more} more`, "top-1": await lab.judge(dense.file) },
    { network, what: "half its hidden units, least squares", ...fewer, "top-1": await lab.judge(cutOnly.file) },
    {
      network,
      what: `half its hidden units, ${more}`,
      ...fewer,
      "top-1": await lab.judge(trained.file),
    },
  ];
}

const EPOCHS_SPOKEN = 6;

export const trainRows = {
  "resnet56-dense": resnet56Dense,
  "resnet56-recovery": resnet56Recovery,
  "resnet56-dense-more": resnet56More("… dense", EPOCHS_DENSE, (lab) => [lab.finetune(EPOCHS_DENSE)]),
  "resnet56-labels": resnet56More("… cut, on labels", EPOCHS_CUT, (lab) => [cut56(lab), lab.finetune(EPOCHS_CUT)]),
  "resnet56-distilled": resnet56More("… cut, distilled", EPOCHS_CUT, (lab, folder) => [
    cut56(lab),
    lab.distill(EPOCHS_CUT, { labels: 0.1, validation: 0.1, checkpoint: join(folder, "checkpoint"), resume: true }),
  ]),
  lines,
  "spoken-lstm": spoken,
};
