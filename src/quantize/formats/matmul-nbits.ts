/** @file MatMul on packed 2-, 4- or 8-bit blocks: com.microsoft.MatMulNBits. */
import { attr } from "../../ir/attribute.ts";
import type { QuantSpec } from "../grid/spec.ts";
import { isReadBySitesOnly, type WeightLayer, type WeightSite } from "../layers/sites.ts";
import { quantizeNBitsByMethod } from "../lazy/by-method.ts";
import { quantizeNBits } from "../lazy/matmul-nbits.ts";
import type { FormatWriter } from "./format.ts";
import { isTurned, productObstacle, replaceProduct, turnedLayer } from "./products.ts";

/** Why a layer can't be written as MatMulNBits; undefined when it can. */
export function nBitsObstacle(layer: WeightLayer, spec: QuantSpec): string | undefined {
  const obstacle = layer.sites.map(productObstacle).find((reason) => reason);
  if (obstacle) return obstacle;
  if (!isReadBySitesOnly(layer)) return "the weight is also used otherwise";
  if (layer.sites.some((site) => isTurned(site) !== isTurned(layer.sites[0] as WeightSite)))
    return "the weight is read both ways round";
  if (layer.weight.dims.length !== 2) return `the weight has rank ${layer.weight.dims.length}, MatMulNBits takes 2`;
  if (![2, 4, 8].includes(spec.bits)) return `MatMulNBits has 2, 4 or 8 bits, not ${spec.bits}`;
  const { granularity } = spec;
  if (granularity.per !== "group") return "MatMulNBits needs granularity group:N";
  if (granularity.size < 16 || !Number.isInteger(Math.log2(granularity.size)))
    return `MatMulNBits' group size is a power of two of at least 16, not ${granularity.size}`;
  if (layer.weight.dtype === "bfloat16") return "MatMulNBits takes no bfloat16";
  return spec.scale.by === "percentile" ? "the percentile choice is for DequantizeLinear" : undefined;
}

export const matMulNBitsWriter: FormatWriter = {
  name: "MatMulNBits",
  opset: () => 7,

  write(plan, model) {
    const { spec, seed, measure, accuracyLevel } = plan;
    const layer = plan.layer.sites.every(isTurned) ? turnedLayer(plan.layer) : plan.layer;
    const run = plan.run && { ...plan.run, axes: layer.axes };
    const { value, weight } = layer;
    const { graph, name } = value;
    const blockSize = spec.granularity.per === "group" ? spec.granularity.size : 0;
    const slices = { form: "columns", blocks: 1, rows: 1, n: 1, fold: 1, count: 1, scaleDims: [] } as const;
    const job = { name, weight, slices, spec, seed, measure };
    const quantized = run ? quantizeNBitsByMethod(job, blockSize, run) : quantizeNBits(job, blockSize);
    const packed = graph.addInitializer(`${name}_Q${spec.bits}G${blockSize}`, quantized.packed);
    const scales = graph.addInitializer(`${name}_scales`, quantized.scales);
    const zeroPoints = quantized.zeroPoints && graph.addInitializer(`${name}_zero_points`, quantized.zeroPoints);
    const [k = 1, n = 1] = weight.dims;
    const attributes = {
      K: attr.int(k),
      N: attr.int(n),
      bits: attr.int(spec.bits),
      block_size: attr.int(blockSize),
      ...(accuracyLevel > 0 && { accuracy_level: attr.int(accuracyLevel) }),
    };
    const inputs = [packed, scales, ...(zeroPoints ? [zeroPoints] : [])];
    for (const site of layer.sites)
      replaceProduct(site, { opType: "MatMulNBits", domain: "com.microsoft", inputs, attributes });
    if (!model.opsetImports.has("com.microsoft")) model.opsetImports.set("com.microsoft", 1);
    const own = [quantized.packed, quantized.scales, quantized.zeroPoints].reduce(
      (sum, t) => sum + (t?.byteLength ?? 0),
      0,
    );
    const { sqnr, pending } = quantized;
    return { bytes: own, sqnr, ...(pending && { pending }) };
  },
};
