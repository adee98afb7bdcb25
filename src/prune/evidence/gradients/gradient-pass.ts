/** @file One pass over data for gradients: a graph of forward, objective and backward, run on batch after batch, summed up in constant memory. */
import { type Emitter, makeEmitter } from "../../../autodiff/emitter.ts";
import { gradient } from "../../../autodiff/gradient.ts";
import { type Batch, batches } from "../../../data/batch.ts";
import type { Model } from "../../../ir/model.ts";
import type { Value } from "../../../ir/value.ts";
import { infer } from "../../../ops/infer.ts";
import { removeDeadCode } from "../../../passes/dead-code.ts";
import { throwIfAborted } from "../../../runtime/abort.ts";
import type { Session } from "../../../runtime/runtime.ts";
import { forwardAt } from "../../../train/step-graph.ts";
import { TersorError } from "../../../util/errors.ts";
import type { ChannelData } from "../channel-data.ts";
import { emitObjective, hasClass, type Objective, type ObjectiveInputs } from "./objective.ts";

/** What is read of the gradient of one value. */
export interface GradientProbe {
  /** The value, by name. */
  readonly of: string;
  emit(op: Emitter, value: Value, gradient: Value): Value;
}

export interface GradientPassOptions {
  readonly data: ChannelData;
  /** What to differentiate; "auto": the loss on labels where samples have class labels, else the outputs. */
  readonly objective: "auto" | Objective;
  readonly seed: number;
  /** Gets what each probe gave for a batch, by its position; undefined where no gradient reaches the value. Only lent. */
  add(seen: readonly (Float32Array | undefined)[]): void;
}

export interface GradientPass {
  /** Batches that were added. */
  readonly batches: number;
  readonly samples: number;
  readonly objective: Objective;
}

/** Graphs that are kept loaded: one for every shape of batch. */
const SESSION_LIMIT = 16;

interface Loaded {
  readonly session: Session;
  readonly inputs: ObjectiveInputs;
  /** Names of the outputs, by probe. */
  readonly outputs: readonly (string | undefined)[];
}

/**
 * Differentiates an objective by values of the main graph, batch by batch. With batches of one (default), gradients are of single samples.
 * @throws bad-recipe for labels that are asked for and not there; bad-data without samples; unsupported-op as {@link gradient}
 */
export async function gradientPass(
  model: Model,
  probes: readonly GradientProbe[],
  { data, objective, seed, add }: GradientPassOptions,
): Promise<GradientPass> {
  const loaded = new Map<string, Loaded>();
  let chosen: Objective | undefined;
  let [count, samples] = [0, 0];
  try {
    const fixed = fixedBatch(model);
    const size = fixed ?? data.batchSize ?? 1;
    for await (const batch of batches(data.data, { size, pad: data.pad ?? "split", last: fixed ? "drop" : "keep" })) {
      throwIfAborted(data.signal, "pruning");
      chosen ??= chooseObjective(objective, batch);
      const { session, inputs, outputs } = await load(loaded, model, probes, { batch, objective: chosen, seed, data });
      const known = new Set(session.inputs.map(({ name }) => name));
      const feeds = { ...batch.inputs, ...inputs.feeds(batch, count) };
      const seen = await session.run(
        Object.fromEntries(Object.entries(feeds).filter(([name]) => known.has(name))),
        [...new Set(outputs.flatMap((name) => name ?? []))],
        data.signal ? { signal: data.signal } : {},
      );
      add(outputs.map((name) => (name === undefined ? undefined : (seen[name]?.data as Float32Array))));
      count++;
      samples += batch.samples.length;
      data.onProgress?.(samples);
    }
  } finally {
    for (const { session } of loaded.values()) await session.release();
  }
  if (!chosen) throw new TersorError("bad-data", `${data.data.name}: holds no samples. Gradients need some.`);
  return { batches: count, samples, objective: chosen };
}

/** Rows that the model wants at once, where its inputs agree on a number above 1. */
function fixedBatch({ graph }: Model): number | undefined {
  const sizes = graph.inputs
    .filter(({ isConstant }) => !isConstant)
    .map(({ type }) => (type?.kind === "tensor" ? type.shape?.[0] : undefined));
  const [size] = sizes;
  return typeof size === "number" && size > 1 && sizes.every((each) => each === size) ? size : undefined;
}

function chooseObjective(asked: GradientPassOptions["objective"], { samples }: Batch): Objective {
  const labelled = samples.every(hasClass);
  if (asked === "labels" && !labelled)
    throw new TersorError(
      "bad-recipe",
      `prune: gradients of labels: sample "${samples[0]?.id}" has none that is a class. Give labelled data, or take gradients of outputs.`,
    );
  if (asked === "curvature") return labelled ? "curvature" : "outputs";
  return asked === "auto" ? (labelled ? "labels" : "outputs") : asked;
}

/** @throws unsupported-op, with what to do instead */
function differentiate(forward: Model, probes: readonly GradientProbe[], { loss, stopped }: ObjectiveInputs) {
  try {
    const wanted = [...new Set(probes.map(({ of }) => of))];
    return gradient(forward, { of: loss.name, with: wanted, stopGradient: stopped });
  } catch (cause) {
    if (!(cause instanceof TersorError) || cause.code !== "unsupported-op") throw cause;
    throw new TersorError(
      "unsupported-op",
      `prune: gradients can't be had of this model: ${cause.message} Or take a criterion without gradients: l1, wanda.`,
      { cause },
    );
  }
}

interface LoadOptions extends Pick<GradientPassOptions, "seed" | "data"> {
  readonly batch: Batch;
  readonly objective: Objective;
}

async function load(
  loaded: Map<string, Loaded>,
  model: Model,
  probes: readonly GradientProbe[],
  { batch, objective, seed, data }: LoadOptions,
): Promise<Loaded> {
  const shapes = Object.fromEntries(Object.entries(batch.inputs).map(([name, { dims }]) => [name, dims]));
  const key = JSON.stringify(shapes);
  const known = loaded.get(key);
  if (known) return known;
  const forward = forwardAt(model, shapes);
  const inputs = emitObjective(makeEmitter(forward.graph, forward.opset, infer(forward)), objective, {
    seed,
    label: batch.samples[0]?.label,
  });
  const found = differentiate(forward, probes, inputs);
  const { graph } = found.model;
  const op = makeEmitter(graph, found.model.opset, infer(found.model));
  for (const output of [...graph.outputs]) graph.removeOutput(output);
  const outputs = probes.map(({ of, emit }) => {
    const name = found.gradients.get(of);
    if (name === undefined) return undefined;
    op.subject = `${of}.probe`;
    const value = emit(op, graph.find(of) as Value, graph.find(name) as Value);
    const output = value.isInput || value.isConstant ? op.emit("Identity", [value])[0] : value;
    if (output && !output.isOutput) graph.addOutput(output);
    return output?.name;
  });
  if (outputs.every((name) => name === undefined)) {
    const inner = forward.graph.nodes.filter((node) => node.subgraphs().length > 0);
    const names = inner.map(({ opType, name, outputs: [first] }) => `"${name || first?.name}" (${opType})`);
    const where = names.length > 0 ? ` outside of the branches and loops of ${names.join(", ")}` : "";
    throw new TersorError(
      "unsupported-op",
      `prune: gradients can't be had of this model: none reaches a weight${where}. Take a criterion without gradients: l1, wanda.`,
    );
  }
  const session = await data.open(removeDeadCode(found.model).model);
  const [oldest] = loaded;
  if (oldest && loaded.size >= SESSION_LIMIT) {
    await oldest[1].session.release();
    loaded.delete(oldest[0]);
  }
  const result = { session, inputs, outputs };
  loaded.set(key, result);
  return result;
}
