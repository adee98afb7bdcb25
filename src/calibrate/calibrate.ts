/** @file One pass over the data for all statistics: the graph is given probes as outputs, run on every batch, and forgotten. */
import { type Batch, type BatchOptions, batches, fixedBatch } from "../data/batch.ts";
import type { Dataset } from "../data/dataset.ts";
import { attr } from "../ir/attribute.ts";
import type { Model } from "../ir/model.ts";
import { tensorType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { inferTypes } from "../passes/infer-shapes.ts";
import { throwIfAborted } from "../runtime/abort.ts";
import type { Outputs } from "../runtime/io.ts";
import type { Session } from "../runtime/runtime.ts";
import type { HostTensor } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";
import { type Collector, floats } from "./collector.ts";
import { finiteProbe, nanProbe, type Probe, probeBuilder, sumProbe } from "./probes.ts";

export interface CalibrateOptions {
  /** Loads a model into a runtime; the session is released at the end. */
  readonly open: (model: Model) => Promise<Session>;
  /** Samples in a run: the model's fixed batch size, else 1. */
  readonly batchSize?: number | undefined;
  /** What to do when samples differ in shape; "split" by default. */
  readonly pad?: BatchOptions["pad"];
  /** Every sample is a whole batch already: it is run as it is. */
  readonly whole?: boolean;
  /**
   * Infinity is no error, as in masks and the logarithm of 0, and NaN only where an output of the model is: for collectors that look at
   * finite elements alone. The model needs opset 10 then.
   */
  readonly infinite?: boolean;
  /** Values, of any type, that are handed over at every run. */
  readonly keep?: Keep | undefined;
  /** Called after every batch with the number of samples seen so far. */
  readonly onProgress?: ((samples: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Keep {
  readonly values: readonly string[];
  add(batch: Batch, outputs: Outputs): void;
}

export interface Calibration<Stats> {
  /** By value name, one entry for each of its collectors, in their order. */
  readonly stats: ReadonlyMap<string, readonly Stats[]>;
  readonly samples: number;
}

interface Watched<Stats> {
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
  const { signal, onProgress, keep } = options;
  const { probed, watched, sums } = addProbes(model, collectors, keep?.values ?? [], {
    check: options.infinite ? "no NaN in outputs" : "finite",
  });
  const session = await options.open(probed);
  let samples = 0;
  try {
    const fixed = options.whole ? undefined : fixedBatch(session.inputs);
    const size = options.whole ? 1 : (fixed ?? options.batchSize ?? 1);
    const seen = watched.flatMap(({ outputs }) => outputs);
    const fetches = [...new Set([...sums.keys(), ...seen, ...(keep?.values ?? [])])];
    for await (const batch of batches(data, { size, pad: options.pad ?? "split", last: fixed ? "fill" : "keep" })) {
      throwIfAborted(signal, "calibration");
      const outputs = fetches.length > 0 ? await session.run(batch.inputs, fetches, signal ? { signal } : {}) : {};
      const broken = notFinite(sums, outputs)[0];
      const error = broken && (await notFiniteError(model, broken, batch, options));
      if (error) throw error;
      for (const { collector, outputs: names } of watched)
        collector.add(names.map((name) => outputs[name] as HostTensor));
      keep?.add(batch, outputs);
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

/** What must hold of a value, as the probe that is finite where it does; undefined where nothing must. */
const checks = {
  // A mean over all elements is finite only where they are.
  finite: (_: Value, needs: readonly Probe[]) => needs.find(({ isSum }) => isSum) ?? sumProbe,
  "exactly finite": () => finiteProbe,
  "no NaN": () => nanProbe,
  "no NaN in outputs": (value: Value) => (value.isOutput ? nanProbe : undefined),
};

type Check = keyof typeof checks;

/** The model with the probes, and the values that are kept, as outputs besides its own. */
function addProbes<Stats>(
  model: Model,
  collectors: ReadonlyMap<string, readonly Collector<Stats>[]>,
  kept: readonly string[],
  { check }: { readonly check: Check },
) {
  const probed = model.clone();
  const { graph } = probed;
  const types = inferTypes(probed);
  const watched: Watched<Stats>[] = [];
  /** Output that is finite where a value is, with the value, in graph order. */
  const sums = new Map<string, Value>();
  const order = new Map(graph.nodes.map((node, index) => [node, index]));
  const place = (value: Value) => (value.producer ? (order.get(value.producer) ?? 0) : -1);
  const chosen = [...collectors]
    .map(([name, own]) => ({ value: observable(graph.find(name), name, types), own }))
    .sort((a, b) => place(a.value) - place(b.value));
  const asOutputs: Value[] = [];
  for (const { value, own } of chosen) {
    const build = probeBuilder(graph, inSingle(value), probed.opset);
    const needs = own.flatMap((collector) => collector.needs);
    const probe = checks[check](value, needs);
    if (probe) sums.set(asOutput(build(probe)), value);
    for (const collector of own) {
      const outputs = collector.needs.map((probe) => asOutput(build(probe)));
      watched.push({ collector, outputs });
    }
  }
  /** Statistics are taken in float32: of numbers in another type, once they are converted. */
  function inSingle(value: Value): Value {
    if (value.type?.kind !== "tensor" || value.type.dtype === "float32") return value;
    const spec = {
      opType: "Cast",
      inputs: [value],
      outputs: [`${value.name}_single`],
      attributes: { to: attr.int(1) },
    };
    const cast = graph.addNode(spec).output();
    cast.type = tensorType("float32", value.type.shape);
    return cast;
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
  for (const name of kept) asOutputs.push(graph.find(name) as Value);
  for (const value of asOutputs) if (!value.isOutput) graph.addOutput(value);
  return { probed, watched, sums };
}

const observed: ReadonlySet<string> = new Set(["float32", "float16", "float64"]);

/** @throws bad-model */
function observable(value: Value | undefined, name: string, types: ReturnType<typeof inferTypes>): Value {
  const type = value && (types.get(value) ?? value.type);
  if (value && type?.kind === "tensor" && observed.has(type.dtype)) {
    value.type = type;
    return value;
  }
  throw new TersorError(
    "bad-model",
    `calibration of "${name}": expected a value of numbers with a fraction, of the main graph, got ${type?.kind === "tensor" ? type.dtype : "nothing of that name"}.`,
  );
}

/** The values that are not finite, in graph order. */
function notFinite(sums: ReadonlyMap<string, Value>, outputs: Outputs): Value[] {
  return [...sums].flatMap(([name, value]) => (floats(outputs[name]).every(Number.isFinite) ? [] : [value]));
}

/**
 * Runs the batch again and looks at every value, to name the node where it begins: from what was seen back through inputs
 * that are not finite either. Undefined where only a sum overflowed.
 */
async function notFiniteError(
  model: Model,
  seen: Value,
  batch: Batch,
  { open, signal, infinite }: CalibrateOptions,
): Promise<TersorError | undefined> {
  const { probed, sums } = addProbes(model, new Map(floatValues(model).map((name) => [name, []])), [], {
    check: infinite ? "no NaN" : "exactly finite",
  });
  const session = await open(probed);
  try {
    const outputs = await session.run(batch.inputs, [...sums.keys()], signal ? { signal } : {});
    const broken = new Map(notFinite(sums, outputs).map((value) => [value.name, value]));
    let first = broken.get(seen.name);
    if (!first) return undefined;
    for (let next: Value | undefined = first; next; next = before(next, broken)) first = next;
    const ids = batch.samples.map(({ id }) => `"${id}"`).join(", ");
    const where = first.producer ? `${first.producer}` : `input "${first.name}"`;
    return new TersorError(
      "bad-data",
      `calibration, sample ${ids}: ${where} gives ${infinite ? "NaN" : "NaN or infinity"}: expected ${infinite ? "numbers" : "finite numbers"}. Check the sample and its preprocessing.`,
    );
  } finally {
    await session.release();
  }
}

function before({ producer }: Value, broken: ReadonlyMap<string, Value>): Value | undefined {
  return producer?.inputs.map((input) => broken.get(input?.name ?? "")).find((value) => value !== undefined);
}

/** Names of the float32 values of the main graph that are computed, or fed. */
export function floatValues(model: Model): string[] {
  const types = inferTypes(model);
  return [...model.graph.values].flatMap((value) => {
    const type = types.get(value) ?? value.type;
    return !value.isConstant && type?.kind === "tensor" && type.dtype === "float32" ? [value.name] : [];
  });
}
