/**
 * @file Every option of every step has an effect where it is taken: other bytes, another graph or other measured numbers on a model made to
 * show it. Where it has none it is refused: every row of the table of effects, on the command line's and the library's one way.
 */
import { createHash } from "node:crypto";
import { type Model, nn, type RecipeStep, run, TersorError, toBytes } from "tersor";
import { describe, expect, it } from "vitest";
import { effects } from "../src/recipe/effects.ts";
import { titleOf } from "../src/recipe/recipe.ts";
import { steps } from "../src/recipe/steps.ts";
import { Rng } from "../src/util/rng.ts";

const rng = new Rng(11, "effects");
/** Convolutions, a depthwise one, residual blocks, batch norms, products: something for every option. */
const net = nn.build(
  [
    nn.conv2d(16, 3, { padding: "same" }),
    nn.batchNorm(),
    nn.relu(),
    nn.residual([
      nn.conv2d(16, 3, { padding: "same" }),
      nn.batchNorm(),
      nn.relu(),
      nn.conv2d(16, 3, { padding: "same" }),
    ]),
    nn.residual([nn.conv2d(16, 3, { padding: "same" }), nn.relu(), nn.conv2d(16, 3, { padding: "same" })]),
    nn.conv2d(32, 3, { padding: "same", stride: 2 }),
    nn.relu(),
    nn.flatten(),
    nn.linear(48),
    nn.relu(),
    nn.linear(4),
  ],
  { input: [3, 8, 8], seed: 3 },
);
const samples = Array.from({ length: 24 }, (_, at) => ({
  inputs: { x: Float32Array.from({ length: 192 }, () => rng.normal() + (at % 4)) },
  label: at % 4,
}));

type Options = Readonly<Record<string, unknown>>;

/** Bytes of the result and what is said of it: without how the options were written, and without what was timed. */
async function resultOf(entries: readonly object[], model: Model = net): Promise<string> {
  const { model: made, steps: records } = await run(model, { steps: entries as RecipeStep[] });
  const said = JSON.stringify(
    records.map(({ report }) => report),
    (key, value) => (/^(latency|loadMs)$/.test(key) ? "timed" : value),
  );
  return createHash("sha256").update(toBytes(made)).update(said).digest("hex");
}

/** What an option is given beside the others, and what it is compared with: the others alone, unless something is named. */
interface Case {
  readonly base?: Options;
  readonly value: unknown;
  readonly before?: readonly object[];
}

/** Why an option is not tried here. */
type Exempt = string;
const RUN: Exempt = "a run option: how it is run, not what comes out";
const FILE: Exempt = "names a file: its own tests read and write it";
const ELSEWHERE: Exempt = "needs a model of another kind: its own tests have one";

const weights = { dtype: "int4", granularity: "channel" };
const integer = { mode: "static", calibrate: samples, fitCosts: false };
const onData = { structure: "channels", ratio: 0.3, calibrate: samples };
const zeros = { structure: "weights", ratio: 0.5 };
const training = { data: samples, epochs: 1, batchSize: 8 };
const teaching = { ...training, teacher: net };

const learnt = (more: Options = {}): Readonly<Record<string, Case | Exempt>> => {
  const base = more;
  // What validation does not like is not kept.
  const trained = { ...more, validation: 0 };
  return {
    data: { base, value: samples.slice(0, 16) },
    samples: { base, value: 12 },
    validation: { base, value: 0.5 },
    metric: { base, value: "cross-entropy" },
    optimizer: { base, value: "sgd" },
    rate: { base, value: 0.1 },
    schedule: { base: trained, value: "constant" },
    epochs: { base, value: 2 },
    batchSize: { base, value: 4 },
    accumulate: { base, value: 2 },
    groups: { base, value: [{ weights: ["*"], rate: 0.1 }] },
    clipNorm: { base, value: 1e-3 },
    average: { base: trained, value: 0.9 },
    train: { base, value: ["linear*"] },
    freeze: { base, value: ["conv*"] },
    batchNorm: { base, value: "frozen" },
    dropout: ELSEWHERE,
    keepZeros: { base, value: false, before: [{ prune: zeros }] },
    augment: { base, value: { noise: 0.5 } },
    pad: ELSEWHERE,
    patience: { base: { ...base, epochs: 4, rate: 1 }, value: 1 },
    seed: { base, value: 5 },
    checkpoint: FILE,
    resume: FILE,
    cache: FILE,
    log: FILE,
    runtime: RUN,
    threads: RUN,
    scales: { base, value: "learned", before: [{ quantize: { dtype: "int4" } }] },
    prunedZeros: { base, value: true, before: [{ prune: zeros }, { quantize: { dtype: "int4" } }] },
  };
};

const cases: Readonly<Record<string, Readonly<Record<string, Case | Exempt>>>> = {
  simplify: {
    level: { value: "constants" },
    fixDefaults: ELSEWHERE,
    inputs: ELSEWHERE,
    tolerance: { value: 1e-9 },
  },
  quantize: {
    dtype: { value: "int4" },
    bits: { value: 5 },
    symmetric: { value: false },
    granularity: { value: "tensor" },
    scale: { base: weights, value: "mse" },
    rounding: { value: "half-up", base: { ...weights, scale: "percentile:99" } },
    method: { base: weights, value: "hqq" },
    methodOptions: { base: { ...weights, method: "gptq", calibrate: samples }, value: { actOrder: true } },
    format: { value: "codebook", base: { dtype: "uint8" } },
    layers: { value: "0-2" },
    minElements: { value: 5000 },
    fitCosts: ELSEWHERE,
    seed: { base: { rounding: "stochastic" }, value: 4 },
    accuracyLevel: { base: { dtype: "int4", granularity: "group:16" }, value: 0 },
    measure: { value: false },
    iterations: { base: { ...weights, method: "adaround", calibrate: samples, iterations: 2 }, value: 30 },
    seeds: { base: { ...weights, rounding: "stochastic" }, value: 3 },
    calibrate: { base: weights, value: samples },
    calibrationSamples: { base: { ...weights, method: "gptq", calibrate: samples }, value: 4 },
    batchSize: RUN,
    sequential: { base: { ...weights, calibrate: samples }, value: true },
    data: { base: weights, value: samples },
    samples: { base: { ...weights, rounding: "stochastic", seeds: 3, data: samples }, value: 2 },
    shapes: ELSEWHERE,
    runtime: RUN,
    threads: RUN,
    optimization: RUN,
  },
  "quantize static": {
    target: { base: integer, value: "node-x64-vnni" },
    activations: { base: integer, value: "int8" },
    symmetric: { base: integer, value: true },
    dtype: { base: integer, value: "int4" },
    granularity: { base: integer, value: "tensor" },
    method: { base: { ...integer, dtype: "int4" }, value: "gptq" },
    methodOptions: { base: { ...integer, dtype: "int4", method: "gptq" }, value: { damping: 0.5 } },
    scale: { base: integer, value: "mse" },
    ranges: { base: integer, value: "min-max" },
    percentile: { base: { ...integer, ranges: "percentile" }, value: 99 },
    correctBias: { base: integer, value: false },
    fitCosts: { base: { mode: "static", calibrate: samples }, value: false },
    layers: { base: integer, value: "Conv" },
    measure: { base: integer, value: false },
    iterations: { base: { ...integer, dtype: "int4", method: "brecq", iterations: 2 }, value: 30 },
    calibrate: { base: integer, value: samples.slice(0, 6) },
    calibrationSamples: { base: integer, value: 4 },
    batchSize: RUN,
    threads: RUN,
  },
  "quantize dynamic": {
    target: { base: { mode: "dynamic", fitCosts: false }, value: "node-arm64" },
    dtype: { base: { mode: "dynamic", fitCosts: false }, value: "int8" },
    granularity: { base: { mode: "dynamic", fitCosts: false }, value: "tensor" },
    reduceRange: { base: { mode: "dynamic", fitCosts: false, dtype: "int8" }, value: false },
    scale: { base: { mode: "dynamic", fitCosts: false }, value: "mse" },
    activationProducts: ELSEWHERE,
    depthwise: ELSEWHERE,
    fitCosts: { base: { mode: "dynamic" }, value: false },
    layers: { base: { mode: "dynamic", fitCosts: false }, value: "Gemm" },
    minElements: { base: { mode: "dynamic", fitCosts: false }, value: 5000 },
    measure: { base: { mode: "dynamic", fitCosts: false }, value: false },
    calibrate: { base: { mode: "dynamic", fitCosts: false }, value: samples },
    calibrationSamples: { base: { mode: "dynamic", fitCosts: false, calibrate: samples }, value: 2 },
    batchSize: RUN,
    threads: RUN,
    minActivationSqnr: { base: { mode: "dynamic", fitCosts: false, calibrate: samples }, value: 60 },
  },
  "quantize float16": {
    keepIo: { base: { mode: "float16" }, value: false },
    blocklist: { base: { mode: "float16" }, value: "Conv" },
    measure: { base: { mode: "float16" }, value: false },
    calibrate: { base: { mode: "float16" }, value: samples },
    calibrationSamples: { base: { mode: "float16", calibrate: samples }, value: 4 },
    batchSize: RUN,
    threads: RUN,
  },
  equalize: {
    equalize: { base: { equalize: "smoothquant", calibrate: samples }, value: ["awq"] },
    alpha: { base: { equalize: "smoothquant", calibrate: samples }, value: 0.3 },
    insertMul: { base: { equalize: "smoothquant", calibrate: samples }, value: true },
    dtype: { base: { equalize: "awq", calibrate: samples, insertMul: true }, value: "int4" },
    granularity: { base: { equalize: "awq", calibrate: samples, insertMul: true, dtype: "int4" }, value: "group:16" },
    calibrate: { base: { equalize: "smoothquant", calibrate: samples }, value: samples.slice(0, 3) },
    calibrationSamples: { base: { equalize: "smoothquant", calibrate: samples }, value: 2 },
    batchSize: RUN,
    threads: RUN,
  },
  prune: {
    structure: { base: { ratio: 0.5 }, value: "weights" },
    ratio: { base: { ratio: 0.2 }, value: 0.5 },
    count: { base: { structure: "blocks", count: 1, calibrate: samples }, value: 2 },
    by: { base: { ratio: 0.3 }, value: "macs" },
    criterion: { base: { ratio: 0.3 }, value: "random" },
    gradients: { base: { ...onData, criterion: "taylor" }, value: "outputs" },
    ranking: { base: { ratio: 0.3 }, value: "global" },
    sensitivity: { base: onData, value: true },
    sensitivityRatios: { base: { ...onData, sensitivity: true }, value: [0.5] },
    reduce: { base: { ratio: 0.3, ranking: "global" }, value: "max" },
    normalize: { base: { ratio: 0.3, ranking: "global" }, value: "lamp" },
    threshold: { base: { structure: "weights", threshold: 0.01 }, value: 0.1 },
    minChannels: { base: { ratio: 0.9, ranking: "global" }, value: 8 },
    roundTo: { base: { ratio: 0.3 }, value: 8 },
    protect: { base: { ratio: 0.5 }, value: "Gemm" },
    layers: { base: zeros, value: "Conv" },
    cutInterface: { base: { ratio: 0.5 }, value: true },
    recover: { base: onData, value: "none" },
    damp: { base: { ...onData, recover: "least-squares" }, value: 0.5 },
    seed: { base: { ratio: 0.3, criterion: "random" }, value: 9 },
    calibrate: { base: { ratio: 0.3 }, value: samples },
    calibrationSamples: { base: onData, value: 6 },
    batchSize: RUN,
    target: ELSEWHERE,
    prove: { base: { ratio: 0.3 }, value: true },
    schedule: { base: zeros, value: "iterative" },
    steps: { base: { ...zeros, schedule: "iterative" }, value: 2 },
    finetune: { base: zeros, value: training },
    latencyTable: FILE,
    corpus: ELSEWHERE,
    tokenizer: FILE,
    vocabularyFiles: FILE,
    compressed: "in memory nothing is compressed: the command line's tests have it",
    data: { base: { ratio: 0.3, prove: true }, value: samples },
    samples: { base: { ratio: 0.3, prove: true, data: samples }, value: 2 },
    shapes: ELSEWHERE,
    runtime: RUN,
    threads: RUN,
    optimization: RUN,
  },
  shrink: {
    width: { base: { depth: 0.5, calibrate: samples }, value: 0.5 },
    depth: { base: { depth: 0.5, calibrate: samples }, value: 0.9 },
    weights: { base: { width: 0.5 }, value: "fresh" },
    calibrate: { base: { depth: 0.5, calibrate: samples }, value: samples.slice(0, 3) },
    calibrationSamples: { base: { depth: 0.5, calibrate: samples }, value: 2 },
    roundTo: { base: { width: 0.3 }, value: 8 },
    protect: { base: { width: 0.5 }, value: "Gemm" },
    threads: RUN,
    seed: { base: { weights: "fresh" }, value: 4 },
  },
  finetune: {
    ...learnt(training),
    loss: { base: training, value: { name: "cross-entropy", weight: 0.1 } },
    teacher: ELSEWHERE,
  },
  distill: {
    ...learnt(teaching),
    teacher: "always given",
    output: ELSEWHERE,
    teacherOutput: ELSEWHERE,
    soft: { base: teaching, value: "mse" },
    temperature: { base: teaching, value: 1, before: [{ prune: { ratio: 0.3 } }] },
    labels: { base: teaching, value: 0.9 },
    hints: ELSEWHERE,
    hintEpochs: ELSEWHERE,
  },
  sparse: {
    target: "always given: the few targets that load sparse constants",
    compressed: "in memory nothing is compressed: the command line's tests have it",
  },
  compare: {
    data: { base: { runs: 0 }, value: samples },
    samples: { base: { runs: 0, data: samples }, value: 3 },
    shapes: ELSEWHERE,
    metric: { base: { runs: 0, data: samples }, value: "cross-entropy" },
    runtime: RUN,
    threads: RUN,
    optimization: RUN,
    runs: { base: { runs: 0 }, value: 5 },
    perLayer: { base: { runs: 0 }, value: true, before: [{ quantize: { dtype: "int4" } }] },
    target: ELSEWHERE,
    calibrate: ELSEWHERE,
    compressed: "in memory nothing is compressed: the command line's tests have it",
  },
};

const rows = steps.map((step) => [titleOf(step), step] as const);

it.each(rows)("every option of %s has a case", (title, { options }) => {
  expect(Object.keys(cases[title] ?? {}).sort()).toEqual(Object.keys(options.shape).sort());
});

const tried = rows.flatMap(([title, step]) =>
  Object.entries(cases[title] ?? {}).flatMap(([option, each]) =>
    typeof each === "string" ? [] : [[`${title}: ${option}`, step.name, option, each] as const],
  ),
);

it.each(tried)("%s has an effect", async (_, name, option, { base = {}, value, before = [] }) => {
  const without = await resultOf([...before, { [name]: base }]);
  expect(await resultOf([...before, { [name]: { ...base, [option]: value } }])).not.toBe(without);
});

describe("options without effect", () => {
  const idle: readonly (readonly [string, string, Options])[] = [
    ["simplify", "tolerance", { level: "constants", tolerance: 0.1 }],
    ["quantize", "scale", { dtype: "float16", scale: "mse" }],
    ["quantize", "granularity", { dtype: "uint8", format: "codebook", granularity: "tensor" }],
    ["quantize", "accuracyLevel", { accuracyLevel: 0 }],
    ["quantize", "methodOptions", { methodOptions: { damping: 0.1 } }],
    ["quantize", "methodOptions", { ...integer, methodOptions: { damping: 0.1 } }],
    ["quantize", "seed", { seed: 3 }],
    ["quantize", "samples", { samples: 3 }],
    ["quantize", "iterations", { iterations: 3 }],
    ["quantize", "calibrationSamples", { calibrationSamples: 3 }],
    ["quantize", "percentile", { ...integer, percentile: 99 }],
    ["quantize", "calibrationSamples", { mode: "static", calibrationSamples: 3 }],
    ["quantize", "iterations", { ...integer, iterations: 3 }],
    ["quantize", "minActivationSqnr", { mode: "dynamic", minActivationSqnr: 3 }],
    ["quantize", "calibrationSamples", { mode: "dynamic", calibrationSamples: 3 }],
    ["quantize", "calibrationSamples", { mode: "float16", calibrationSamples: 3 }],
    ["equalize", "alpha", { equalize: "cross-layer", alpha: 0.5 }],
    ["equalize", "dtype", { equalize: "cross-layer", dtype: "int4" }],
    ["equalize", "insertMul", { equalize: "cross-layer", insertMul: true }],
    ["prune", "layers", { ratio: 0.3, layers: "conv1" }],
    ["prune", "ratio", { structure: "2:4", ratio: 0.3 }],
    ["prune", "by", { ...zeros, by: "macs" }],
    ["prune", "criterion", { structure: "vocabulary", criterion: "l1" }],
    ["prune", "gradients", { ratio: 0.3, criterion: "l1", gradients: "labels" }],
    ["prune", "ranking", { structure: "2:4", ranking: "global" }],
    ["prune", "sensitivityRatios", { ratio: 0.3, sensitivityRatios: [0.5] }],
    ["prune", "roundTo", { ...zeros, roundTo: 8 }],
    ["prune", "normalize", { ratio: 0.3, ranking: "layer", normalize: "mean" }],
    ["prune", "protect", { structure: "vocabulary", protect: "a" }],
    ["prune", "recover", { ...zeros, recover: "mean" }],
    ["prune", "damp", { ratio: 0.3, damp: 0.1 }],
    ["prune", "seed", { ratio: 0.3, seed: 1 }],
    ["prune", "calibrate", { ...zeros, calibrate: samples }],
    ["prune", "calibrationSamples", { ratio: 0.3, calibrationSamples: 3 }],
    ["prune", "steps", { ratio: 0.3, steps: 3 }],
    ["prune", "latencyTable", { ratio: 0.3, latencyTable: "absent.json" }],
    ["prune", "corpus", { ratio: 0.3, corpus: "/nonexistent" }],
    ["prune", "data", { ratio: 0.3, data: samples }],
    ["prune", "runtime", { ...zeros, runtime: "ort-web" }],
    ["prune", "shapes", { ...zeros, shapes: { x: [1, 3, 8, 8] } }],
    ["shrink", "calibrate", { width: 0.5, calibrate: samples }],
    ["shrink", "calibrationSamples", { depth: 0.5, calibrationSamples: 3 }],
    ["shrink", "roundTo", { depth: 0.5, roundTo: 8 }],
    ["shrink", "seed", { width: 0.5, seed: 3 }],
    ["finetune", "patience", { ...training, validation: 0, patience: 3 }],
    ["finetune", "cache", { ...training, cache: "a.npz" }],
    ["finetune", "resume", { ...training, resume: true }],
    ["distill", "temperature", { ...teaching, soft: "mse", temperature: 2 }],
    ["distill", "patience", { ...teaching, validation: 0, patience: 3 }],
    ["distill", "resume", { ...teaching, resume: true }],
    ["compare", "metric", { metric: "top-1" }],
    ["compare", "shapes", { data: samples, shapes: { x: [1, 3, 8, 8] } }],
    ["compare", "target", { target: "any" }],
  ];

  it.each(idle)("%s: %s is refused", async (name, option, options) => {
    const error: unknown = await run(net, { steps: [{ [name]: options } as RecipeStep] }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(TersorError);
    expect((error as TersorError).message).toContain(`"${option}" has no effect here: it goes with`);
  });

  it("are tried for every row of the table", () => {
    const count = Object.values(effects).reduce((sum, own) => sum + own.length, 0);
    // `cache` of distill always has its teacher.
    expect(idle.length).toBeGreaterThanOrEqual(count - 1);
  });
});
