/** @file One pass over the data for all statistics: the graph is given probes as outputs, run on every batch, and forgotten. */
import { type Batch, type BatchOptions, batches } from "../data/batch.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../ir/model.ts";
import { tensorType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { inferTypes } from "../passes/infer-shapes.ts";
import { throwIfAborted } from "../runtime/abort.ts";
import type { Outputs, Session } from "../runtime/runtime.ts";
import type { HostTensor } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";
import { type Collector, scalar } from "./collector.ts";
import { finiteProbe, type Probe } from "./probes.ts";

export interface CalibrateOptions {
  /** Loads a model into a runtime; the session is released at the end. */
  readonly open: (model: Model) => Promise<Session>;
  /** Samples in a run: the model's fixed batch size, else 1. */
  readonly batchSize?: number | undefined;
  /** What to do when samples differ in shape; "split" by default. */
  readonly pad?: BatchOptions["pad"];
  /** Called after every batch with the number of samples seen so far. */
  readonly onProgress?: ((samples: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Calibration<Stats> {
  /** By value name, one entry for each of its collectors, in their order. */
  readonly stats: ReadonlyMap<string, readonly Stats[]>;
  readonly samples: number;
}

interface Watched<Stats> {
  readonly name: string;
  readonly node: string;
  readonly collector: Collector<Stats>;
  /** Names of the outputs that it reads. */
  readonly outputs: readonly string[];
}

/**
 * Runs the model on all of the data, and lets every collector see its value (by name; graph inputs included) at every run.
 * Memory does not grow with the number of samples.
 * @throws bad-data for data without samples and for NaN or infinity, naming the first node that gives it; bad-model for
 * names that are no float32 values of the main graph; shape-mismatch where the data does not fit the inputs; aborted.
 */
export async function calibrate<Stats>(
  model: Model,
  data: Dataset,
  collectors: ReadonlyMap<string, readonly Collector<Stats>[]>,
  options: CalibrateOptions,
): Promise<Calibration<Stats>> {
  const { signal, onProgress } = options;
  const { probed, watched, finite } = addProbes(model, collectors);
  const session = await options.open(probed);
  let samples = 0;
  try {
    const fixed = fixedBatch(session);
    const size = fixed ?? options.batchSize ?? 1;
    const fetches = [...new Set([...finite.keys(), ...watched.flatMap(({ outputs }) => outputs)])];
    for await (const batch of batches(data, { size, pad: options.pad ?? "split", last: fixed ? "fill" : "keep" })) {
      throwIfAborted(signal, "calibration");
      const outputs = fetches.length > 0 ? await session.run(batch.inputs, fetches, signal ? { signal } : {}) : {};
      checkFinite(finite, outputs, batch);
      for (const { collector, outputs: names } of watched)
        collector.add(names.map((name) => outputs[name] as HostTensor));
      samples += batch.samples.length;
      onProgress?.(samples);
    }
  } finally {
    await session.release();
  }
  if (samples === 0)
    throw new TersorError("bad-data", `${data.name}: holds no samples. Calibration needs some: 100 to 500 are usual.`);
  return { stats: resultsOf(collectors), samples };
}

function resultsOf<Stats>(collectors: ReadonlyMap<string, readonly Collector<Stats>[]>) {
  return new Map([...collectors].map(([name, own]) => [name, own.map((collector) => collector.result())]));
}

/** Rows that the model wants at once, where its inputs agree on a number above 1. */
function fixedBatch({ inputs }: Session): number | undefined {
  const size = inputs[0]?.dims[0];
  return typeof size === "number" && size > 1 && inputs.every(({ dims }) => dims[0] === size) ? size : undefined;
}

/** The model with the probes as its only outputs. */
function addProbes<Stats>(model: Model, collectors: ReadonlyMap<string, readonly Collector<Stats>[]>) {
  const probed = model.clone();
  const { graph } = probed;
  const types = inferTypes(probed);
  const watched: Watched<Stats>[] = [];
  /** Output that is 0 where a value is finite, with what computes the value, in graph order. */
  const finite = new Map<string, string>();
  const order = new Map(graph.nodes.map((node, index) => [node, index]));
  const place = (value: Value) => (value.producer ? (order.get(value.producer) ?? 0) : -1);
  const chosen = [...collectors]
    .map(([name, own]) => ({ value: observable(graph.find(name), name, types), own }))
    .sort((a, b) => place(a.value) - place(b.value));
  const asOutputs: Value[] = [];
  for (const { value, own } of chosen) {
    const built = new Map<string, Value>();
    const nodeOf = value.producer ? `${value.producer}` : `input "${value.name}"`;
    const build = (probe: Probe) => {
      const known = built.get(probe.key) ?? probe.build({ graph, value, opset: probed.opset });
      built.set(probe.key, known);
      return known;
    };
    finite.set(asOutput(build(finiteProbe)), nodeOf);
    for (const collector of own) {
      const outputs = collector.needs.map((probe) => asOutput(build(probe)));
      watched.push({ name: value.name, node: nodeOf, collector, outputs });
    }
  }
  /** An input that is an output as well goes through an Identity: runtimes differ in whether they allow it. */
  function asOutput(value: Value): string {
    const out = value.isInput
      ? graph.addNode({ opType: "Identity", inputs: [value], outputs: [`${value.name}_seen`] }).output()
      : value;
    out.type ??= tensorType("float32");
    if (!asOutputs.includes(out)) asOutputs.push(out);
    return out.name;
  }
  for (const value of asOutputs) if (!value.isOutput) graph.addOutput(value);
  return { probed, watched, finite };
}

/** @throws bad-model */
function observable(value: Value | undefined, name: string, types: ReturnType<typeof inferTypes>): Value {
  const type = value && (types.get(value) ?? value.type);
  if (value && type?.kind === "tensor" && type.dtype === "float32") {
    value.type = type;
    return value;
  }
  throw new TersorError(
    "bad-model",
    `calibration of "${name}": expected a float32 value of the main graph, got ${type?.kind === "tensor" ? type.dtype : "nothing of that name"}.`,
  );
}

function checkFinite(finite: ReadonlyMap<string, string>, outputs: Outputs, batch: Batch): void {
  for (const [name, node] of finite) {
    if (scalar(outputs[name]) === 0) continue;
    const ids = batch.samples.map(({ id }) => `"${id}"`).join(", ");
    throw new TersorError(
      "bad-data",
      `calibration, sample ${ids}: ${node} gives NaN or infinity: expected finite numbers. Check the sample and its preprocessing.`,
    );
  }
}
