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

/** What the original model gives: infinity is no fault where it had it and its outputs are numbers, as in masks and the logarithm of 0. */
export interface OriginalRun {
  /** Its values, and those of them that were not finite. */
  readonly values: ReadonlySet<string>;
  readonly notFinite: ReadonlySet<string>;
}

/** A probed copy of a model; `find` runs it until a value is not finite that should be. */
export function finiteWatch(model: Model, which: Fault["model"]) {
  const probed = model.clone();
  const { graph } = probed;
  const types = inferTypes(probed);
  const watched: { output: string; node: string; value: string; isOutput: boolean }[] = [];
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
      watched.push({ output: output.name, node: `${node}`, value: value.name, isOutput: value.isOutput });
    }
  const fetches = watched.map(({ output }) => output);
  return {
    model: probed,
    /** @param original what was found in the original model; absent where this is it */
    async find(
      session: Session,
      batches: AsyncIterable<Batch>,
      original?: OriginalRun,
    ): Promise<OriginalRun & { readonly fault?: Fault }> {
      const values = new Set(watched.map(({ value }) => value));
      const notFinite = new Set<string>();
      for await (const { inputs, samples } of batches) {
        const outputs = await session.run(inputs, fetches);
        // In graph order: what a node reads was looked at before.
        const found = watched.filter(({ output }) => outputs[output]?.data[0] !== 0);
        for (const { value } of found) notFinite.add(value);
        const isKnown = ({ value }: { value: string }) => original?.notFinite.has(value) ?? false;
        const isLost = found.some((each) => each.isOutput && !isKnown(each));
        const first = found.find((each) => !isKnown(each) && (isLost || original?.values.has(each.value)));
        if (first) {
          const fault = { node: first.node, value: first.value, samples: samples.map(({ id }) => id), model: which };
          return { values, notFinite, fault };
        }
      }
      return { values, notFinite };
    },
  };
}
