/** @file Measures the machine it stands on: whether integer kernels are exact, what they round, how fast they are. */
import type { Runtime, SessionOptions } from "../../runtime/runtime.ts";
import type { Target } from "../../targets/target.ts";
import { openModel } from "../open-model.ts";
import { type ExactnessResult, exactnessCases, measureExactness } from "./exactness.ts";
import type { ProbeFindings, ProbeOptions } from "./findings.ts";
import { floatChain, type WeightCodes } from "./models.ts";
import { measureFloat16, measureNBits } from "./precision.ts";
import { probedTarget } from "./probed-target.ts";
import { comparisonCount, measureSpeeds } from "./speed.ts";

export interface ProbeReport extends ProbeFindings {
  /** A row that `--target FILE.json` takes; its evidence says what was measured. */
  readonly target: Target;
}

/** Takes some seconds. @throws aborted; runtime-failed when the runtime can't run a float32 MatMul */
export async function probe(runtime: Runtime, options: ProbeOptions): Promise<ProbeReport> {
  const { base, threads = 1, signal, budgetMs = 1000, onStep = () => {} } = options;
  const session: SessionOptions = { threads, executionProvider: base.executionProvider, ...(signal && { signal }) };
  // A runtime that is not there would refuse everything: that is an error, not a finding.
  const plain = floatChain([1, 4], [{ text: "MatMul", dims: [4, 4], axis: 1 }], "float");
  await (await openModel(plain, runtime, session)).release();
  const exactness = await measureExactness(runtime, session, (done) => onStep("integer sums", done, exactnessCases));
  const matMulNBits = await measureNBits(runtime, session);
  const float16 = await measureFloat16(runtime, session);
  const weights = exactWeights(exactness);
  const speeds = await measureSpeeds(runtime, weights, {
    ...session,
    budgetMs,
    // An engine replaces wasm by its optimized form in the background, some hundred milliseconds after it was first run.
    warmUpMs: base.runtime === "ort-web" ? budgetMs / 2 : 0,
    onComparison: (done) => onStep("speed of kernels", done, comparisonCount),
  });
  const findings = { weights, exactness, matMulNBits, float16, speeds };
  return { target: probedTarget(options, findings), ...findings };
}

/** In the order of preference. */
const choices: readonly WeightCodes[] = [
  { dtype: "int8", bits: 8 },
  { dtype: "int8", bits: 7 },
  { dtype: "uint8", bits: 8 },
];

function exactWeights(exactness: readonly ExactnessResult[]): WeightCodes {
  const used = exactness.filter(({ activations }) => activations === "uint8");
  const isExact = ({ dtype, bits }: WeightCodes) =>
    used.every((each) => each.weights !== dtype || each.bits !== bits || each.verdict !== "inexact");
  return choices.find(isExact) ?? { dtype: "int8", bits: 7 };
}
