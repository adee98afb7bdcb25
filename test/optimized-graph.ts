/** @file What ONNX Runtime makes of a model when it loads it: the operators of its optimized graph, and how close results are. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { FidelityMeter } from "../src/evaluate/fidelity.ts";
import { type Model, nestedGraphs } from "../src/ir/model.ts";
import { loadModel } from "../src/node/load.ts";
import { opKey } from "../src/quantize/layers/sites.ts";
import type { Outputs } from "../src/runtime/io.ts";
import { encode } from "./wire.ts";

/** How many nodes of each operator the optimized graph has, subgraphs included. */
export async function optimizedOps(model: Model): Promise<Record<string, number>> {
  const folder = mkdtempSync(join(tmpdir(), "tersor-optimized-"));
  try {
    const optimizedModelFilePath = join(folder, "model.onnx");
    const options = { optimizedModelFilePath, graphOptimizationLevel: "extended", logSeverityLevel: 3 } as const;
    const session = await ort.InferenceSession.create(encode(model), options);
    await session.release();
    const counts: Record<string, number> = {};
    for (const { nodes } of nestedGraphs(loadModel(optimizedModelFilePath).graph))
      for (const node of nodes) counts[opKey(node)] = (counts[opKey(node)] ?? 0) + 1;
    return counts;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The least SQNR of all outputs, in dB. */
export function leastSqnr(reference: Outputs, candidate: Outputs): number {
  const meter = new FidelityMeter();
  meter.add(reference, candidate);
  return Math.min(...Object.values(meter.result()).map(({ sqnr }) => sqnr));
}
