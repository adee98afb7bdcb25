/** @file The commands and their flags. Static text: `--help` must not load schemas; a test keeps the two in step. */
import type { CommandSpec, Flag, FlagGroup } from "./args.ts";
import { pruneCalibrationFlags, pruneFlags, pruneScheduleFlags } from "./flags/prune-flags.ts";
import {
  boundFlags,
  dynamicFlags,
  equalizeFlags,
  float16Flags,
  layoutFlags,
  quantizeFlags,
  staticFlags,
} from "./flags/quantize-flags.ts";
import { dryRun, noSimplify, seed, shape, workers } from "./flags/shared-flags.ts";
import { distillFlags, keepFlags, lossFlag, shrinkFlags, trainDataFlags, trainFlags } from "./flags/train-flags.ts";

const inputFlags: readonly Flag[] = [
  {
    name: "data",
    value: "PATH",
    type: "json",
    summary:
      "samples: a folder of images or of .wav files, .npy, .npz, .jsonl, .csv, .tsv, .txt, raw .bin with its .bin.json, a module, or a .json file of options",
  },
  { name: "data-options", value: "JSON", type: "json", summary: "options of the data, as JSON or a .json file" },
  { name: "skip-bad", summary: "leave out samples that can't be read, and say which (default: the first one ends it)" },
  { name: "samples", value: "N", type: "number", summary: "use the first N samples (default all, or 8 made-up ones)" },
  shape,
];

const measureFlags: readonly Flag[] = [
  {
    name: "metric",
    value: "NAME",
    type: "json",
    summary:
      'top-1, top-5, accuracy, cross-entropy, perplexity, cer, mse, a module, or JSON such as {"name":"cer","charset":"keys.txt"} (default: what suits the labels)',
  },
  { name: "runtime", value: "NAME", summary: "ort-node (default) or ort-web" },
  {
    name: "threads",
    value: "N",
    type: "number",
    summary: "threads within an operator (default: the runtime's choice)",
  },
  {
    name: "optimization",
    value: "LEVEL",
    summary: "the runtime's graph optimizations: disabled, basic, extended or all (default)",
  },
  {
    name: "per-layer",
    summary: "also measure every layer, by itself and with all before it changed too, and say why it is worse",
  },
  { name: "runs", value: "N", type: "number", summary: "timed runs of each model (default 55); 0 times nothing" },
  {
    name: "no-compressed",
    option: "compressed",
    sets: false,
    summary: "do not measure the sizes after gzip and brotli",
  },
];

const diagnoseFlags: readonly Flag[] = [
  {
    name: "target",
    value: "NAME",
    summary: "where B is to run, as for quantize (default any): whether its sums saturate",
  },
  {
    name: "calibrate",
    value: "PATH",
    type: "json",
    summary: "the samples that B was calibrated on: whether they were prepared like --data",
  },
];

const outputFlags: FlagGroup = {
  title: "Output",
  flags: [
    {
      name: "output",
      short: "o",
      value: "FILE",
      summary: "the file to write (default: MODEL.DTYPE.onnx beside the model); a manifest FILE.json goes with it",
    },
    {
      name: "external-data",
      sets: "always",
      summary: "write the weights to FILE.data (default only above 2 GB)",
    },
    dryRun,
  ],
};

export const commands: readonly CommandSpec[] = [
  {
    name: "inspect",
    usage: "MODEL [options]",
    summary: "show what a model is made of, and what can be compressed",
    args: ["MODEL"],
    required: 1,
    groups: [
      {
        title: "Options",
        flags: [
          {
            name: "layers",
            summary: "list every layer: weights, parameters, MACs, bytes, whether it can be compressed",
          },
          { name: "text", summary: "print the model in ONNX' textual format, large tensors as hashes" },
          shape,
          { ...noSimplify, summary: "list the layers of the graph as it is (quantize simplifies it first)" },
        ],
      },
    ],
    examples: ["tersor inspect model.onnx", "tersor inspect model.onnx --layers --shapes x=1,3,224,224"],
    load: () => import("./commands/inspect.ts"),
  },
  {
    name: "quantize",
    usage: "MODEL [-o FILE] [options]",
    summary: "make the weights smaller: int8, int4, int2, float16",
    args: ["MODEL"],
    required: 1,
    groups: [
      outputFlags,
      quantizeFlags,
      staticFlags,
      equalizeFlags,
      dynamicFlags,
      float16Flags,
      boundFlags,
      layoutFlags,
      {
        title: "Measuring the result against the original",
        flags: [
          { name: "check", summary: "run both models, on --data or on made-up inputs" },
          ...inputFlags,
          ...measureFlags.filter(({ name }) => name !== "no-compressed"),
        ],
      },
    ],
    examples: [
      "tersor quantize model.onnx -o small.onnx",
      "tersor quantize model.onnx --dtype int4 --granularity group:32",
      'tersor quantize model.onnx --layers "block*@int4+group:32,head@keep" --data images/',
      "tersor quantize folder --layout transformers.js --dtypes fp16,q8,q4",
    ],
    load: () => import("./commands/quantize.ts"),
  },
  {
    name: "prune",
    usage: "MODEL --ratio R [-o FILE] [options]",
    summary: "remove channels, neurons, heads and hidden units, or single weights",
    args: ["MODEL"],
    required: 1,
    groups: [
      outputFlags,
      { ...pruneFlags, flags: [...pruneFlags.flags, seed, noSimplify] },
      pruneCalibrationFlags,
      pruneScheduleFlags,
      {
        title: "Measuring the result against the original",
        flags: [
          { name: "check", summary: "run both models, on --data or on made-up inputs" },
          ...inputFlags,
          ...measureFlags,
        ],
      },
    ],
    examples: [
      "tersor prune model.onnx --ratio 0.3 --by macs --round-to 8",
      "tersor prune model.onnx --ratio 0.3 --by macs --calibrate images/ --data other-images/",
      "tersor prune model.onnx --structure weights --ratio 0.8 --schedule cubic --finetune images/ --finetune-epochs 2 --data other-images/",
      "tersor prune model.onnx --structure 2:4 --criterion sparsegpt --calibrate images/",
    ],
    load: () => import("./commands/prune.ts"),
  },
  {
    name: "finetune",
    usage: "MODEL --data PATH [-o FILE] [options]",
    summary: "train the weights of a model further, from the file alone",
    args: ["MODEL"],
    required: 1,
    groups: [
      outputFlags,
      { title: "Data", flags: [...inputFlags.filter(({ name }) => name !== "shape"), ...trainDataFlags] },
      { ...trainFlags, flags: [lossFlag, ...trainFlags.flags, seed] },
      keepFlags,
    ],
    examples: [
      "tersor finetune model.onnx --data images/ --epochs 5 --rate 0.0005 --augment flip,crop:4",
      'tersor finetune model.onnx --data frames.npy --loss \'{"name":"mse","target":"input:x"}\'',
    ],
    load: () => import("./commands/train.ts"),
  },
  {
    name: "distill",
    usage: "STUDENT --teacher MODEL --data PATH [-o FILE] [options]",
    summary: "train a small model after a large one",
    args: ["STUDENT"],
    required: 1,
    groups: [
      outputFlags,
      distillFlags,
      shrinkFlags,
      { title: "Data", flags: [...inputFlags.filter(({ name }) => name !== "shape"), ...trainDataFlags] },
      { ...trainFlags, flags: [...trainFlags.flags, seed] },
      keepFlags,
    ],
    examples: [
      "tersor distill small.onnx --teacher large.onnx --data images/ --epochs 20",
      "tersor distill large.onnx --shrink 0.5 --shrink-blocks 0.3 --data images/ -o small.onnx",
    ],
    load: () => import("./commands/train.ts"),
  },
  {
    name: "compare",
    usage: "A B [options]",
    summary: "measure model B against model A: outputs, accuracy, size, latency",
    args: ["A", "B"],
    required: 2,
    groups: [
      { title: "Data", flags: [...inputFlags, seed] },
      { title: "Measuring", flags: measureFlags },
      { title: "Causes, for --per-layer", flags: diagnoseFlags },
    ],
    examples: [
      "tersor compare model.onnx model.int8.onnx",
      "tersor compare model.onnx model.int8.onnx --data images/ --metric top-1",
    ],
    load: () => import("./commands/compare.ts"),
  },
  {
    name: "probe",
    usage: "[-o FILE.json] [options]",
    summary: "measure this machine: which integer kernels are exact and fast; writes a --target file",
    args: [],
    required: 0,
    groups: [
      {
        title: "Options",
        flags: [
          {
            name: "output",
            short: "o",
            value: "FILE.json",
            summary: "the target to write (default: print what was found, write nothing)",
          },
          { name: "runtime", value: "NAME", summary: "ort-node (default) or ort-web" },
          { name: "threads", value: "N", type: "number", summary: "threads within an operator (default 1)" },
        ],
      },
    ],
    examples: [
      "tersor probe -o my-machine.json",
      "tersor quantize model.onnx --calibrate images/ --target ./my-machine.json",
    ],
    load: () => import("./commands/probe.ts"),
  },
  {
    name: "run",
    usage: "[RECIPE] [options]",
    summary: "run a recipe: tersor.config.ts, .js or .json in the current folder, or another file",
    args: ["RECIPE"],
    required: 0,
    groups: [
      {
        title: "Options",
        flags: [
          { name: "schema", summary: "print the JSON Schema of recipes" },
          {
            name: "model",
            value: "FILE",
            summary:
              "run it on this model in place of the recipe's, with the decisions for layers of the run before (needs --output)",
          },
          { name: "output", value: "FILE", summary: "where the result goes, in place of the recipe's" },
          { ...seed, summary: "seed of everything random, in place of the recipe's" },
          workers,
          dryRun,
        ],
      },
    ],
    examples: [
      "tersor run",
      "tersor run small.config.ts --dry-run",
      "tersor run small.json --model v2.onnx --output v2-small.onnx",
      "tersor run --schema > tersor.schema.json",
    ],
    load: () => import("./commands/run.ts"),
  },
];
