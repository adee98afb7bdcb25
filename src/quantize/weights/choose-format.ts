/** @file The format in which a layer's codes are written, and what has to be done otherwise than asked for it. */
import { dtypeInfo } from "../../tensor/dtype.ts";
import { TersorError } from "../../util/errors.ts";
import { castWriter } from "../formats/cast.ts";
import { codebookWriter } from "../formats/codebook.ts";
import { dequantizeWriter } from "../formats/dequantize.ts";
import type { FormatWriter } from "../formats/format.ts";
import { gatherBlockObstacle, gatherBlockQuantizedWriter } from "../formats/gather-block-quantized.ts";
import { matMulNBitsWriter, nBitsObstacle } from "../formats/matmul-nbits.ts";
import { isTurned } from "../formats/products.ts";
import { slicesOf } from "../grid/slices.ts";
import { describeSpec, type Granularity, isInteger, type OwnSpec, type QuantSpec } from "../grid/spec.ts";
import { opKey, type WeightLayer } from "../layers/sites.ts";

/**
 * The format that suits a layer, and what has to be done differently than asked. A group size for the whole model rarely
 * divides every layer: those that it doesn't get the next smaller group that does, or are quantized per channel. One that was asked for this layer must fit.
 * @throws bad-recipe when it doesn't, or when the format asked for doesn't
 */
export function chooseFormat(layer: WeightLayer, spec: QuantSpec, own: OwnSpec, subject: string): Choice {
  if (!isInteger(spec.dtype)) return { spec, writer: castWriter };
  if (spec.format === "codebook") return { spec, writer: codebookWriter };
  const { granularity } = spec;
  if (spec.format !== "dequantize") {
    if (!gatherBlockObstacle(layer, spec)) return { spec, writer: gatherBlockQuantizedWriter };
    const obstacle = nBitsObstacle(layer, spec);
    if (!obstacle && (spec.bits < 8 || spec.format === "matmul-nbits")) return { spec, writer: matMulNBitsWriter };
    if (own.format === "matmul-nbits")
      throw new TersorError("bad-recipe", `${subject}: format matmul-nbits does not fit: ${obstacle}.`);
    const isByRow = granularity.per === "channel" && spec.bits === dtypeInfo(spec.dtype).bits;
    const grouped =
      isByRow && (spec.bits < 8 || isTied(layer)) && rowGroups(layer, spec, spec.bits < 8 ? 4096 : TIED_GROUP);
    if (grouped) {
      const why = isTied(layer) ? "multiply with the rows that they look up" : `look up ${spec.bits}-bit rows`;
      return {
        spec: grouped.spec,
        writer: gatherBlockQuantizedWriter,
        reason: `per group of ${grouped.size}: runtimes ${why} in groups only`,
      };
    }
  }
  const length = layer.weight.dims[layer.axes.group] as number;
  const fits = granularity.per !== "group" || own.granularity || length % granularity.size === 0;
  const chosen = fits ? spec : { ...spec, granularity: fittingGranularity(length, granularity.size) };
  slicesOf(layer.weight.dims, layer.axes, chosen.granularity, subject);
  if (fits) return { spec, writer: dequantizeWriter, ...(isTied(layer) && { reason: slowTable(layer, spec) }) };
  const instead = chosen.granularity.per === "group" ? `per group of ${chosen.granularity.size}` : "per channel";
  const reason = `group ${granularity.size} does not divide ${length}: ${instead} instead`;
  return { spec: chosen, writer: dequantizeWriter, reason, misfit: true };
}

/** Whether a table is looked up and multiplied with turned, as embeddings that are the output layer too. */
function isTied({ sites, weight }: WeightLayer): boolean {
  return weight.dims.length === 2 && sites.some(({ node }) => opKey(node) === "Gather") && sites.some(isTurned);
}

/** Groups of 8-bit tables that are multiplied with: scales cost 3 %. */
const TIED_GROUP = 128;

function slowTable(layer: WeightLayer, spec: QuantSpec): string {
  const why = rowGroups(layer, spec, TIED_GROUP)
    ? `${describeSpec(spec)} as asked`
    : (gatherBlockObstacle(layer, { ...spec, granularity: { per: "group", size: 16 } }) ?? "");
  return `the product decodes the whole table at every run, which is slow (${why}): ${spec.bits < 8 ? "int8" : "--dynamic"} or "${layer.name}@keep" is faster`;
}

/** Groups smaller than this cost more in scales than they bring. */
const LEAST_GROUP = 8;

/** The largest group up to `size` that divides an axis; per channel where none does. */
function fittingGranularity(length: number, size: number): Granularity {
  for (let fit = Math.min(size, length); fit >= LEAST_GROUP; fit--)
    if (length % fit === 0) return { per: "group", size: fit };
  return { per: "channel" };
}

interface Choice {
  readonly spec: QuantSpec;
  readonly writer: FormatWriter;
  readonly reason?: string;
  /** The group size asked for does not divide the layer. */
  readonly misfit?: boolean;
}

/** The coarsest groups in which the rows of a lookup table can be packed. */
function rowGroups(
  layer: WeightLayer,
  spec: QuantSpec,
  largest: number,
): { spec: QuantSpec; size: number } | undefined {
  for (let size = largest; size >= 16; size /= 2) {
    const grouped: QuantSpec = { ...spec, granularity: { per: "group", size } };
    if (!gatherBlockObstacle(layer, grouped)) return { spec: grouped, size };
  }
  return undefined;
}
