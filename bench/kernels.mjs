/**
 * @file Every kernel on 24,576 x 768 f32 weights (75.5 MB) as a multiple of copying them: node bench/kernels.mjs [rounds].
 * Each round runs all kernels and the copy once; the ratio is the median over rounds of kernel / copy of the same round.
 * Needs `npm run build`.
 */
import { createKernels, quantizeMatMulNBits } from "../dist/kernels/index.js";

const rows = 24576;
const n = 768;
const count = rows * n;
const rounds = Number(process.argv[2] ?? 9);
const k = createKernels({ backend: process.env.TERSOR_KERNELS === "reference" ? "reference" : "wasm" });

const x = k.memory.alloc32(count);
const y = k.memory.alloc32(count);
const codes = k.memory.alloc(count);
const a = k.memory.alloc32(count / 16);
const b = k.memory.alloc32(count / 16);
const scales = k.memory.alloc32(count / 16);
const zeroPoints = k.memory.alloc32(count / 16);
const weights = k.memory.f32(x, count);
for (let i = 0, s = 1; i < count; i++) {
  s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
  const u = s / 2 ** 32 - 0.5;
  weights[i] = u * u * u * 0.5;
}
k.memory.f32(scales, count / 16).fill(0.0625 / 127);
k.memory.i32(zeroPoints, count / 16).fill(0);

const tensor = { runLength: count, count: 1 };
const blocks = { runLength: 32, count: count / 32 };
const filters = { runLength: 9, count: (Math.floor(count / 9) / 8) | 0 };
const matrix = { rows, n };
const params = { scales, zeroPoints };
const int8 = { qmin: -128, qmax: 127 };
const int4 = { qmin: -8, qmax: 7 };
const stochastic = { mode: "stochastic", seed: 1, key: 2 };
const ratios = Array.from({ length: 40 }, (_, i) => 1 - i * 0.0125);
const nbits = (bits, blockSize, mode) => () => {
  const { memory } = k;
  memory.scope(() => {
    const out = { packed: codes, scales: a, zeroPoints: mode === "asymmetric" ? b : undefined };
    quantizeMatMulNBits(k, x, matrix, { bits, blockSize, params: mode }, out);
  });
};

const all = [
  ["absmax per tensor", 1, () => k.absMaxRuns(x, tensor, a)],
  ["absmax per column", 1, () => k.absMaxColumns(x, matrix, a)],
  ["absmax per run of 32", 1, () => k.absMaxRuns(x, blocks, a)],
  ["min/max per tensor", 1, () => k.minMaxRuns(x, tensor, a, b)],
  ["min/max per column", 1, () => k.minMaxColumns(x, matrix, a, b)],
  ["min/max per run of 32", 1, () => k.minMaxRuns(x, blocks, a, b)],
  ["int8 per tensor, nearest", 1, () => k.quantizeRuns(x, tensor, params, int8, codes)],
  ["int8 per tensor, half-up", 1, () => k.quantizeRuns(x, tensor, params, int8, codes, "half-up")],
  ["int8 per tensor, stochastic", 1, () => k.quantizeRuns(x, tensor, params, int8, codes, stochastic)],
  ["int8 per column, nearest", 1, () => k.quantizeColumns(x, matrix, params, int8, codes)],
  ["int8 per column, stochastic", 1, () => k.quantizeColumns(x, matrix, params, int8, codes, stochastic)],
  ["int8 per run of 32", 1, () => k.quantizeRuns(x, blocks, params, int8, codes)],
  ["int8 per run of 9 (1/8 of the data)", 8, () => k.quantizeRuns(x, filters, params, int8, codes)],
  ["dequantize int8 per tensor", 1, () => k.dequantizeRuns(codes, true, tensor, params, y)],
  ["dequantize int8 per column", 1, () => k.dequantizeColumns(codes, true, matrix, params, y)],
  ["MatMulNBits 4 bits, block 32, symmetric", 1, nbits(4, 32, "full")],
  ["MatMulNBits 4 bits, block 32, asymmetric", 1, nbits(4, 32, "asymmetric")],
  ["MatMulNBits 4 bits, block 128, symmetric", 1, nbits(4, 128, "full")],
  ["MatMulNBits 8 bits, block 32, symmetric", 1, nbits(8, 32, "full")],
  ["MatMulNBits 2 bits, block 32, symmetric", 1, nbits(2, 32, "full")],
  ["pack to 4 bits", 1, () => k.pack(codes, count, 4, y)],
  ["pack to 2 bits", 1, () => k.pack(codes, count, 2, y)],
  ["f32 to f16", 1, () => k.floatToHalf(x, count, y)],
  ["f16 to f32 (half of the data)", 2, () => k.halfToFloat(x, count / 2, y)],
  ["f32 to bf16", 1, () => k.floatToBfloat(x, count, y)],
  ["sum of squares", 1, () => k.sumSquares(x, count)],
  ["sum of squared difference", 1, () => k.sumSquaredDifference(x, y, count)],
  ["exact median of |x|", 1, () => k.selectAbs(x, count, count / 2)],
  [
    "scale search, 40 candidates, per tensor (1/16)",
    16,
    () => k.searchRuns(x, { runLength: count / 16, count: 1 }, { scales: a }, int4, ratios),
  ],
  [
    "scale search, 40 candidates, run of 32 (1/16)",
    16,
    () => k.searchRuns(x, { runLength: 32, count: count / 512 }, { scales: a }, int4, ratios),
  ],
  [
    "scale search, 40 candidates, block 32 of columns (1/16)",
    16,
    () => {
      for (let row = 0; row < rows / 16; row += 32)
        k.searchColumns(x + row * n * 4, { rows: 32, n }, { scales: a }, int4, ratios);
    },
  ],
];

const only = process.argv[3];
const cases = all.filter(([name]) => !only || name.includes(only));

const copy = () => {
  const { memory } = k;
  memory.f32(y, count).set(memory.f32(x, count));
};
const time = (work) => {
  const start = performance.now();
  work();
  return performance.now() - start;
};
const median = (values) => values.toSorted((p, q) => p - q)[values.length >> 1];

for (const work of [copy, ...cases.map(([, , run]) => run)]) work();
const times = cases.map(() => []);
const copies = [];
for (let round = 0; round < rounds; round++) {
  copies.push(time(copy));
  for (const [i, [, share, run]] of cases.entries()) {
    k.memory.f32(a, 1)[0] = 0.0625 / 8;
    times[i].push(time(run) * share);
  }
}

console.log(`Node ${process.version}, ${k.backend}, ${count} f32 weights, ${rounds} interleaved rounds.`);
console.log(`Copy: median ${median(copies).toFixed(1)} ms, least ${Math.min(...copies).toFixed(1)} ms.\n`);
console.log("| kernel | least ms | median ratio to copy | Mweights/s |\n|---|---|---|---|");
for (const [i, [name]] of cases.entries()) {
  const least = Math.min(...times[i]);
  const ratio = median(times[i].map((value, round) => value / copies[round]));
  console.log(`| ${name} | ${least.toFixed(1)} | ${ratio.toFixed(2)} | ${(count / least / 1000).toFixed(0)} |`);
}
