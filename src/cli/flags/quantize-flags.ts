/** @file The flags of `tersor quantize` that say how. */
import type { FlagGroup } from "../args.ts";
import { calibrationFlags, noSimplify, seed, workers } from "./shared-flags.ts";

export const quantizeFlags: FlagGroup = {
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
      summary:
        "rtn (default): round to nearest; hqq: robust to outliers; gptq or awq: least error on --calibrate; adaround or brecq: rounding is learned there, by layers or blocks",
    },
    {
      name: "method-options",
      value: "JSON",
      type: "json",
      summary: 'options of the method, such as {"actOrder":true} for gptq (docs/methods.md)',
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

export const staticFlags: FlagGroup = {
  title: "Calibration: for --method; without it, or with --activations, activations go to 8 bits too",
  flags: [
    {
      name: "calibrate",
      value: "PATH",
      type: "json",
      summary:
        "samples that show the ranges of activations; measure on others. As --data; int8, uint8, int4 and int2 weights",
    },
    ...calibrationFlags,
    {
      name: "iterations",
      value: "N",
      type: "number",
      summary: "adaround and brecq: steps of training for each layer or block (default 500)",
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
      name: "ranges",
      value: "METHOD",
      summary: "how ranges of activations are chosen: mse (default), min-max, moving-average, percentile or entropy",
    },
    {
      name: "no-correct-bias",
      option: "correctBias",
      sets: false,
      summary: "do not shift biases by the mean error that calibration shows",
    },
    {
      name: "no-fit-costs",
      option: "fitCosts",
      sets: false,
      summary:
        "static and dynamic: quantize layers too that the target's counted costs say are faster in float32 (smaller, slower)",
    },
    {
      name: "percentile",
      value: "P",
      type: "number",
      summary: "--ranges percentile: the share inside, in percent (default 99.99)",
    },
  ],
};

export const equalizeFlags: FlagGroup = {
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
      summary: "smoothquant and awq: insert a Mul where no constant takes the scale in",
    },
  ],
};

export const dynamicFlags: FlagGroup = {
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
      summary:
        "with --calibrate: layers whose activations would leave less keep them float (default 32 on the whole, for a quarter of the products at most)",
    },
    { name: "reduce-range", summary: "7-bit weights (default where the target's products would overflow)" },
    { name: "no-reduce-range", option: "reduceRange", sets: false, summary: "8-bit weights in any case" },
    { name: "depthwise", summary: "depthwise convolutions too: smaller, but slower than float" },
    {
      name: "activation-products",
      summary: "products of two activations too, not of weights alone",
    },
  ],
};

export const float16Flags: FlagGroup = {
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

export const boundFlags: FlagGroup = {
  title: "Bound: the worst layers are treated better until it holds; exit code 1 where none is found",
  flags: [
    {
      name: "max-drop",
      value: "DROP",
      summary:
        "how much worse the metric of --data may get: 0.5% is half a point of accuracy, or 0.5 % of another metric's value; 0.5 is in the metric's unit",
    },
    { name: "min-sqnr", value: "DB", type: "number", summary: "SQNR in dB that every output must keep" },
    {
      name: "fit-latency",
      summary:
        "let the clock of this machine decide which layers stay float (some 25 trials); the manifest has the decisions as layers",
    },
    {
      name: "as-asked",
      summary:
        "leave every layer as asked for; by default, the few that bring an output below 20 dB on samples step up by themselves",
    },
  ],
};

export const layoutFlags: FlagGroup = {
  title: "Layout: fill a folder; goes with --seed, --samples, --shapes, --runs and --threads only",
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
