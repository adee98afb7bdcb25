/** @file Why a training's loss is no number: a sample, what the model makes of it, or an operator without a finite slope there. */
import { makeEmitter } from "../autodiff/emitter.ts";
import { gradient } from "../autodiff/gradient.ts";
import { type Batch, fixedBatch } from "../data/batch.ts";
import { holdsNaN } from "../data/not-a-number.ts";
import { openModel } from "../evaluate/open-model.ts";
import { attr } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import type { Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { infer } from "../ops/infer.ts";
import type { Outputs } from "../runtime/io.ts";
import type { Runtime, Session, SessionOptions } from "../runtime/runtime.ts";
import { dtypeInfo } from "../tensor/dtype.ts";
import { TersorError } from "../util/errors.ts";
import { emitLosses, splitTarget, type TargetInput } from "./emit-losses.ts";
import type { LossSettings } from "./loss-rule.ts";
import { forwardAt } from "./step-graph.ts";
import { labelTensor } from "./targets.ts";

export interface BrokenStep {
  /** With the last weights that were all finite. */
  readonly model: Model;
  readonly losses: readonly LossSettings[];
  /** The batch whose loss is no number, and those before it. */
  readonly batches: readonly Batch[];
  readonly runtime: Runtime;
  readonly session: SessionOptions;
}

/**
 * What is at fault other than the rate: found by running the samples once more on weights that are finite, without any update. Undefined
 * where all of them give finite values and gradients.
 */
export async function causeOfNaN(broken: BrokenStep): Promise<string | undefined> {
  const samples = broken.batches.flatMap((batch) => batch.samples);
  for (const sample of samples) {
    const where = holdsNaN(sample);
    if (where) return `sample "${sample.id}": ${where} holds NaN. Repair it or leave it out.`;
  }
  try {
    return await causeInside(broken);
  } catch (error) {
    // What can't be looked into, such as a graph whose losses need a teacher, leaves the cause open.
    if (error instanceof TersorError && error.code !== "aborted") return undefined;
    throw error;
  }
}

/** Looks at the samples one by one, or at whole batches where the model wants a number of rows. */
async function causeInside({
  model,
  losses,
  batches,
  runtime,
  session: options,
}: BrokenStep): Promise<string | undefined> {
  const inputs = model.graph.inputs.flatMap(({ name, type, isConstant }) =>
    isConstant || type?.kind !== "tensor" ? [] : [{ name, dtype: type.dtype, dims: type.shape ?? [] }],
  );
  const runs =
    fixedBatch(inputs) === undefined
      ? batches.flatMap(({ samples }) => samples.map((sample): Batch => ({ samples: [sample], inputs: sample.inputs })))
      : batches;
  let loaded: { readonly key: string; readonly probed: Probed; readonly session: Session } | undefined;
  let slope: string | undefined;
  try {
    for (const batch of runs) {
      const key = JSON.stringify(Object.entries(batch.inputs).map(([name, { dims }]) => [name, dims]));
      if (loaded?.key !== key) {
        await loaded?.session.release();
        const probed = probe(model, losses, batch);
        loaded = { key, probed, session: await openModel(probed.model, runtime, options) };
      }
      const { probed, session } = loaded;
      const seen = await session.run(feedsOf(batch, probed, session), probed.fetches);
      const who = `sample ${batch.samples.map(({ id }) => `"${id}"`).join(", ")}`;
      const node = firstBad(probed.forward, seen);
      if (node)
        return `${who}: the model answers no number to it with finite weights: ${node} gives NaN from what is none. Leave it out, or mend the model there.`;
      const steep = firstBad(probed.backward, seen);
      slope ??=
        steep &&
        `${who}: the slope of ${steep} is not finite at the values that it is given. Keep them away from there (by a small number added in front of it), or train only what comes behind it (train).`;
    }
  } finally {
    await loaded?.session.release();
  }
  return slope;
}

/** A node with the outputs that tell whether something is wrong before and behind it. */
interface Watched {
  readonly node: Node;
  readonly given: readonly string[];
  readonly results: readonly string[];
}

interface Probed {
  readonly model: Model;
  readonly fetches: readonly string[];
  /** In graph order. */
  readonly forward: readonly Watched[];
  /** From the loss on. */
  readonly backward: readonly Watched[];
  readonly targets: readonly TargetInput[];
}

/** The first node that makes something bad of what was not. */
function firstBad(watched: readonly Watched[], seen: Outputs): string | undefined {
  const isBad = (name: string) => seen[name]?.data[0] !== 0;
  const found = watched.find(({ given, results }) => results.some(isBad) && !given.some(isBad));
  return found && `${found.node}`;
}

function feedsOf({ inputs, samples }: Batch, { targets }: Probed, { inputs: known }: Session) {
  const names = new Set(known.map(({ name }) => name));
  const labels = targets.map((target) => [target.name, labelTensor(samples, target)] as const);
  return Object.fromEntries([...Object.entries(inputs), ...labels].filter(([name]) => names.has(name)));
}

/** A model that tells of every value whether it has NaN, and of its gradient whether it is finite. Losses that need a teacher are left out. */
function probe(model: Model, losses: readonly LossSettings[], batch: Batch): Probed {
  const shapes = Object.fromEntries(Object.entries(batch.inputs).map(([name, { dims }]) => [name, dims]));
  const forward = forwardAt(model, shapes);
  const own = losses.filter(({ target }) => splitTarget(target)[0] !== "teacher");
  if (own.length === 0) return probedForward(forward);
  const nodes = [...forward.graph.nodes];
  const { targets, total } = emitLosses(makeEmitter(forward.graph, forward.opset, infer(forward)), { losses: own });
  const types = infer(forward).types;
  const wanted = [...new Set(nodes.flatMap((node) => [...node.inputs, ...node.outputs]))].flatMap((value) =>
    value && !value.isOutput && value.graph === forward.graph && isFloat(types.get(value) ?? value.type)
      ? [value.name]
      : [],
  );
  const known = new Set([...forward.graph.values].map(({ name }) => name));
  const outputs = forward.graph.outputs.map(({ name }) => name);
  const result = gradient(forward, { of: total.name, with: [...wanted, ...outputs] });
  const probed = probedForward(result.model, ({ name }) => known.has(name));
  const { graph } = result.model;
  const flags = new Map<string, string>();
  for (const [name, slope] of result.gradients) {
    const value = graph.find(slope);
    if (value) flags.set(name, flagged(graph, value, ["IsNaN", "IsInf"]));
  }
  const flagsOf = (values: readonly (Value | undefined)[]) =>
    values.flatMap((value) => flags.get(value?.name ?? "") ?? []);
  const backward = nodes
    .map((node) => ({ node, given: flagsOf(node.outputs), results: flagsOf(node.inputs) }))
    .filter(({ given, results }) => given.length > 0 && results.length > 0)
    .reverse();
  return withOutputs({ ...probed, backward, targets }, [...probed.fetches, ...flags.values()]);
}

/** @param isForward whether a value is of the model or its losses, and not of their gradients */
function probedForward(model: Model, isForward: (value: Value) => boolean = () => true): Probed {
  const { graph } = model;
  const types = infer(model).types;
  const flags = new Map<Value, string>();
  const flagOf = (value: Value | undefined) => {
    if (!value || value.graph !== graph || !isForward(value) || !isFloat(types.get(value) ?? value.type)) return [];
    const flag = flags.get(value) ?? flagged(graph, value, ["IsNaN"]);
    flags.set(value, flag);
    return [flag];
  };
  const forward = [...graph.nodes].map((node) => ({
    node,
    given: node.inputs.flatMap(flagOf),
    results: node.outputs.flatMap(flagOf),
  }));
  return withOutputs({ model, fetches: [], forward, backward: [], targets: [] }, [...flags.values()]);
}

/** The model with these outputs alone. */
function withOutputs(probed: Probed, fetches: readonly string[]): Probed {
  const { graph } = probed.model;
  for (const output of [...graph.outputs]) graph.removeOutput(output);
  for (const name of fetches) graph.addOutput(graph.find(name) as Value);
  return { ...probed, fetches };
}

/** An output that is not 0 where any element is NaN, or infinite as well. */
function flagged(graph: Graph, value: Value, tests: readonly ("IsNaN" | "IsInf")[]): string {
  const float = { to: attr.int(dtypeInfo("float32").code) };
  const found = tests.map((opType) => {
    const hits = graph.addNode({ opType, inputs: [value], outputs: [`${value.name}_${opType}`] }).output();
    const cast = graph.addNode({ opType: "Cast", inputs: [hits], outputs: [`${hits.name}_cast`], attributes: float });
    const keepdims = { keepdims: attr.int(0) };
    return graph
      .addNode({ opType: "ReduceMax", inputs: [cast.output()], outputs: [`${hits.name}_any`], attributes: keepdims })
      .output();
  });
  return graph.addNode({ opType: "Sum", inputs: found, outputs: [`${value.name}_bad`] }).output().name;
}

function isFloat(type: ValueType | undefined): boolean {
  return type?.kind === "tensor" && dtypeInfo(type.dtype).kind === "float";
}
