/** @file A target's row from what a probe found. */
import { type KernelFact, type KernelName, kernelNames, type Target, targetSchema } from "../../targets/target.ts";
import type { ProbeFindings, ProbeOptions } from "./findings.ts";
import type { SpeedResult } from "./speed.ts";

type About = Pick<ProbeOptions, "base" | "name" | "machine" | "measuredWith" | "threads">;

/** The base's facts, those that were measured replaced; speeds of other machines are left out. */
export function probedTarget(about: About, findings: ProbeFindings): Target {
  const { base, name, machine, measuredWith, threads = 1 } = about;
  const { weights, exactness } = findings;
  const level = accuracyLevelOf(findings);
  return targetSchema.parse({
    ...base,
    name,
    summary: `${machine}, as measured.`,
    saturates: saturates(findings),
    weights: { ...weights, perChannel: true },
    accuracyLevel: level,
    kernels: Object.fromEntries(kernelNames.map((kernel) => [kernel, factOf(kernel, base, findings, level)])),
    evidence: [
      `tersor probe, ${measuredWith}, ${machine}, ${threads} ${threads === 1 ? "thread" : "threads"}; operators without a note as on ${base.name}`,
      ...(["inexact", "refused"] as const).flatMap((verdict) => {
        const cases = exactness.filter((each) => each.verdict === verdict);
        return cases.map(({ operator, activations, weights: dtype, bits, error, reason }) => {
          const what = `${operator}, ${activations} activations, ${dtype} weights of ${bits} bits`;
          return `${what}: ${reason ?? `sums are off by up to ${percent(error ?? 0)} of the largest`}`;
        });
      }),
      ...findings.matMulNBits
        .filter(({ error }) => error !== undefined)
        .map(
          ({ bits, accuracyLevel, activations, error = 0 }) =>
            `MatMulNBits, ${bits} bits, accuracy_level ${accuracyLevel}: activations ${activations}, error ${error.toExponential(1)}`,
        ),
    ],
  });
}

/** int8 weights of 8 bits are inexact where those of 7 are not: 16 bits are too few for the sum of two products. */
export function saturates({ exactness }: Pick<ProbeFindings, "exactness">): boolean {
  return exactness.some(({ weights, bits, verdict }) => weights === "int8" && bits === 8 && verdict === "inexact");
}

/** Level 4, but where 0 is clearly faster for one row. */
function accuracyLevelOf({ speeds }: ProbeFindings): 0 | 4 {
  const timeOf = (level: 0 | 4) => speeds.find(({ accuracyLevel }) => accuracyLevel === level)?.time;
  const [zero, four] = [timeOf(0), timeOf(4)];
  return zero && zero.low > (four?.high ?? 0) ? 0 : 4;
}

function factOf(kernel: KernelName, base: Target, findings: ProbeFindings, level: 0 | 4): KernelFact {
  const { runs, note } = base.kernels[kernel] ?? { runs: "float" };
  const speed = findings.speeds.find((each) => each.kernel === kernel && (each.accuracyLevel ?? level) === level);
  const sums = findings.exactness.filter((each) => each.kernel === kernel);
  if (!speed && sums.length === 0) return { runs, ...(note !== undefined && !/\d ms/.test(note) && { note }) };
  const reason = speed?.reason ?? sums.find(({ verdict }) => verdict === "refused")?.reason;
  if (reason !== undefined) return { runs: "missing", note: reason };
  const { dtype, bits } = findings.weights;
  const isWrong = sums.some(
    (each) =>
      each.activations === "uint8" && each.weights === dtype && each.bits === bits && each.verdict === "inexact",
  );
  if (isWrong) return { runs: "wrong", note: `sums of ${bits}-bit ${dtype} weights are not exact` };
  return { runs: ways[kernel]?.(findings, level) ?? "integer", ...(speed && timeOf(speed)) };
}

/** Kernels that a runtime may have and yet compute in float32. */
const ways: Partial<Record<KernelName, (findings: ProbeFindings, level: 0 | 4) => KernelFact["runs"]>> = {
  MatMulNBits: ({ matMulNBits }, level) => {
    const found = matMulNBits.find(({ bits, accuracyLevel }) => bits === 4 && accuracyLevel === level);
    return found?.activations === "rounded" ? "integer" : "float";
  },
  float16: ({ float16 }) => (float16.every(({ computes }) => computes === "float16") ? "integer" : "float"),
};

/** Differences of less than this are noise. */
const NOISE = 0.05;

/** Where the middle half of the rounds has both faster and slower ones, the kernel is as fast as float32. */
function timeOf({ about, time, baseMs }: SpeedResult): Pick<KernelFact, "speed" | "note"> {
  if (!time || baseMs === undefined) return {};
  const speed = time.low <= 1 + NOISE && time.high >= 1 - NOISE ? 1 : Number(time.speed.toFixed(2));
  return {
    ...(speed > 0 && { speed }),
    note: `${about}: ${time.ms.toFixed(2)} ms, float32 ${baseMs.toFixed(2)} ms`,
  };
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}
