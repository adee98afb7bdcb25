/** @file Causes that lie in the model's inputs or in its graph. */
import { type CauseRow, type Finding, span } from "../cause.ts";
import type { Evidence } from "../evidence.ts";
import { mismatch } from "../inputs.ts";
import { SLACK } from "./activations.ts";
import { at, sum } from "./shares.ts";

const quantizedOps = /^(QuantizeLinear|DequantizeLinear|DynamicQuantizeLinear|MatMulNBits|QLinear.*|.*Integer)$/;

/** Energy of an input that lies beyond its codes, above which the data can't be what was calibrated on. */
const BEYOND = 0.05;

function byRange({ sites, synthetic }: Evidence): Finding[] {
  if (synthetic) return [];
  return sites.flatMap(({ isInput, codes, value, min, max, seen }) => {
    if (!isInput || codes === "dynamic") return [];
    const energy = sum(seen.energy.length, (c) => at(seen.energy, c)) || 1;
    const noise = sum(seen.noise.length, (c) => at(seen.noise, c)) / energy;
    const beyond = sum(seen.clipped.length, (c) => at(seen.clipped, c)) / energy;
    const unused = (codes.high - codes.low) / Math.max(max - min, Number.MIN_VALUE);
    if (beyond < BEYOND && unused < SLACK) return [];
    const what = `input "${value}" was calibrated from ${span(codes.low, codes.high)}, and this data goes from ${span(min, max)}`;
    return [{ value, noise, what }];
  });
}

export const preprocessing: CauseRow = {
  kind: "preprocessing",
  title: "inputs unlike those of calibration",
  advice: "Give both the same preprocessing: scale, mean, order of channels, layout.",
  explains: ["clipped", "unused-range", "coarse-grid"],
  test: (evidence) => {
    const { calibrated, judged } = evidence;
    const found = [...(calibrated ?? [])].flatMap(([name, stats]): Finding[] => {
      const own = judged.get(name);
      const differs = own && !evidence.synthetic && mismatch(stats, own);
      return differs
        ? [{ value: name, noise: differs.noise, what: `input "${name}": ${differs.what}`, severity: "severe" }]
        : [];
    });
    return found.length > 0 ? found : byRange(evidence);
  },
};

export const notFinite: CauseRow = {
  kind: "not-finite",
  title: "NaN or infinity",
  advice:
    "Look at what this node reads: a division by 0, a logarithm or root of a negative number, an overflow. Keep it float, or repair the weights before it.",
  test: ({ faults }) =>
    faults.map(({ node, value, samples, model }) => ({
      value,
      layer: value,
      noise: Number.POSITIVE_INFINITY,
      what: `${node} is the first that gives NaN or infinity${model === "original" ? ", in the original already" : ""} (sample ${samples.join(", ")})`,
    })),
};

export const shapeUnknown: CauseRow = {
  kind: "shape-unknown",
  title: "left float: type or shape unknown",
  advice:
    "Export the model with shapes (onnx.shape_inference, or keep value_info), so that the layer can be quantized.",
  test: ({ original, changed, types }) => {
    if (!changed.graph.nodes.some(({ opType }) => quantizedOps.test(opType))) return [];
    return changed.graph.nodes.flatMap((node): Finding[] => {
      const weight = node.inputs[1]?.tensor;
      if (!["Conv", "MatMul", "Gemm"].includes(node.opType) || weight?.dtype !== "float32" || weight.dims.length < 2)
        return [];
      const before = original.graph.find(node.output().name)?.producer;
      const input = before?.inputs[0];
      const type = input && (types.get(input) ?? input.type);
      if (!input || (type?.kind === "tensor" && type.shape)) return [];
      const from = input.producer ? ` (from ${input.producer})` : "";
      const what = `${node} stayed float: ${type ? "the shape" : "type and shape"} of "${input.name}"${from} can't be known`;
      return [{ value: input.name, layer: node.output().name, noise: 0, what, severity: "warning" }];
    });
  },
};
