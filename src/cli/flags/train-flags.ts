/** @file The flags of `tersor finetune` and `tersor distill`. */
import type { Flag, FlagGroup } from "../args.ts";

export const trainDataFlags: readonly Flag[] = [
  {
    name: "validation",
    value: "SHARE|PATH",
    type: "json",
    summary: "a share of --data (default 0.1) or other samples: what judges every epoch; 0: nothing",
  },
  {
    name: "metric",
    value: "NAME",
    type: "json",
    summary: "what the validation is judged by (default: what suits the labels)",
  },
  { name: "pad", value: "X", type: "number", summary: "pad samples of unequal length with X (default: an error)" },
  {
    name: "augment",
    value: "LIST",
    summary: "vary samples: flip, crop:PIXELS, noise:DEVIATION, variants:COUNT, joined by commas",
  },
];

export const trainFlags: FlagGroup = {
  title: "Training",
  flags: [
    { name: "epochs", value: "N", type: "number", summary: "passes over the data (default 3)" },
    { name: "rate", value: "X", type: "number", summary: "learning rate (default 0.001)" },
    { name: "batch-size", value: "N", type: "number", summary: "samples in a step (default 32)" },
    {
      name: "optimizer",
      value: "NAME",
      type: "json",
      summary: 'sgd, momentum, nesterov, adam, adamw (default), or JSON such as {"name":"adam","beta2":0.99}',
    },
    { name: "weight-decay", value: "X", type: "number", summary: "pull of weights towards zero (default 0)" },
    {
      name: "schedule",
      value: "NAME",
      type: "json",
      summary: "how the rate falls: cosine (default), linear, step, constant, or JSON",
    },
    {
      name: "warmup",
      value: "SHARE",
      type: "number",
      summary: "share of the steps in which the rate rises (default 0)",
    },
    { name: "accumulate", value: "N", type: "number", summary: "average the gradients of N batches into one update" },
    { name: "clip-norm", value: "X", type: "number", summary: "shorten the gradients where their norm is above X" },
    {
      name: "average",
      value: "DECAY",
      type: "number",
      summary: "return a moving average of the weights, such as 0.999",
    },
    { name: "train", value: "NAMES", summary: "names or globs of the weights to train (default all)" },
    { name: "freeze", value: "NAMES", summary: "names or globs of weights that stay as they are" },
    {
      name: "groups",
      value: "JSON",
      type: "json",
      summary:
        'weights with a rate or decay of their own, such as [{"weights":["head*"],"rate":10},{"weights":["*norm*"],"weightDecay":0}]',
    },
    { name: "batch-norm", value: "MODE", summary: "train (default): follow the batches; frozen: stay as they are" },
    { name: "no-dropout", option: "dropout", sets: false, summary: "let Dropout layers pass everything on" },
    {
      name: "no-keep-zeros",
      option: "keepZeros",
      sets: false,
      summary: "let weights that are zero, as pruned ones are, change",
    },
    {
      name: "scales",
      value: "HOW",
      summary: "of a quantized model: fixed (default), or learned with the weights",
    },
    { name: "pruned-zeros", summary: "of a quantized model: weights that are zero were pruned, and stay so" },
    { name: "patience", value: "N", type: "number", summary: "stop after N epochs without a better validation result" },
    {
      name: "threads",
      value: "N",
      type: "number",
      summary: "threads within an operator; fix it where bytes must repeat",
    },
    { name: "runtime", value: "NAME", summary: "ort-node (default) or ort-web" },
  ],
};

export const lossFlag: Flag = {
  name: "loss",
  value: "NAME",
  type: "json",
  summary:
    'cross-entropy (default), binary-cross-entropy, mse, l1, kl, cosine, or JSON, an array for a sum of several; for lines of text \'{"name":"ctc","charset":"keys.txt"}\'',
};

export const keepFlags: FlagGroup = {
  title: "Long trainings",
  flags: [
    { name: "checkpoint", value: "FILE", summary: "keep how far the training is, after every epoch and on Ctrl-C" },
    { name: "resume", summary: "go on from the checkpoint, to the same bytes as without the break" },
    { name: "log", value: "FILE", summary: "a line of JSON for every step and epoch" },
  ],
};

export const distillFlags: FlagGroup = {
  title: "Distillation",
  flags: [
    {
      name: "teacher",
      value: "MODEL",
      summary: "the model to learn from (default with --shrink: the model as it was)",
    },
    {
      name: "teacher-output",
      value: "NAME",
      summary: "the teacher's value (default its output of the same name, else the most plausible)",
    },
    { name: "soft", value: "HOW", summary: "compare outputs by kl (default: after a softmax), mse or cosine" },
    { name: "temperature", value: "T", type: "number", summary: "softens both sides of kl (default 4)" },
    {
      name: "labels",
      value: "SHARE",
      type: "number",
      summary: "share of the loss that labels have (default 0.1 where there are any)",
    },
    {
      name: "hints",
      value: "LIST",
      summary:
        "values inside that are to agree: STUDENT=TEACHER:LOSS*WEIGHT, joined by commas; LOSS: mse (default, through a learned map where widths differ), l1, cosine, kl, attention, relation-distance or relation-angle",
    },
    {
      name: "hint-epochs",
      value: "N",
      type: "number",
      summary: "learn from hints alone for N epochs, and without them afterwards (default: from all at once)",
    },
    {
      name: "cache",
      value: "FILE",
      summary: "keep the teacher's answers, by the samples: it answers once, and not again in the next run",
    },
  ],
};

export const shrinkFlags: FlagGroup = {
  title: "A student made of the model itself, which is its own teacher then",
  flags: [
    {
      name: "shrink",
      value: "SHARE",
      option: "width",
      type: "number",
      summary: "leave out this share of the channels of every layer",
    },
    {
      name: "shrink-blocks",
      value: "SHARE",
      option: "depth",
      type: "number",
      summary: "leave out this share of the residual blocks, those that the outputs need least",
    },
    {
      name: "fresh",
      option: "weights",
      sets: "fresh",
      summary: "the student's weights begin as before any training (default: the teacher's)",
    },
  ],
};
