/** @file MatMul on NF4 weights: com.microsoft.MatMulBnb4. */
import { attr } from "../../ir/attribute.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { fromNumbers, Tensor } from "../../tensor/tensor.ts";
import { ComputedSource } from "../../util/bytes.ts";
import type { WeightLayer } from "../layers/sites.ts";
import { dequantizeNf4, type Nf4Weight, quantizeNf4 } from "../methods/nf4.ts";
import { sqnrOfValues } from "../methods/sqnr.ts";
import type { FormatWriter, LayerPlan } from "./format.ts";

/** quant_type of NormalFloat 4. */
const NF4 = 1;
const DEFAULT_BLOCK = 64;

/** Why a layer can't be written as MatMulBnb4; undefined when it can. */
export function bnb4Obstacle(layer: WeightLayer, { granularity }: LayerPlan["spec"]): string | undefined {
  if (layer.sites.some(({ node, input }) => node.opType !== "MatMul" || input !== 1))
    return "MatMulBnb4 replaces MatMul with a constant right operand only";
  if (layer.value.uses.size !== layer.sites.length) return "the weight is also used otherwise";
  if (layer.weight.dims.length !== 2) return `the weight has rank ${layer.weight.dims.length}, MatMulBnb4 takes 2`;
  if (layer.weight.dtype === "bfloat16") return "MatMulBnb4 takes no bfloat16";
  const size = granularity.per === "group" ? granularity.size : DEFAULT_BLOCK;
  return size >= 16 && Number.isInteger(Math.log2(size))
    ? undefined
    : `MatMulBnb4's block size is a power of two of at least 16, not ${size}`;
}

/** Blocks of the spec's group size, else of 64. */
export const matMulBnb4Writer: FormatWriter = {
  name: "MatMulBnb4",
  opset: () => 7,

  write({ layer, spec, measure }, model) {
    const { value, weight } = layer;
    const { graph, name } = value;
    const [k = 1, n = 1] = weight.dims;
    const blockSize = spec.granularity.per === "group" ? spec.granularity.size : DEFAULT_BLOCK;
    const blocks = Math.ceil((k * n) / blockSize);
    let scales: Float32Array | undefined;
    let sqnr: number | undefined;
    const compute = (): Nf4Weight => {
      const data = weight.toFloat32();
      const result = quantizeNf4(name, data, k, n, blockSize);
      scales = result.absmax;
      if (measure) {
        const values = dequantizeNf4(result, k, n, blockSize);
        sqnr = sqnrOfValues(data, (i) => values[i] as number);
      }
      return result;
    };
    const packedBytes = Math.ceil((k * n) / 2);
    const packed = new ComputedSource(packedBytes, () => [compute().packed]);
    const absmax = new ComputedSource((blocks * dtypeInfo(weight.dtype).bits) / 8, () => {
      const tensor = fromNumbers(weight.dtype, [blocks], scales ?? compute().absmax);
      return [tensor.bytes.read(0, tensor.byteLength)];
    });
    const inputs = [
      graph.addInitializer(`${name}_Bnb4`, new Tensor("uint8", [packedBytes], packed)),
      graph.addInitializer(`${name}_absmax`, new Tensor(weight.dtype, [blocks], absmax)),
    ];
    const attributes = {
      K: attr.int(k),
      N: attr.int(n),
      block_size: attr.int(blockSize),
      quant_type: attr.int(NF4),
    };
    for (const { node } of layer.sites) {
      const spec = { opType: "MatMulBnb4", domain: "com.microsoft", inputs: [node.inputs[0], ...inputs], attributes };
      node.graph.replaceNode(node, spec);
    }
    if (!model.opsetImports.has("com.microsoft")) model.opsetImports.set("com.microsoft", 1);
    return { bytes: packedBytes + absmax.byteLength, sqnr: () => sqnr };
  },
};
