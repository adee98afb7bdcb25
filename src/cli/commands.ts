/** @file The commands and their flags. Static text: `--help` must not load schemas; a test keeps the two in step. */
import type { CommandSpec, Flag, FlagGroup } from "./args.ts";
import { pruneCalibrationFlags, pruneFlags } from "./prune-flags.ts";
import { distillFlags, keepFlags, lossFlag, trainDataFlags, trainFlags } from "./train-flags.ts";

const shape: Flag = {
  name: "shape",
  value: "INPUT=SIZES",
  option: "shapes",
  type: "shapes",
  summary: "sizes that the model leaves open, such as x=1,3,224,224; may be repeated",
};

const seed: Flag = { name: "seed", value: "N", type: "number", summary: "seed of everything random (default 0)" };

const dryRun: Flag = {
  name: "dry-run",
  summary: "say what would be done and how large the result would be; write nothing",
};

const workers: Flag = {
  name: "workers",
  value: "N",
  type: "number",
  summary: "threads that quantize by gptq, awq or hqq, with the same result (default: one per processor, up to 4)",
};

const noSimplify: Flag = {
  name: "no-simplify",
  option: "simplify",
  sets: false,
  summary: "leave the graph as it is but for constants, which become initializers",
};

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

const quantizeFlags: FlagGroup = {
  title: "Quantization",
  flags: [
    {
      name: "dtype",
      value: "TYPE",
      summary: "int8 (default), uint8, int4, uint4, int2, uint2, float16 or bfloat16",
    },
    { name: "bits", value: "2..8", type: "number", summary: "a narrower grid in an 8-bit container, for study" },
    { name: "symmetric", summary: "zero point in the middle (default for signed types)" },
    { name: "asymmetric", option: "symmetric", sets: false, summary: "zero point where the weights ask for it" },
    {
      name: "granularity",
      value: "G",
      summary: "which weights share a scale: model, tensor, channel (default) or group:N",
    },
    { name: "scale", value: "CHOICE", summary: "absmax (default), mse or percentile:P" },
    { name: "rounding", value: "MODE", summary: "nearest (default, to even), half-up or stochastic" },
    {
      name: "method",
      value: "NAME",
      summary: "rtn (default): round to nearest; hqq: robust to outliers; gptq or awq: least error on --calibrate",
    },
    {
      name: "format",
      value: "NAME",
      summary:
        "what is written: auto (default), for MatMul dequantize or matmul-nbits; codebook: a table of the best 16 (uint4) or 256 (uint8) values",
    },
    {
      name: "layers",
      value: "RULES",
      summary:
        'which layers, each with its own options: "conv1,block*.conv@int4+group:32,0-3,head@keep"; others are left alone; `tersor inspect --layers` lists them',
    },
    {
      name: "min-elements",
      value: "N",
      type: "number",
      summary: "weights with fewer elements stay float (default 256)",
    },
    {
      name: "accuracy-level",
      value: "0..4",
      type: "number",
      summary: "MatMulNBits: 4 (default) lets activations be int8, 0 keeps them float",
    },
    { name: "measure", summary: "measure every weight's SQNR (default up to 40 million weights)" },
    { name: "no-measure", option: "measure", sets: false, summary: "do not measure the weights' SQNR" },
    {
      name: "seeds",
      value: "K",
      type: "number",
      summary: "try K seeds of stochastic rounding, keep the one with the least output error",
    },
    workers,
    seed,
    noSimplify,
  ],
};

const staticFlags: FlagGroup = {
  title: "Calibration: for --method; without it, or with --activations, activations go to 8 bits too",
  flags: [
    {
      name: "calibrate",
      value: "PATH",
      type: "json",
      summary:
        "samples that show the ranges of activations; measure on others. As --data; int8, uint8, int4 and int2 weights",
    },
    {
      name: "calibration-samples",
      value: "N",
      type: "number",
      summary: "calibrate on the first N samples (default 256)",
    },
    {
      name: "batch-size",
      value: "N",
      type: "number",
      summary: "samples in one calibration run (default: the model's, else 1)",
    },
    {
      name: "sequential",
      summary:
        "layer by layer: each is quantized on what those before it give when quantized, and makes up for their errors",
    },
    {
      name: "target",
      value: "NAME",
      summary:
        "node-x64, node-x64-vnni, node-arm64, web-wasm, web-webgpu, any (default: safe everywhere) or a .json file",
    },
    {
      name: "activations",
      value: "TYPE",
      summary: "uint8 or int8 (default: the target's); with --method gptq: static, weights by gptq",
    },
    {
      name: "calibration",
      value: "METHOD",
      summary: "how ranges are chosen: mse (default), min-max, moving-average, percentile or entropy",
    },
    {
      name: "no-correct-bias",
      option: "correctBias",
      sets: false,
      summary: "do not shift biases by the mean error that calibration shows",
    },
    {
      name: "percent",
      value: "P",
      type: "number",
      summary: "calibration percentile: the share inside (default 99.99)",
    },
  ],
};

const equalizeFlags: FlagGroup = {
  title: "Equalization: scales move between layers before they are quantized; the model computes the same",
  flags: [
    {
      name: "equalize",
      value: "NAMES",
      summary:
        "cross-layer: evens out the channels of neighbouring layers; smoothquant: moves outliers of activations into weights; awq: finer weights where activations are large; the last two need --calibrate; several with commas",
    },
    {
      name: "alpha",
      value: "A",
      type: "choice",
      summary: "smoothquant: the share of the outliers that moves; auto (default): what gives least noise",
    },
    {
      name: "insert-mul",
      option: "insert",
      summary: "smoothquant and awq: insert a Mul where no constant takes the scale in",
    },
  ],
};

const dynamicFlags: FlagGroup = {
  title: "Dynamic quantization: activations go to 8 bits while the model runs",
  flags: [
    {
      name: "dynamic",
      summary:
        "integer products for MatMul, Gemm, Conv and LSTM; int8 or uint8 weights. With --calibrate, outliers of activations move into weights",
    },
    {
      name: "min-activation-sqnr",
      value: "DB",
      type: "number",
      summary: "with --calibrate: layers whose activations would leave less keep them float (default 32)",
    },
    { name: "reduce-range", summary: "7-bit weights (default where the target's products would overflow)" },
    { name: "no-reduce-range", option: "reduceRange", sets: false, summary: "8-bit weights in any case" },
    { name: "depthwise", summary: "depthwise convolutions too: smaller, but slower than float" },
    {
      name: "activation-products",
      option: "constBOnly",
      sets: false,
      summary: "products of two activations too, not of weights alone",
    },
  ],
};

const float16Flags: FlagGroup = {
  title: "Float16: weights and arithmetic, for runtimes that compute in it (--dtype stores weights only)",
  flags: [
    {
      name: "float16",
      summary:
        "turn the whole model into float16; what it can't hold stays float32 and is named; with --calibrate, values beyond 65,504 too",
    },
    { name: "no-keep-io", option: "keepIo", sets: false, summary: "inputs and outputs become float16 too" },
    { name: "blocklist", value: "NAMES", summary: 'operators and nodes that stay float32, such as "Softmax,head/*"' },
  ],
};

const boundFlags: FlagGroup = {
  title: "Bound: the worst layers are treated better until it holds; exit code 1 where none is found",
  flags: [
    {
      name: "max-drop",
      value: "DROP",
      summary:
        "how much worse the metric of --data may get: 0.5% is half a point of accuracy, or 0.5 % of another metric's value; 0.5 is in the metric's unit",
    },
    { name: "min-sqnr", value: "DB", type: "number", summary: "SQNR in dB that every output must keep" },
  ],
};

const layoutFlags: FlagGroup = {
  title: "Layout: fill a folder; goes with --seed, --samples, --shape, --runs and --threads only",
  flags: [
    {
      name: "layout",
      value: "NAME",
      summary:
        "transformers.js: MODEL is a folder with config.json and onnx/*.onnx; writes onnx/*_fp16.onnx and the like",
    },
    { name: "dtypes", value: "NAMES", summary: "some of fp16, q8, int8, uint8, q4, q4f16, bnb4 (default: all)" },
  ],
};

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
    examples: ["tersor inspect model.onnx", "tersor inspect model.onnx --layers --shape x=1,3,224,224"],
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
      "tersor prune model.onnx --ratio 0.3 --recover least-squares --calibrate images/ --data other-images/",
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
      { title: "Data", flags: [...inputFlags.filter(({ name }) => name !== "shape"), ...trainDataFlags] },
      { ...trainFlags, flags: [...trainFlags.flags, seed] },
      keepFlags,
    ],
    examples: ["tersor distill small.onnx --teacher large.onnx --data images/ --epochs 20"],
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
          { ...seed, summary: "seed of everything random, in place of the recipe's" },
          workers,
          dryRun,
        ],
      },
    ],
    examples: ["tersor run", "tersor run small.config.ts --dry-run", "tersor run --schema > tersor.schema.json"],
    load: () => import("./commands/run.ts"),
  },
];
