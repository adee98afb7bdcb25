/** @file A probe's verdicts against sums made here, in ONNX Runtime on this machine and in wasm. */
import { describe, expect, it } from "vitest";
import { optimizedOps } from "../../../test/optimized-graph.ts";
import { encode } from "../../../test/wire.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { kernelObstacle } from "../../targets/target.ts";
import { parseTarget, targetNamed } from "../../targets/targets.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { fromNumbers } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { type ExactnessResult, measureExactness } from "./exactness.ts";
import { quantizedChain } from "./models.ts";
import { measureFloat16, measureNBits } from "./precision.ts";
import { probe } from "./probe.ts";
import { probedTarget } from "./probed-target.ts";

const about = { name: "here", machine: "a machine", measuredWith: "a test" };

type Range = Pick<ExactnessResult, "activations" | "weights" | "bits">;

/** The sums that a runtime gives for a 5 x 96 by 96 x 24 product of any codes in range, and those in 32 bits. */
async function products(runtime: Runtime, { activations, weights, bits }: Range, op: string) {
  const [rows, depth, columns] = [5, 96, 24];
  const rng = new Rng(11, "codes");
  const any = (count: number, low: number, high: number) =>
    Array.from({ length: count }, () => low + Math.floor(rng.uniform() * (high - low + 1)));
  const x = any(rows * depth, ...((activations === "uint8" ? [128, 255] : [0, 127]) as [number, number]));
  const limit = bits === 8 ? 127 : 64;
  const w = any(depth * columns, 0, 1).map((bit) => (bit ? limit : -limit) + (weights === "uint8" ? 128 : 0));
  const model = parse`(${activations}[5,96] x) => (y)
    <${weights}[96,24] w = ${fromNumbers(weights, [depth, columns], w)}, ${activations} xz = {0}, ${weights} wz = {${weights === "uint8" ? 128 : 0}}, float one = {1}>
    { ${op} }`;
  const session = await runtime.create(encode(model), { threads: 1 });
  const { y } = await session.run({ x: hostTensor(activations, [rows, depth], x) });
  await session.release();
  const zero = weights === "uint8" ? 128 : 0;
  const expected = Array.from({ length: rows * columns }, (_, at) => {
    const [m, n] = [Math.floor(at / columns), at % columns];
    let sum = 0;
    for (let k = 0; k < depth; k++) sum += (x[m * depth + k] as number) * ((w[k * columns + n] as number) - zero);
    return sum;
  });
  return { expected, got: Array.from(y?.data as Int32Array, Number) };
}

const read =
  "f = Cast <to = 1> (x) q = QuantizeLinear(f, one, xz) d = DequantizeLinear(q, one, xz) v = DequantizeLinear(w, one, wz)";
const ops: Readonly<Record<string, string>> = {
  MatMulInteger: "y = MatMulInteger(x, w, xz, wz)",
  "MatMul between Q/DQ": `${read} y = MatMul(d, v)`,
  "Gemm between Q/DQ": `${read} y = Gemm(d, v)`,
};

describe.each(["ort-node", "ort-web"] as const)("%s", (name) => {
  it("is called exact where its sums are those in 32 bits, on other codes too", async () => {
    const runtime = inProcessRuntime(name);
    const results = await measureExactness(runtime, { threads: 1 });
    expect(results.map(({ verdict }) => verdict)).not.toContain("refused");
    let checked = 0;
    for (const result of results) {
      const op = ops[result.operator];
      if (op === undefined) continue;
      const { expected, got } = await products(runtime, result, op);
      expect(got.join() === expected.join(), JSON.stringify(result)).toBe(result.verdict === "exact");
      checked++;
    }
    expect(checked).toBe(15);
  });

  it("rounds activations in MatMulNBits at level 0 never; float16 is computed in float32", async () => {
    const runtime = inProcessRuntime(name);
    const levels = await measureNBits(runtime, { threads: 1 });
    const zero = levels.filter(({ accuracyLevel }) => accuracyLevel === 0);
    expect(zero.map(({ bits, activations }) => [bits, activations])).toEqual([
      [4, "float32"],
      [8, "float32"],
    ]);
    expect(Math.max(...levels.map(({ error = 1 }) => error))).toBeLessThan(0.02);
    const half = await measureFloat16(runtime, { threads: 1 });
    expect(half.map(({ computes }) => computes)).toEqual(["float32", "float32"]);
  });
});

it("all of it becomes a target, for which no kernel is wrong", async () => {
  const report = await probe(inProcessRuntime("ort-node"), { ...about, base: targetNamed("node-x64"), budgetMs: 1 });
  const { target, exactness, speeds } = report;
  expect(parseTarget(JSON.parse(JSON.stringify(target)), "here.json")).toEqual(target);
  const overflows = exactness.some((each) => each.weights === "int8" && each.bits === 8 && each.verdict === "inexact");
  expect(target.saturates).toBe(overflows);
  expect(target.weights).toEqual({ dtype: "int8", bits: overflows ? 7 : 8, perChannel: true });
  expect(Object.values(target.kernels).map(({ runs }) => runs)).not.toContain("wrong");
  expect(speeds.map(({ time }) => time?.speed)).not.toContain(undefined);
});

it("a kernel that is inexact whatever the codes, or refused, is not used", () => {
  const inexact: ExactnessResult = {
    operator: "QLinearConv",
    kernel: "Conv",
    activations: "uint8",
    weights: "int8",
    bits: 7,
    verdict: "inexact",
    error: 0.3,
  };
  const refused: ExactnessResult = {
    ...inexact,
    operator: "MatMulInteger",
    kernel: "MatMulInteger",
    verdict: "refused",
    reason: "no kernel",
  };
  const weights = { dtype: "int8", bits: 7 } as const;
  const findings = { weights, exactness: [inexact, refused], matMulNBits: [], float16: [], speeds: [] };
  const target = probedTarget({ ...about, base: targetNamed("any") }, findings);
  expect(kernelObstacle(target, "Conv")).toBe(
    "Conv: gives wrong results on here (sums of 7-bit int8 weights are not exact)",
  );
  expect(kernelObstacle(target, "MatMulInteger")).toBe("MatMulInteger: is refused on here (no kernel)");
});

it("a runtime that can run nothing is an error", async () => {
  const nothing = { ...inProcessRuntime("ort-node"), create: () => Promise.reject(new Error("not installed")) };
  await expect(probe(nothing, { ...about, base: targetNamed("any") })).rejects.toThrow("not installed");
});

it("the float layer of a quantized chain stays float in the runtime", async () => {
  const dims = [1, 8, 4, 4];
  const pointwise = { text: "Conv", dims: [8, 8, 1, 1], axis: 0 };
  const depthwise = { text: "Conv <group = 8>", dims: [8, 1, 1, 1], axis: 0 };
  const codes = { dtype: "int8", bits: 7 } as const;
  const mixed = quantizedChain(dims, [pointwise, { ...depthwise, isFloat: true }, pointwise], codes);
  expect(await optimizedOps(mixed)).toMatchObject({ QLinearConv: 2, "com.microsoft.FusedConv": 1 });
  expect(await optimizedOps(quantizedChain(dims, [pointwise, depthwise, pointwise], codes))).toMatchObject({
    QLinearConv: 3,
  });
});
