/**
 * @file Integer weights with DequantizeLinear in front of their users, and for embeddings the lookup on the integers first:
 * dequantizing a whole table to read a few rows of it costs more than the model.
 */
import { attr } from "../../ir/attribute.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { int64 } from "../../tensor/tensor.ts";
import { quantizeByMethod } from "../methods/by-method.ts";
import { quantizeRtn } from "../methods/rtn.ts";
import { slicesOf } from "../slices.ts";
import { type FormatWriter, firstUser, type LayerPlan, moveUses } from "./format.ts";

export const dequantizeWriter: FormatWriter = {
  name: "DequantizeLinear",

  opset({ layer, spec }) {
    if (dtypeInfo(spec.dtype).bits === 2) return 25;
    if (dtypeInfo(spec.dtype).bits === 4 || spec.granularity.per === "group") return 21;
    if (layer.weight.dtype !== "float32") return 19;
    return 13;
  },

  write(plan) {
    const { layer, spec, seed, measure, run, fixed } = plan;
    const { value, weight } = layer;
    const { graph, name } = value;
    const slices = slicesOf(weight.dims, layer.axes, spec.granularity, `weight "${name}"`);
    const job = { name, weight, slices, spec, seed, measure, ...(fixed && { fixed }) };
    const quantized = run ? quantizeByMethod(job, run) : quantizeRtn(job);
    const codes = graph.addInitializer(`${name}_quantized`, quantized.codes);
    const scale = fixed?.scale ?? graph.addInitializer(`${name}_scale`, quantized.scale);
    const zeroPoint = fixed?.zeroPoint ?? graph.addInitializer(`${name}_zero_point`, quantized.zeroPoint);
    // Runtimes look up whole bytes only; packed or blocked tables are dequantized whole.
    const byRow = dtypeInfo(spec.dtype).bits === 8 && !slices.blockSize;
    const lookups = byRow ? layer.sites.map(({ node }) => node).filter(({ opType }) => opType === "Gather") : [];
    for (const gather of lookups) lookUp(gather, { codes, scale, zeroPoint, axis: slices.axis, plan });
    const others = value.users().length > 0;
    if (others) {
      const attributes = {
        ...(slices.axis !== undefined && { axis: attr.int(slices.axis) }),
        ...(slices.blockSize !== undefined && { block_size: attr.int(slices.blockSize) }),
      };
      const node = graph.addNode(
        {
          opType: "DequantizeLinear",
          name: graph.uniqueName(`${name}_DequantizeLinear`),
          inputs: [codes, scale, zeroPoint],
          outputs: [`${name}_dequantized`],
          attributes,
        },
        { before: firstUser(graph, value) },
      );
      node.output().type = { kind: "tensor", dtype: weight.dtype, shape: weight.dims };
      moveUses(value, node.output());
    }
    const own = fixed ? 0 : quantized.scale.byteLength + quantized.zeroPoint.byteLength;
    const { sqnr, pending } = quantized;
    return { bytes: quantized.codes.byteLength + own, sqnr, ...(pending && { pending }) };
  },
};

interface Table {
  readonly codes: Value;
  readonly scale: Value;
  readonly zeroPoint: Value;
  /** Axis of the scales: 0 one per row, 1 one per column, undefined one for all. */
  readonly axis: number | undefined;
  readonly plan: LayerPlan;
}

/** Gather(table, ids) becomes a Gather of codes and what dequantizes only the rows that were read. */
function lookUp(gather: Node, { codes, scale, zeroPoint, axis, plan }: Table): void {
  const { graph } = gather;
  const ids = gather.inputs[1];
  const base = gather.output().name;
  const place = { before: gather };
  const rows = (table: Value, name: string) =>
    graph
      .addNode(
        { opType: "Gather", inputs: [table, ids], outputs: [`${base}_${name}`], attributes: { axis: attr.int(0) } },
        place,
      )
      .output();
  const codeRows = rows(codes, "quantized");
  if (axis === 0) {
    const float = plan.layer.weight.dtype;
    const one = graph.addInitializer(`${base}_axis`, int64([1], [-1]));
    const perRow = (table: Value, name: string) =>
      graph
        .addNode(
          { opType: "Unsqueeze", inputs: [rows(table, `${name}_rows`), one], outputs: [`${base}_${name}`] },
          place,
        )
        .output();
    const cast = (value: Value, name: string) =>
      graph
        .addNode(
          {
            opType: "Cast",
            inputs: [value],
            outputs: [`${base}_${name}`],
            attributes: { to: attr.int(dtypeInfo(float).code) },
          },
          place,
        )
        .output();
    let centred = cast(codeRows, "codes");
    if (!plan.spec.symmetric || dtypeInfo(plan.spec.dtype).kind === "uint") {
      const zero = cast(perRow(zeroPoint, "zero_point"), "zero");
      centred = graph.addNode({ opType: "Sub", inputs: [centred, zero], outputs: [`${base}_centred`] }, place).output();
    }
    graph.replaceNode(gather, { opType: "Mul", inputs: [centred, perRow(scale, "scale")] });
  } else {
    const attributes = axis === undefined ? {} : { axis: attr.int(-1) };
    graph.replaceNode(gather, { opType: "DequantizeLinear", inputs: [codeRows, scale, zeroPoint], attributes });
  }
}
