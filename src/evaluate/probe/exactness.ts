/** @file Which integer kernels of a runtime sum exactly: tiny layers whose products overflow where pairs are summed in 16 bits. */
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import type { Runtime, SessionOptions } from "../../runtime/runtime.ts";
import type { KernelName } from "../../targets/target.ts";
import { hostTensor, numbersOf } from "../../tensor/host-tensor.ts";
import { elementCount, fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { openModel } from "../open-model.ts";
import { isRefusal, unlessRefused } from "./refusal.ts";

export type CodeType = "uint8" | "int8";

/** The codes of one case: what they are, and how large those of the weights get (7 bits: within ±64 of their zero point). */
export interface CodeRange {
  readonly activations: CodeType;
  readonly weights: CodeType;
  readonly bits: 7 | 8;
}

export interface ExactnessResult extends CodeRange {
  /** The operator in the file, such as "QLinearConv depthwise". */
  readonly operator: string;
  /** The kernel of a target that it tells about. */
  readonly kernel: KernelName;
  /** inexact: sums differ from those in 32 bits; refused: the model does not load or run. */
  readonly verdict: "exact" | "inexact" | "refused";
  /** Largest difference, relative to the largest result; absent when refused. */
  readonly error?: number;
  /** The runtime's words, when refused. */
  readonly reason?: string;
}

/** Length of a sum, sums of one row, and channels of the depthwise case: a multiple of what SIMD kernels take at once. */
const DEPTH = 64;
const COLUMNS = 16;
const TAPS = 9;
/** One row runs a matrix-vector kernel, several a matrix kernel. */
const ROWS = [1, 6] as const;
/** Step of quantized outputs, in sums: a power of two, so that the scale itself rounds nothing. */
const STEP = 4096;

interface Operator {
  readonly name: string;
  readonly kernel: KernelName;
  readonly layout: Layout;
  /** What the graph makes of the sums: themselves, as integers or floats, or codes of 8 bits. */
  readonly output: "sums" | "codes";
  /** The node that makes y of x, w, and the zero points xz and wz; `x` and `w` are dequantized to xd and wd. */
  readonly text: string;
}

/** How rows of codes and the matrix of weights lie in the tensors of an operator. */
interface Layout {
  readonly weightDims: readonly number[];
  inputDims(rows: number): readonly number[];
  /** The sums in 32 bits, in the order of the output. */
  sums(x: Int32Array, w: Int32Array, rows: number): Int32Array;
}

const matrix: Layout = {
  weightDims: [DEPTH, COLUMNS],
  inputDims: (rows) => [rows, DEPTH],
  sums: (x, w, rows) => {
    const out = new Int32Array(rows * COLUMNS);
    for (let m = 0; m < rows; m++)
      for (let k = 0; k < DEPTH; k++)
        for (let n = 0; n < COLUMNS; n++)
          (out[m * COLUMNS + n] as number) += (x[m * DEPTH + k] as number) * (w[k * COLUMNS + n] as number);
    return out;
  },
};

const pointwise: Layout = {
  weightDims: [COLUMNS, DEPTH, 1, 1],
  inputDims: (rows) => [1, DEPTH, rows, 1],
  sums: (x, w, rows) => {
    const out = new Int32Array(rows * COLUMNS);
    for (let n = 0; n < COLUMNS; n++)
      for (let k = 0; k < DEPTH; k++)
        for (let m = 0; m < rows; m++)
          (out[n * rows + m] as number) += (x[k * rows + m] as number) * (w[n * DEPTH + k] as number);
    return out;
  },
};

/** A 3x3 kernel on `rows` samples of 3x3. */
const depthwise: Layout = {
  weightDims: [COLUMNS, 1, 3, 3],
  inputDims: (rows) => [rows, COLUMNS, 3, 3],
  sums: (x, w, rows) =>
    Int32Array.from({ length: rows * COLUMNS }, (_, at) => {
      let sum = 0;
      for (let k = 0; k < TAPS; k++) sum += (x[at * TAPS + k] as number) * (w[(at % COLUMNS) * TAPS + k] as number);
      return sum;
    }),
};

/**
 * Codes read back as floats. They come from QuantizeLinear as in a real model: ONNX Runtime makes int8 codes of it uint8 on x86, and
 * leaves those of an input alone.
 */
const read =
  "xf = Cast <to = 1> (x) xq = QuantizeLinear(xf, one, xz) xd = DequantizeLinear(xq, one, xz) wd = DequantizeLinear(w, one, wz)";

const operators: readonly Operator[] = [
  {
    name: "MatMulInteger",
    kernel: "MatMulInteger",
    layout: matrix,
    output: "sums",
    text: "y = MatMulInteger(x, w, xz, wz)",
  },
  {
    name: "ConvInteger",
    kernel: "ConvInteger",
    layout: pointwise,
    output: "sums",
    text: "y = ConvInteger(x, w, xz, wz)",
  },
  {
    name: "QLinearMatMul",
    kernel: "MatMul",
    layout: matrix,
    output: "codes",
    text: "y = QLinearMatMul(x, one, xz, w, one, wz, step, yz)",
  },
  {
    name: "QLinearConv",
    kernel: "Conv",
    layout: pointwise,
    output: "codes",
    text: "y = QLinearConv(x, one, xz, w, one, wz, step, yz)",
  },
  {
    name: "QLinearConv depthwise",
    kernel: "Conv depthwise",
    layout: depthwise,
    output: "codes",
    text: `y = QLinearConv <group = ${COLUMNS}> (x, one, xz, w, one, wz, step, yz)`,
  },
  {
    name: "Conv between Q/DQ",
    kernel: "Conv",
    layout: pointwise,
    output: "codes",
    text: `${read} c = Conv(xd, wd) y = QuantizeLinear(c, step, yz)`,
  },
  { name: "MatMul between Q/DQ", kernel: "MatMul", layout: matrix, output: "sums", text: `${read} y = MatMul(xd, wd)` },
  { name: "Gemm between Q/DQ", kernel: "Gemm", layout: matrix, output: "sums", text: `${read} y = Gemm(xd, wd)` },
];

const codeRanges: readonly CodeRange[] = [
  { activations: "uint8", weights: "int8", bits: 8 },
  { activations: "uint8", weights: "int8", bits: 7 },
  { activations: "uint8", weights: "uint8", bits: 8 },
  { activations: "int8", weights: "int8", bits: 8 },
  { activations: "int8", weights: "int8", bits: 7 },
];

/** How many cases there are. */
export const exactnessCases = operators.length * codeRanges.length;

/**
 * Runs every operator on codes that overflow 16 bits in pairs, and compares with sums in 32 bits.
 * @param onCase called after each
 * @throws aborted; runtime-failed when the runtime itself is missing
 */
export async function measureExactness(
  runtime: Runtime,
  options: SessionOptions,
  onCase: (done: number) => void = () => {},
): Promise<ExactnessResult[]> {
  const results: ExactnessResult[] = [];
  for (const operator of operators)
    for (const range of codeRanges) {
      results.push(await measure(operator, range, runtime, options));
      onCase(results.length);
    }
  return results;
}

async function measure(
  operator: Operator,
  range: CodeRange,
  runtime: Runtime,
  options: SessionOptions,
): Promise<ExactnessResult> {
  const { name, kernel, layout, output } = operator;
  const about = { operator: name, kernel, ...range };
  const w = weightCodes(range, layout.weightDims);
  const products = Int32Array.from(w.toNumbers(), (code) => code - middleOf(range.weights));
  const result = await unlessRefused(async () => {
    const session = await openModel(modelOf(operator, range, w), runtime, options);
    try {
      let error = 0;
      for (const rows of ROWS) {
        const x = activationCodes(range.activations, layout.inputDims(rows), rows);
        const { y } = await session.run({ x }, ["y"], options);
        const sums = layout.sums(Int32Array.from(numbersOf(x, "probe")), products, rows);
        const [expected, slack] =
          output === "codes" ? ([sums.map((sum) => codeOf(sum, range.activations)), 1] as const) : ([sums, 0] as const);
        error = Math.max(error, errorOf(expected, y ? numbersOf(y, "probe") : [], slack));
      }
      return { error };
    } finally {
      await session.release();
    }
  });
  if (isRefusal(result)) return { ...about, ...result, verdict: "refused" };
  return { ...about, ...result, verdict: result.error === 0 ? "exact" : "inexact" };
}

/** Weights as far from the zero point as the bits allow, signs at random: a quarter of all pairs overflows each way. */
function weightCodes({ weights, bits }: CodeRange, dims: readonly number[]): Tensor {
  const limit = bits === 8 ? 127 : 64;
  const rng = new Rng(0, "probe weights");
  const code = () => middleOf(weights) + (rng.uniform() < 0.5 ? -limit : limit);
  return fromNumbers(weights, dims, Array.from({ length: elementCount(dims) }, code));
}

/** One row: the largest code everywhere. Several: any codes. */
function activationCodes(dtype: CodeType, dims: readonly number[], rows: number) {
  const rng = new Rng(1, "probe activations");
  const [low, high] = dtype === "uint8" ? [0, 255] : [-128, 127];
  const code = () => (rows === 1 ? high : low + Math.floor(rng.uniform() * (high - low + 1)));
  return hostTensor(dtype, dims, Array.from({ length: elementCount(dims) }, code));
}

function modelOf({ layout, text }: Operator, { activations, weights }: CodeRange, w: Tensor): Model {
  // What is 0 without rows is free.
  const dims = layout.inputDims(0).map((dim) => dim || "R");
  return parse`(${activations}[${dims.join()}] x) => (y)
    <${weights}[${layout.weightDims.join()}] w = ${w}, ${activations} xz = {0}, ${weights} wz = {${middleOf(weights)}},
     float one = {1}, float step = {${STEP}}, ${activations} yz = {${middleOf(activations)}}>
    { ${text} }`;
}

const middleOf = (dtype: CodeType) => (dtype === "uint8" ? 128 : 0);

/** The code of a sum: rounded to even, around a zero point in the middle. */
function codeOf(sum: number, dtype: CodeType): number {
  const floor = Math.floor(sum / STEP);
  const rest = sum / STEP - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0);
  return middleOf(dtype) + Math.min(127, Math.max(-128, floor + (up ? 1 : 0)));
}

/** The largest difference relative to the largest magnitude; up to `slack` it is rounding. */
function errorOf(expected: Int32Array, got: ArrayLike<number>, slack: number): number {
  let [largest, worst] = [1, 0];
  expected.forEach((value, i) => {
    const difference = Math.abs((got[i] ?? Number.NaN) - value);
    if (Number.isNaN(difference)) worst = Number.POSITIVE_INFINITY;
    else if (difference > slack) worst = Math.max(worst, difference);
    largest = Math.max(largest, Math.abs(value));
  });
  return worst / largest;
}
