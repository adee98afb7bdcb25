/** @file Reads a report: which layers lose most, and what stayed float, and why. */
import { quantize } from "tersor";

export async function explained(onnx: Uint8Array): Promise<string[]> {
  const { report } = await quantize(onnx, { dtype: "int4", granularity: "group:32", scale: "mse" });
  const worst = report.layers
    .filter(({ sqnr }) => sqnr !== undefined)
    .sort((a, b) => (a.sqnr ?? 0) - (b.sqnr ?? 0))
    .slice(0, 3);
  const { verdict, sqnr } = report.judged ?? {};
  return [
    `the outputs: ${verdict}, ${sqnr} dB`,
    ...worst.map(({ name, spec, sqnr: db }) => `${name}: ${spec}, ${db?.toFixed(1)} dB`),
    ...report.left.map(({ weight, reason }) => `${weight} stays float: ${reason}`),
    ...(report.notes ?? []),
  ];
}
