/** @file Weights stored as 16-bit floats, cast back to float32: runtimes fold the cast when they load the model. */
import { attr } from "../../ir/attribute.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { ComputedSource } from "../../util/bytes.ts";
import { TersorError } from "../../util/errors.ts";
import { claim, readFloats } from "../grid/workspace.ts";
import { sqnrOf } from "../lazy/rtn.ts";
import { type FormatWriter, firstUser, moveUses } from "./format.ts";

const PIECE = 1 << 18;

export const castWriter: FormatWriter = {
  name: "Cast",
  opset: ({ spec }) => (spec.dtype === "bfloat16" ? 13 : 7),

  write({ layer, spec, measure }) {
    const { value, weight } = layer;
    const { graph, name } = value;
    const stored = halfTensor(name, weight, spec.dtype === "bfloat16" ? "bfloat16" : "float16", measure);
    const half = graph.addInitializer(`${name}_${spec.dtype}`, stored.tensor);
    const to = { to: attr.int(dtypeInfo(weight.dtype).code) };
    for (const { node } of layer.sites.filter((site) => site.node.opType === "Gather")) {
      // Rows are looked up in the small type and cast afterwards: the table stays small in memory too.
      const rows = node.graph.addNode(
        {
          opType: "Gather",
          name: node.name,
          inputs: [half, node.inputs[1]],
          outputs: [`${node.output().name}_${spec.dtype}`],
          attributes: node.attributes,
        },
        { before: node },
      );
      const castName = node.graph.uniqueNodeName(`${name}_Cast`);
      node.graph.replaceNode(node, { opType: "Cast", name: castName, inputs: [rows.output()], attributes: to });
    }
    if (value.users().length > 0) {
      const cast = graph.addNode(
        {
          opType: "Cast",
          name: graph.uniqueNodeName(`${name}_Cast`),
          inputs: [half],
          outputs: [`${name}_cast`],
          attributes: to,
        },
        { before: firstUser(graph, value) },
      );
      cast.output().type = { kind: "tensor", dtype: weight.dtype, shape: weight.dims };
      moveUses(value, cast.output());
    }
    return { bytes: stored.tensor.byteLength, sqnr: stored.sqnr };
  },
};

export interface HalfTensor {
  readonly tensor: Tensor;
  /** SQNR in dB; known once the tensor was read. */
  sqnr(): number | undefined;
}

/** A tensor as 16-bit floats, converted piece by piece when read. @throws bad-data then, for what is beyond float16 */
export function halfTensor(name: string, weight: Tensor, dtype: "float16" | "bfloat16", measure: boolean): HalfTensor {
  const owner = {};
  let sqnr: number | undefined;
  function* chunks(): Iterable<Uint8Array> {
    let signal = 0;
    let noise = 0;
    for (let start = 0; start < weight.size; start += PIECE) {
      const count = Math.min(PIECE, weight.size - start);
      const { memory, kernels } = claim(owner);
      yield memory.scope(() => {
        const x = memory.alloc32(count);
        const out = memory.alloc(count * 2);
        const back = memory.alloc32(count);
        readFloats(weight, start, count, x);
        if (dtype === "bfloat16") {
          kernels.floatToBfloat(x, count, out);
          if (measure) kernels.bfloatToFloat(out, count, back);
        } else {
          const overflow = kernels.floatToHalf(x, count, out);
          if (overflow > 0)
            throw new TersorError(
              "bad-data",
              `weight "${name}" [${weight.dims.join(", ")}]: ${overflow} values are beyond 65,504, the largest float16. Use bfloat16, or leave the layer out.`,
            );
          if (measure) kernels.halfToFloat(out, count, back);
        }
        if (measure) {
          signal += kernels.sumSquares(x, count);
          noise += kernels.sumSquaredDifference(x, back, count);
        }
        return memory.u8(out, count * 2);
      });
    }
    if (measure) sqnr = sqnrOf(signal, noise);
  }
  return { tensor: new Tensor(dtype, weight.dims, new ComputedSource(weight.size * 2, chunks)), sqnr: () => sqnr };
}
