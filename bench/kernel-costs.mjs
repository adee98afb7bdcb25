/**
 * @file What layers cost in float32 and in integers: the coefficients of a target's row (src/targets/costs.ts), fitted to measured chains.
 *
 * Usage: node bench/kernel-costs.mjs [--runtime ort-node|ort-web] [--rounds N] [--only KERNEL] [--json FILE] [--fit FILE]
 * Needs `npm run build`. A chain of equal layers is quantized statically, so that Q/DQ and layout changes at its ends count little; the
 * two are timed in turns on one thread. A second chain with a float operator between its layers shows what the ends cost.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { datasetOf } from "../dist/data/dataset.js";
import { parse } from "../dist/ir/text/index.js";
import { quantizeDynamic } from "../dist/quantize/dynamic/dynamic.js";
import { quantizeStatic } from "../dist/quantize/static/static.js";
import { quantize } from "../dist/quantize/weights/quantize-weights.js";
import { inProcessRuntime } from "../dist/runtime/in-process.js";
import { targetNamed } from "../dist/targets/targets.js";
import { hostTensor } from "../dist/tensor/host-tensor.js";
import { float32 } from "../dist/tensor/tensor.js";
import { Rng } from "../dist/util/rng.js";
import { markdown } from "./measure.mjs";
import { bytesOf } from "./zoo.mjs";

const { values: args } = parseArgs({
  options: {
    runtime: { type: "string", default: "ort-node" },
    rounds: { type: "string", default: "15" },
    json: { type: "string" },
    fit: { type: "string" },
    only: { type: "string" },
  },
});

const LAYERS = 6;
const rng = new Rng(1, "costs");
const random = (dims) =>
  float32(
    dims,
    Float32Array.from(
      { length: dims.reduce((a, b) => a * b, 1) },
      () => rng.normal() / Math.sqrt(dims.slice(1).reduce((a, b) => a * b, 1)),
    ),
  );

/** A chain of convolutions [c, c/group, k, k] on [1, c, size, size], each with Relu; `between` a float operator after each. */
function convolutions({ c, size, k, depthwise }, between) {
  const group = depthwise ? c : 1;
  const names = Array.from({ length: LAYERS }, (_, i) => i);
  const weights = names
    .map((i) => `float[${c},${c / group},${k},${k}] w${i} = {…w${i}}, float[${c}] b${i} = {…b${i}}`)
    .join(", ");
  const p = (k - 1) / 2;
  const body = names
    .map((i) => {
      const input = i === 0 ? "x" : `y${i - 1}`;
      const conv = `a${i} = Conv<kernel_shape = [${k}, ${k}], pads = [${p}, ${p}, ${p}, ${p}], group = ${group}>(${input}, w${i}, b${i})`;
      return between ? `${conv}\n y${i} = Softsign(a${i})` : `${conv}\n y${i} = Relu(a${i})`;
    })
    .join("\n");
  const tensors = new Map(
    names.flatMap((i) => [
      [`w${i}`, random([c, c / group, k, k])],
      [`b${i}`, random([c])],
    ]),
  );
  const shape = `float[1,${c},${size},${size}]`;
  return {
    model: parse(
      `<ir_version: 8, opset_import: ["": 17]> g (${shape} x) => (${shape} y${LAYERS - 1}) <${weights}> { ${body} }`,
      { tensors: (key) => tensors.get(key) },
    ),
    dims: [1, c, size, size],
  };
}

/** A chain of products [1, rows, n] · [n, n]. */
function products({ kernel, rows, n }, between) {
  const names = Array.from({ length: LAYERS }, (_, i) => i);
  const weights = names.map((i) => `float[${n},${n}] w${i} = {…w${i}}, float[${n}] b${i} = {…b${i}}`).join(", ");
  const body = names
    .map(
      (i) =>
        `a${i} = ${kernel}(${i === 0 ? "x" : `y${i - 1}`}, w${i}${kernel === "Gemm" ? `, b${i}` : ""})\n y${i} = ${between ? "Softsign" : "Relu"}(a${i})`,
    )
    .join("\n");
  const tensors = new Map(
    names.flatMap((i) => [
      [`w${i}`, random([n, n])],
      [`b${i}`, random([n])],
    ]),
  );
  const dims = kernel === "Gemm" ? [rows, n] : [1, rows, n];
  const shape = `float[${dims}]`;
  return {
    model: parse(
      `<ir_version: 8, opset_import: ["": 17]> g (${shape} x) => (${shape} y${LAYERS - 1}) <${weights}> { ${body} }`,
      { tensors: (key) => tensors.get(key) },
    ),
    dims,
  };
}

/** Pointwise and depthwise layers by turns: what it costs to go from integers to a float layer and back. */
function separable({ c, size, k }) {
  const names = Array.from({ length: LAYERS }, (_, i) => i);
  const isDepthwise = (i) => i % 2 === 1;
  const dimsOf = (i) => (isDepthwise(i) ? [c, 1, k, k] : [c, c, 1, 1]);
  const weights = names.map((i) => `float[${dimsOf(i)}] w${i} = {…w${i}}, float[${c}] b${i} = {…b${i}}`).join(", ");
  const body = names
    .map((i) => {
      const p = isDepthwise(i) ? (k - 1) / 2 : 0;
      return `[${isDepthwise(i) ? "depthwise" : "pointwise"}${i}] a${i} = Conv<pads = [${p}, ${p}, ${p}, ${p}], group = ${isDepthwise(i) ? c : 1}>(${i === 0 ? "x" : `y${i - 1}`}, w${i}, b${i})\n y${i} = Relu(a${i})`;
    })
    .join("\n");
  const tensors = new Map(
    names.flatMap((i) => [
      [`w${i}`, random(dimsOf(i))],
      [`b${i}`, random([c])],
    ]),
  );
  const shape = `float[1,${c},${size},${size}]`;
  const text = `<ir_version: 8, opset_import: ["": 17]> g (${shape} x) => (${shape} y${LAYERS - 1}) <${weights}> { ${body} }`;
  return { model: parse(text, { tensors: (key) => tensors.get(key) }), dims: [1, c, size, size] };
}

const separables = [
  [16, 64],
  [24, 48],
  [32, 32],
  [64, 16],
  [64, 32],
  [96, 12],
  [128, 16],
  [256, 8],
].map(([c, size]) => ({ c, size, k: 3 }));

const cases = [
  ...[
    [8, 32],
    [8, 64],
    [16, 16],
    [16, 32],
    [16, 64],
    [24, 24],
    [24, 48],
    [32, 16],
    [32, 32],
    [48, 24],
    [64, 8],
    [64, 16],
    [64, 32],
    [96, 12],
    [128, 8],
    [128, 16],
    [256, 8],
  ].flatMap(([c, size]) => [
    { kernel: "Conv", c, size, k: 1 },
    { kernel: "Conv", c, size, k: 3 },
    { kernel: "Conv depthwise", c, size, k: 3, depthwise: true },
    ...(c <= 64 ? [{ kernel: "Conv depthwise", c, size, k: 5, depthwise: true }] : []),
  ]),
  ...[
    [1, 64],
    [1, 256],
    [1, 768],
    [8, 64],
    [8, 256],
    [32, 64],
    [32, 256],
    [32, 768],
    [128, 64],
    [128, 256],
    [128, 512],
  ].flatMap(([rows, n]) => [
    { kernel: "MatMul", rows, n },
    { kernel: "Gemm", rows, n },
  ]),
];

/** The target of the runtime, with every kernel in integers: what is measured must not be decided yet. */
const target = (() => {
  const row = targetNamed(args.runtime === "ort-web" ? "web-wasm" : "node-x64-vnni");
  const kernels = Object.fromEntries(
    Object.entries(row.kernels).map(([name, fact]) => [name, { ...fact, runs: "integer", speed: 1 }]),
  );
  return { ...row, kernels, costs: [] };
})();

const runtime = inProcessRuntime(args.runtime);
const node = inProcessRuntime("ort-node");
const open = (model) => runtime.create(bytesOf(model), { threads: 1 });

/** Least microseconds of a run of each session, in turns. */
async function least(sessions, feeds) {
  const best = sessions.map(() => Number.POSITIVE_INFINITY);
  for (let round = -1; round < Number(args.rounds); round++)
    for (const [at, session] of sessions.entries())
      for (const ms of await session.time(feeds, 4)) if (round >= 0) best[at] = Math.min(best[at], ms * 1000);
  return best;
}

async function measureCase(each) {
  const times = [];
  for (const between of [false, true]) {
    const { model, dims } = each.rows ? products(each, between) : convolutions(each, between);
    const x = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal());
    // A row of Gemm is a sample.
    const batch = each.kernel === "Gemm" ? each.rows : 1;
    const size = x.length / batch;
    const samples = datasetOf(
      "made up",
      Array.from({ length: batch }, (_, at) => ({
        id: `#${at}`,
        inputs: { x: hostTensor("float32", [1, ...dims.slice(1)], x.slice(at * size, (at + 1) * size)) },
      })),
    );
    const quantized = await quantizeStatic(
      model,
      samples,
      { target, layers: undefined },
      { open: (probed) => node.create(bytesOf(probed), { threads: 1 }) },
    );
    // Weights alone: they are decoded at every run.
    const decoding = between
      ? []
      : [
          await open(quantize(model, { minElements: 1 }).model),
          await open(quantizeDynamic(model, { target, minElements: 1, depthwise: true, fitCosts: false }).model),
        ];
    const sessions = [await open(model), await open(quantized.model), ...decoding];
    times.push(...(await least(sessions, { x: hostTensor("float32", dims, x) })));
    for (const session of sessions) await session.release();
  }
  const [float, integer, decoded, dynamic, floatBetween, integerBetween] = times.map((time) => time / LAYERS);
  const { k = 1, c = each.n, size = 1, rows = 1, depthwise } = each;
  const outputs = each.rows ? rows * each.n : c * size * size;
  const macs = each.rows ? rows * each.n * each.n : outputs * (depthwise ? 1 : c) * k * k;
  return {
    ...each,
    outputs,
    macs,
    taps: each.rows ? 0 : size * size * k * k,
    float,
    integer,
    weights: macs / (each.rows ?? size * size),
    decode: decoded - float,
    dynamic,
    ends: integerBetween - floatBetween - (integer - float),
  };
}

/** Chains of separable layers: float32, all in integers, and with the depthwise ones float. */
async function measureSeparable(each) {
  const { model, dims } = separable(each);
  const x = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal());
  const samples = datasetOf("made up", [{ id: "#0", inputs: { x: hostTensor("float32", dims, x) } }]);
  const running = { open: (probed) => node.create(bytesOf(probed), { threads: 1 }) };
  const all = await quantizeStatic(model, samples, { target }, running);
  const some = await quantizeStatic(model, samples, { target, layers: "pointwise*" }, running);
  const sessions = [await open(model), await open(all.model), await open(some.model)];
  const [float, integer, mixed] = (await least(sessions, { x: hostTensor("float32", dims, x) })).map(
    (time) => time / LAYERS,
  );
  for (const session of sessions) await session.release();
  return { ...each, outputs: each.c * each.size ** 2, float, integer, mixed };
}

/** Nonnegative least squares of relative errors, by coordinates. rows: [features, value] */
function leastSquares(rows, width) {
  const beta = new Array(width).fill(0);
  const scaled = rows.map(([x, y]) => x.map((v) => v / y));
  for (let sweep = 0; sweep < 20000; sweep++)
    for (let j = 0; j < width; j++) {
      let top = 0;
      let bottom = 0;
      for (const x of scaled) {
        const rest = 1 - x.reduce((sum, v, i) => sum + (i === j ? 0 : v * beta[i]), 0);
        top += x[j] * rest;
        bottom += x[j] * x[j];
      }
      beta[j] = bottom > 0 ? Math.max(0, top / bottom) : 0;
    }
  const errors = rows
    .map(([x, y]) => Math.abs(x.reduce((sum, v, i) => sum + v * beta[i], 0) / y - 1))
    .sort((a, b) => a - b);
  return { beta, median: errors[errors.length >> 1], worst: errors.at(-1) };
}

const { results, separate } = args.fit ? JSON.parse(readFileSync(args.fit, "utf8")) : { results: [], separate: [] };
if (!args.fit)
  for (const each of args.only ? [] : separables) {
    separate.push(await measureSeparable(each));
    console.error(JSON.stringify(separate.at(-1)));
  }
if (!args.fit)
  for (const each of cases.filter(({ kernel }) => kernel === (args.only ?? kernel))) {
    results.push(await measureCase(each));
    console.error(JSON.stringify(results.at(-1)));
    if (args.json) writeFileSync(args.json, JSON.stringify({ results, separate }, null, 1));
  }
const number = (value) => Number(value.toPrecision(3));
console.log(
  markdown(
    ["kernel", "shape", "MACs", "float32 us", "integer us", "ratio", "ends us", "dynamic us"],
    results.map(({ kernel, c, size, k, rows, n, macs, float, integer, ends, dynamic }) => [
      kernel,
      rows ? `${rows}x${n}` : `${c}x${size}x${size} k${k}`,
      macs,
      number(float),
      number(integer),
      number(integer / float),
      number(ends),
      number(dynamic),
    ]),
  ),
);
const fits = [];
const percent = (share) => `${Math.round(share * 100)} %`;
for (const kernel of new Set(results.map((each) => each.kernel)))
  for (const kind of ["float", "integer", "dynamic"]) {
    const rows = results
      .filter((each) => each.kernel === kernel)
      .map((each) => [[1, each.macs / 1e6, each.outputs / 1e3, each.weights / 1e3, each.taps / 1e3], each[kind]]);
    const { beta, median, worst } = leastSquares(rows, 5);
    fits.push([kernel, kind, ...beta.map(number), percent(median), percent(worst)]);
  }
const decodes = results.filter(({ kernel, decode }) => kernel === "Conv" && decode > 0);
const decode = leastSquares(
  decodes.map((each) => [[1, each.weights / 1e3], each.decode]),
  2,
);
// From integers to a float layer and back: what a mixed chain takes beyond its layers.
const trips = separate.map(({ c, size, mixed, outputs }) => {
  const known = (kernel, k) =>
    results.find((each) => each.kernel === kernel && each.c === c && each.size === size && each.k === k);
  return [[1, outputs / 1e3], 2 * mixed - known("Conv", 1).integer - known("Conv depthwise", 3).float];
});
const trip = leastSquares(
  trips.filter(([, time]) => time > 0),
  2,
);
fits.push([
  "there and back",
  "",
  number(trip.beta[0]),
  "",
  number(trip.beta[1]),
  "",
  "",
  percent(trip.median),
  percent(trip.worst),
]);
console.log(
  `\n${markdown(
    ["separable", "float32 us", "all integer", "depthwise float", "there and back"],
    separate.map(({ c, size, float, integer, mixed }, at) => [
      `${c}x${size}x${size}`,
      ...[float, integer, mixed, trips[at][1]].map(number),
    ]),
  )}`,
);
fits.push([
  "decoding 1,000 weights",
  "",
  number(decode.beta[0]),
  "",
  number(decode.beta[1]),
  "",
  "",
  percent(decode.median),
  percent(decode.worst),
]);
const heads = [
  "kernel",
  "",
  "us a node",
  "us a million MACs",
  "us a thousand outputs",
  "unfolded",
  "taps",
  "median error",
  "worst",
];
console.log(`\n${markdown(heads, fits)}`);
