/** @file The flags of `tersor prune`. */

import type { FlagGroup } from "../args.ts";
import { calibrationFlags } from "./shared-flags.ts";

export const pruneFlags: FlagGroup = {
  title: "Pruning",
  flags: [
    {
      name: "structure",
      value: "S",
      summary:
        "what goes: channels (default), with them neurons, heads and hidden units; heads: of attention alone; blocks: whole residual blocks; vocabulary: tokens that --corpus does not have; weights; N:M such as 2:4; or block:HxW. Channels, heads and blocks make a model faster",
    },
    { name: "ratio", value: "R", type: "number", summary: "share to remove, 0 to 1; N:M has its own" },
    { name: "count", value: "N", type: "number", summary: "residual blocks to remove, in place of a ratio" },
    {
      name: "by",
      value: "WHAT",
      summary:
        "for channels and blocks, what the ratio is a share of: channels (default), params, macs; for channels latency, as timed on this machine",
    },
    {
      name: "criterion",
      value: "NAME",
      summary:
        "what decides which go: l1 (default), l2, random; on --calibrate data wanda (default for channels then), taylor, fisher, obd; for channels also bn-gamma, fpgm and, on data, activation-norm; for weights sparsegpt, on data; for blocks sqnr (default), influence, both on data, or random",
    },
    {
      name: "gradients",
      value: "OF",
      summary:
        "what taylor, fisher and obd differentiate: auto (default), labels (cross-entropy) or outputs, which needs no labels",
    },
    {
      name: "latency-table",
      value: "FILE",
      summary: "for --by latency, a manifest with what was timed before: the same channels go again",
    },
    {
      name: "ranking",
      value: "SCOPE",
      summary:
        "the share is of each layer (default for channels without --calibrate), global (default otherwise), or by sensitivity: where the outputs lose least on --calibrate data for what is saved",
    },
    {
      name: "sensitivity",
      summary:
        "measure what the outputs lose on --calibrate data when shares of each group go; without --ratio nothing is written",
    },
    {
      name: "sensitivity-ratios",
      value: "LIST",
      type: "json",
      summary: "the shares that are tried (default [0.1,0.25,0.5,0.75,0.9])",
    },
    { name: "reduce", value: "HOW", summary: "score of channels that several layers make: mean (default), sum or max" },
    {
      name: "normalize",
      value: "HOW",
      summary: "brings layers to one scale for --ranking global: none, mean (default) or lamp",
    },
    {
      name: "threshold",
      value: "X",
      type: "number",
      summary: "weights of a smaller magnitude go, in place of a ratio",
    },
    {
      name: "min-channels",
      value: "N",
      type: "number",
      summary: "channels that every group keeps at least (default 1)",
    },
    {
      name: "round-to",
      value: "N",
      type: "number",
      summary:
        "channels that stay are a multiple of N (default 1; with grouped convolutions what the kernels of --target work on at once)",
    },
    {
      name: "target",
      value: "NAME",
      summary:
        "where the model is to run, for widths that its kernels like: any (default), node-x64, web-wasm, …, or a .json file",
    },
    { name: "protect", value: "LAYERS", summary: 'layers that stay whole: names, globs or operators, "conv1,head*"' },
    {
      name: "layers",
      value: "RULES",
      summary: 'for weights, which layers, with a ratio of their own or keep: "conv*@0.7,0-3,head@keep"',
    },
    {
      name: "corpus",
      value: "PATH",
      type: "json",
      summary: "for --structure vocabulary: everything that the model is to be used on, as --data",
    },
    {
      name: "tokenizer",
      value: "FILE",
      summary: "for --structure vocabulary: the model's tokenizer.json; a smaller one is written beside the model",
    },
    {
      name: "vocabulary-files",
      value: "PREFIX",
      summary:
        "where PREFIX.vocabulary.json, the mapping of ids, and PREFIX.tokenizer.json go (default: beside the output)",
    },
    { name: "cut-interface", summary: "channels of the model's inputs and outputs may go as well" },
    {
      name: "recover",
      value: "HOW",
      summary:
        "make up for removed channels on --calibrate data: least-squares (default for channels): the next weights solved anew, mean: into the next bias, or none",
    },
    {
      name: "damp",
      value: "X",
      type: "number",
      summary: "damping of least squares and sparsegpt, a share of the mean diagonal (default 0.001)",
    },
    {
      name: "sparse",
      value: "TARGET",
      summary:
        "store weights of mostly zeros sparsely, for a target that loads them: node-x64, node-x64-vnni, node-arm64; not for the web. After brotli it gains little",
    },
    { name: "prove", summary: "run the cut model against the one with zeros in place of what was removed" },
  ],
};

export const pruneScheduleFlags: FlagGroup = {
  title: "Training between steps",
  flags: [
    {
      name: "schedule",
      value: "NAME",
      summary:
        "how the ratio grows: once (default), iterative: in equal steps, or cubic: fast first, slowly at the end",
    },
    { name: "steps", value: "N", type: "number", summary: "steps of a schedule (default 5)" },
    {
      name: "finetune",
      value: "PATH",
      type: "json",
      summary:
        "samples to train on after every step, as --data; measure on others. On their labels, or after the original model where there are none",
    },
    { name: "finetune-epochs", value: "N", type: "number", summary: "passes over them after every step (default 3)" },
    { name: "finetune-rate", value: "X", type: "number", summary: "learning rate (default 0.001)" },
    { name: "finetune-batch", value: "N", type: "number", summary: "samples in a training step (default 32)" },
    { name: "finetune-samples", value: "N", type: "number", summary: "train on the first N samples" },
    {
      name: "finetune-options",
      value: "JSON",
      type: "json",
      summary:
        'other options of the step finetune, and from: auto (default), labels or original; {"augment":{"flip":true}}',
    },
  ],
};

export const pruneCalibrationFlags: FlagGroup = {
  title: "Calibration",
  flags: [
    {
      name: "calibrate",
      value: "PATH",
      type: "json",
      summary: "samples for criteria and recovery that look at data; measure on others. As --data",
    },
    ...calibrationFlags,
  ],
};
