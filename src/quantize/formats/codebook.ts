/**
 * @file Weights as indices into a table of values: Gather(table, Cast(indices)). Runtimes compute it once, when they load the model:
 * the file is small, memory and speed are those of floats.
 */
import { attr } from "../../ir/attribute.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { packBits } from "../../tensor/pack.ts";
import { fromNumbers, Tensor } from "../../tensor/tensor.ts";
import { ComputedSource } from "../../util/bytes.ts";
import { type Codebook, quantizeCodebook } from "../methods/codebook.ts";
import { sqnrOfValues } from "../methods/sqnr.ts";
import { type FormatWriter, firstUser, moveUses } from "./format.ts";

/** Codes of 8 bits have 256 values, of 4 bits 16. */
export const codebookWriter: FormatWriter = {
  name: "Codebook",
  opset: ({ spec }) => (spec.bits <= 4 ? 21 : 9),

  write({ layer, spec, measure }) {
    const { value, weight } = layer;
    const { graph, name } = value;
    const dtype = spec.bits <= 4 ? "uint4" : "uint8";
    const size = dtype === "uint4" ? 16 : 256;
    let table: Float32Array | undefined;
    let sqnr: number | undefined;
    const compute = (): Codebook => {
      const data = weight.toFloat32();
      const result = quantizeCodebook(name, data, size);
      const { values, codes } = result;
      table = values;
      if (measure) sqnr = sqnrOfValues(data, (i) => values[codes[i] as number] as number);
      return result;
    };
    const codes = new ComputedSource(Math.ceil((weight.size * dtypeInfo(dtype).bits) / 8), () => {
      const { codes } = compute();
      return [dtype === "uint8" ? codes : packBits(codes, dtype)];
    });
    const values = new ComputedSource((size * dtypeInfo(weight.dtype).bits) / 8, () => {
      const tensor = fromNumbers(weight.dtype, [size], table ?? compute().values);
      return [tensor.bytes.read(0, tensor.byteLength)];
    });
    const indices = graph.addInitializer(`${name}_indices`, new Tensor(dtype, weight.dims, codes));
    const codebook = graph.addInitializer(`${name}_codebook`, new Tensor(weight.dtype, [size], values));
    const place = { before: firstUser(graph, value) };
    const cast = graph.addNode(
      {
        opType: "Cast",
        name: graph.uniqueNodeName(`${name}_Cast`),
        inputs: [indices],
        outputs: [`${name}_indices_int32`],
        attributes: { to: attr.int(dtypeInfo("int32").code) },
      },
      place,
    );
    const gather = graph.addNode(
      {
        opType: "Gather",
        name: graph.uniqueNodeName(`${name}_Gather`),
        inputs: [codebook, cast.output()],
        outputs: [`${name}_values`],
      },
      place,
    );
    gather.output().type = { kind: "tensor", dtype: weight.dtype, shape: weight.dims };
    moveUses(value, gather.output());
    return { bytes: codes.byteLength + values.byteLength, sqnr: () => sqnr };
  },
};
