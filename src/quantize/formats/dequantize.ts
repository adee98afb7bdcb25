/**
 * @file Integer weights with DequantizeLinear in front of their users, and for embeddings the lookup on the integers first:
 * dequantizing a whole table to read a few rows of it costs more than the model.
 */
import { attr } from "../../ir/attribute.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { type DType, dtypeInfo } from "../../tensor/dtype.ts";
import { int64 } from "../../tensor/tensor.ts";
import { slicesOf } from "../grid/slices.ts";
import { isReadBySitesOnly, opKey, type WeightLayer, type WeightSite } from "../layers/sites.ts";
import { quantizeByMethod } from "../lazy/by-method.ts";
import { quantizeRtn } from "../lazy/rtn.ts";
import { type FormatWriter, firstUser, moveUses } from "./format.ts";
import { isTurned, straighten, turnedLayer, turnedValue } from "./products.ts";

export const dequantizeWriter: FormatWriter = {
  name: "DequantizeLinear",

  opset({ layer, spec }) {
    if (dtypeInfo(spec.dtype).bits === 2) return 25;
    if (dtypeInfo(spec.dtype).bits === 4 || spec.granularity.per === "group") return 21;
    if (layer.weight.dtype !== "float32") return 19;
    return 13;
  },

  write(plan) {
    const { spec, seed, measure, fixed } = plan;
    const { value, sites } = plan.layer;
    const { graph, name } = value;
    const isAllTurned = sites.every(isTurned) && isReadBySitesOnly(plan.layer);
    const layer = isAllTurned ? turnedLayer(plan.layer) : plan.layer;
    const run = plan.run && { ...plan.run, axes: layer.axes };
    const { weight } = layer;
    const slices = slicesOf(weight.dims, layer.axes, spec.granularity, `weight "${name}"`);
    const job = { name, weight, slices, spec, seed, measure, ...(fixed && { fixed }) };
    const quantized = run ? quantizeByMethod(job, run) : quantizeRtn(job);
    const codes = graph.addInitializer(`${name}_quantized`, quantized.codes);
    const scale = fixed?.scale ?? graph.addInitializer(`${name}_scale`, quantized.scale);
    const zeroPoint = fixed?.zeroPoint ?? graph.addInitializer(`${name}_zero_point`, quantized.zeroPoint);
    readCodes(layer, {
      codes,
      scale,
      zeroPoint,
      axis: slices.axis,
      blockSize: slices.blockSize,
      float: weight.dtype,
      zeroIsMiddle: spec.symmetric && dtypeInfo(spec.dtype).kind !== "uint",
      // Runtimes look up whole bytes only; packed or blocked tables are dequantized whole.
      byRow: dtypeInfo(spec.dtype).bits === 8 && !slices.blockSize,
      isTurned: isAllTurned,
      canTurn: weight.dims.length === 2 && dtypeInfo(spec.dtype).bits === 8,
      dims: weight.dims,
    });
    // Lookups need no zero point that is the middle: nothing writes what nothing reads.
    const own = [scale, zeroPoint].reduce(
      (sum, each) => sum + (fixed || each.isUnused ? 0 : (each.tensor?.byteLength ?? 0)),
      0,
    );
    const { sqnr, pending } = quantized;
    return { bytes: quantized.codes.byteLength + own, sqnr, ...(pending && { pending }) };
  },
};

/** Codes in the graph, and how to read them. */
export interface CodedTable {
  readonly codes: Value;
  readonly scale: Value;
  readonly zeroPoint: Value;
  /** Axis of the scales: of a table 0 is one per row, 1 one per column, undefined one for all. */
  readonly axis: number | undefined;
  readonly blockSize?: number | undefined;
  /** What the codes are read as. */
  readonly float: DType;
  /** Whether the zero point is 0. */
  readonly zeroIsMiddle: boolean;
  readonly dims: readonly number[];
  /** Whether rows can be looked up before they are decoded. */
  readonly byRow: boolean;
  /** Whether the codes are stored the other way round than the weight was: all that read it want it so. */
  readonly isTurned?: boolean;
  /** Whether runtimes exchange the axes of codes of this type. */
  readonly canTurn?: boolean;
}

/**
 * Lets every user of a weight read codes instead: lookups first look up, products that read it turned get it the right way round, and for
 * the others all is decoded.
 */
export function readCodes({ value, sites }: Pick<WeightLayer, "value" | "sites">, table: CodedTable): void {
  const lookups = table.byRow
    ? [...value.uses].filter(({ node, index }) => index === 0 && opKey(node) === "Gather")
    : [];
  for (const { node } of lookups) lookUp(node, table);
  // A site that was replaced reads nothing any more.
  const reads = ({ node, input, turn }: WeightSite) =>
    node.inputs[input] !== undefined && node.inputs[input] === (turn ? turn.outputs[0] : value);
  const products = table.isTurned || table.canTurn ? sites.filter((site) => isTurned(site) && reads(site)) : [];
  if (products.length > 0) {
    const matrix = decode(value, table.isTurned ? table : turnedTable(value, table));
    for (const site of products) straighten(site, matrix);
    removeUnused(products);
  }
  if (value.uses.size > 0) moveUses(value, decode(value, table));
}

/** DequantizeLinear in front of the first that reads a weight. */
function decode(value: Value, { codes, scale, zeroPoint, axis, blockSize, float, dims }: CodedTable): Value {
  const { graph, name } = value;
  const attributes = {
    ...(axis !== undefined && { axis: attr.int(axis) }),
    ...(blockSize !== undefined && { block_size: attr.int(blockSize) }),
  };
  const node = graph.addNode(
    {
      opType: "DequantizeLinear",
      name: graph.uniqueNodeName(`${name}_DequantizeLinear`),
      inputs: [codes, scale, zeroPoint],
      outputs: [`${name}_dequantized`],
      attributes,
    },
    { before: firstUser(graph, value) },
  );
  node.output().type = { kind: "tensor", dtype: float, shape: dims };
  return node.output();
}

/** The codes of a matrix with its axes exchanged. */
function turnedTable(value: Value, table: CodedTable): CodedTable {
  const before = firstUser(value.graph, value);
  const turn = (each: Value) => (each.tensor?.dims.length === 2 ? turnedValue(each, before) : each);
  const { codes, scale, zeroPoint, axis, dims } = table;
  return {
    ...table,
    codes: turn(codes),
    scale: turn(scale),
    zeroPoint: turn(zeroPoint),
    axis: axis === undefined ? undefined : 1 - axis,
    dims: dims.toReversed(),
  };
}

/** Takes away what turned a weight for who reads it straight now. */
function removeUnused(sites: readonly WeightSite[]): void {
  for (const turn of new Set(sites.flatMap((site) => site.turn ?? [])))
    if (turn.output().isUnused) turn.graph.removeNodes([turn]);
}

/** Where a lookup takes its slices: the axis, counted from the front. */
function lookupAxis(gather: Node, rank: number): number {
  const axis = gather.int("axis", 0);
  return axis < 0 ? axis + rank : axis;
}

/** Gather(table, ids) becomes a Gather of codes and what decodes only the slices that were read. */
function lookUp(gather: Node, { codes, scale, zeroPoint, axis, float, zeroIsMiddle, dims }: CodedTable): void {
  const { graph } = gather;
  const ids = gather.inputs[1];
  const base = gather.output().name;
  const rank = dims.length;
  const along = lookupAxis(gather, rank);
  const add = (opType: string, inputs: readonly (Value | undefined)[], name: string, attributes = {}) =>
    graph.addNode({ opType, inputs, outputs: [`${base}_${name}`], attributes }, { before: gather }).output();
  const codeRows = add("Gather", [codes, ids], "quantized", { axis: attr.int(along) });
  if (axis !== along) {
    // The ids may have any rank: axes behind the one looked up are counted from the end.
    const place = axis === undefined ? undefined : axis > along ? axis - rank : axis;
    const attributes = place === undefined ? {} : { axis: attr.int(place) };
    graph.replaceNode(gather, { opType: "DequantizeLinear", inputs: [codeRows, scale, zeroPoint], attributes });
    return;
  }
  const behind = Array.from({ length: rank - 1 - along }, (_, i) => -1 - i);
  const axes = behind.length > 0 ? graph.addInitializer(`${base}_axis`, int64([behind.length], behind)) : undefined;
  const perRow = (table: Value, name: string) => {
    const found = add("Gather", [table, ids], `${name}_rows`, { axis: attr.int(0) });
    return axes ? add("Unsqueeze", [found, axes], name) : found;
  };
  const cast = (value: Value, name: string) => add("Cast", [value], name, { to: attr.int(dtypeInfo(float).code) });
  const floats = cast(codeRows, "codes");
  const centred = zeroIsMiddle
    ? floats
    : add("Sub", [floats, cast(perRow(zeroPoint, "zero_point"), "zero")], "centred");
  graph.replaceNode(gather, { opType: "Mul", inputs: [centred, perRow(scale, "scale")] });
}
