/** @file The first node of a model that gives NaN or infinity although everything that it reads is finite. */
import { finiteProbe, probeBuilder } from "../../calibrate/probes.ts";
import type { Batch } from "../../data/batch.ts";
import { attr } from "../../ir/attribute.ts";
import type { Model } from "../../ir/model.ts";
import { tensorType } from "../../ir/types.ts";
import { inferTypes } from "../../passes/infer-shapes.ts";
import type { Session } from "../../runtime/runtime.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";

export interface Fault {
  /** As messages name it. */
  readonly node: string;
  readonly value: string;
  /** Ids of the samples of the run in which it was seen. */
  readonly samples: readonly string[];
  readonly model: "original" | "changed";
}

/** A probed copy of a model; `find` runs it until a value is not finite. */
export function finiteWatch(model: Model, which: Fault["model"]) {
  const probed = model.clone();
  const { graph } = probed;
  const types = inferTypes(probed);
  const watched: { output: string; node: string; value: string }[] = [];
  for (const node of [...graph.nodes])
    for (const value of node.outputs) {
      const type = value && (types.get(value) ?? value.type);
      if (!value || type?.kind !== "tensor" || !["float32", "float16"].includes(type.dtype)) continue;
      const cast = { opType: "Cast", inputs: [value], outputs: [`${value.name}_wide`] };
      const to = attr.int(dtypeInfo("float32").code);
      const wide = type.dtype === "float32" ? value : graph.addNode({ ...cast, attributes: { to } }).output();
      const output = probeBuilder(graph, wide, probed.opset)(finiteProbe);
      output.type = tensorType("float32", []);
      graph.addOutput(output);
      watched.push({ output: output.name, node: `${node}`, value: value.name });
    }
  const fetches = watched.map(({ output }) => output);
  return {
    model: probed,
    async find(session: Session, batches: AsyncIterable<Batch>): Promise<Fault | undefined> {
      for await (const { inputs, samples } of batches) {
        const outputs = await session.run(inputs, fetches);
        // In graph order: what a node reads was looked at before.
        const first = watched.find(({ output }) => outputs[output]?.data[0] !== 0);
        if (first) return { node: first.node, value: first.value, samples: samples.map(({ id }) => id), model: which };
      }
      return undefined;
    },
  };
}
