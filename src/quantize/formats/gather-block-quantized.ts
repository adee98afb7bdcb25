/** @file Embeddings in 2, 4 or 8 bits with one scale per group of a row: com.microsoft.GatherBlockQuantized. */
import { attr } from "../../ir/attribute.ts";
import { int64, Tensor } from "../../tensor/tensor.ts";
import { ComputedSource, readAll } from "../../util/bytes.ts";
import { slicesOf } from "../grid/slices.ts";
import type { QuantSpec } from "../grid/spec.ts";
import { isReadBySitesOnly, opKey, type WeightLayer, type WeightSite } from "../layers/sites.ts";
import { quantizeRtn } from "../lazy/rtn.ts";
import { type FormatWriter, firstUser } from "./format.ts";
import { isTurned, productObstacle, replaceProduct } from "./products.ts";

/** Why a layer can't be written as GatherBlockQuantized; undefined when it can. */
export function gatherBlockObstacle(layer: WeightLayer, spec: QuantSpec): string | undefined {
  const lookups = layer.sites.filter(isLookup);
  if (lookups.length === 0 || layer.weight.dims.length !== 2)
    return "GatherBlockQuantized replaces lookups of rows only";
  if (lookups.some(({ node }) => node.int("axis", 0) !== 0)) return "GatherBlockQuantized looks up rows, not columns";
  const products = layer.sites.filter((site) => !isLookup(site));
  const obstacle = products.map(
    (site) => productObstacle(site) ?? (isTurned(site) ? undefined : "it is read both ways round"),
  );
  const first = obstacle.find((reason) => reason);
  if (first) return first;
  if (!isReadBySitesOnly(layer)) return "the table is also used otherwise";
  if (![2, 4, 8].includes(spec.bits)) return `GatherBlockQuantized has 2, 4 or 8 bits, not ${spec.bits}`;
  const { granularity } = spec;
  if (granularity.per !== "group") return "GatherBlockQuantized needs granularity group:N";
  if (granularity.size < 16 || !Number.isInteger(Math.log2(granularity.size)))
    return `GatherBlockQuantized's group size is a power of two of at least 16, not ${granularity.size}`;
  return (layer.weight.dims[1] ?? 0) % granularity.size === 0
    ? undefined
    : `group size ${granularity.size} does not divide the row length ${layer.weight.dims[1]}`;
}

const isLookup = ({ node }: WeightSite) => opKey(node) === "Gather";

/** A table that is looked up and multiplied with, as embeddings that are the output layer too: MatMulNBits takes the same codes. Codes are unsigned bytes in the one form that every runtime agrees on: uint8 data, `bits`, explicit zero points. */
export const gatherBlockQuantizedWriter: FormatWriter = {
  name: "GatherBlockQuantized",
  opset: () => 7,

  write({ layer, spec, seed, measure, accuracyLevel }, model) {
    const { value, weight } = layer;
    const { graph, name } = value;
    const { bits } = spec;
    const unsigned: QuantSpec = { ...spec, dtype: bits === 4 ? "uint4" : bits === 2 ? "uint2" : "uint8" };
    const slices = slicesOf(weight.dims, layer.axes, spec.granularity, `weight "${name}"`);
    const quantized = quantizeRtn({ name, weight, slices, spec: unsigned, seed, measure });
    const [rows = 1, width = 1] = weight.dims;
    const groups = slices.scaleDims[1] as number;
    const codes = new Tensor("uint8", [rows, (width * bits) / 8], quantized.codes.bytes);
    const zeroBytes = Math.ceil((groups * bits) / 8);
    const zeroPoints = new Tensor(
      "uint8",
      [rows, zeroBytes],
      new ComputedSource(rows * zeroBytes, () => [packRows(quantized.zeroPoint, rows, groups, bits)]),
    );
    const inputs = {
      data: graph.addInitializer(`${name}_Q${bits}`, codes),
      scales: graph.addInitializer(`${name}_scales`, quantized.scale),
      zeroPoints: graph.addInitializer(`${name}_zero_points`, zeroPoints),
    };
    const products = layer.sites.filter((site) => !isLookup(site));
    for (const { node } of layer.sites.filter(isLookup)) {
      node.graph.replaceNode(node, {
        opType: "GatherBlockQuantized",
        domain: "com.microsoft",
        inputs: [inputs.data, node.inputs[1], inputs.scales, inputs.zeroPoints],
        attributes: {
          bits: attr.int(bits),
          block_size: attr.int(width / groups),
          gather_axis: attr.int(0),
          quantize_axis: attr.int(1),
        },
      });
    }
    if (products.length > 0) {
      const shape = graph.addInitializer(`${name}_blocks`, int64([3], [rows, groups, ((width / groups) * bits) / 8]));
      const before = firstUser(graph, value);
      const spec = { opType: "Reshape", inputs: [inputs.data, shape], outputs: [`${name}_Q${bits}_blocks`] };
      // Runtimes reshape constants when they load the model; the file has the codes once.
      const packed = graph.addNode({ ...spec, name: graph.uniqueNodeName(`${name}_Reshape`) }, { before }).output();
      const attributes = {
        K: attr.int(width),
        N: attr.int(rows),
        bits: attr.int(bits),
        block_size: attr.int(width / groups),
        ...(accuracyLevel > 0 && { accuracy_level: attr.int(accuracyLevel) }),
      };
      for (const site of products)
        replaceProduct(site, {
          opType: "MatMulNBits",
          domain: "com.microsoft",
          inputs: [packed, inputs.scales, inputs.zeroPoints],
          attributes,
        });
    }
    if (!model.opsetImports.has("com.microsoft")) model.opsetImports.set("com.microsoft", 1);
    return { bytes: codes.byteLength + quantized.scale.byteLength + zeroPoints.byteLength, sqnr: quantized.sqnr };
  },
};

/** Zero points packed row by row: each row starts on a byte. */
function packRows(zeroPoint: Tensor, rows: number, groups: number, bits: number): Uint8Array {
  if (bits === 8) return readAll(zeroPoint.bytes);
  const codes = zeroPoint.toNumbers();
  const perByte = 8 / bits;
  const rowBytes = Math.ceil(groups / perByte);
  const out = new Uint8Array(rows * rowBytes);
  for (let row = 0; row < rows; row++)
    for (let g = 0; g < groups; g++) {
      const at = row * rowBytes + Math.floor(g / perByte);
      out[at] = (out[at] as number) | ((codes[row * groups + g] as number) << ((g % perByte) * bits));
    }
  return out;
}
