/** @file From a metric's name, options or module, or from the labels alone, to a metric that is ready to use. */
import { z } from "zod";
import type { Sample } from "../data/dataset.ts";
import type { Model } from "../ir/model.ts";
import type { ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { holdsIndices, plausibleOutput, type TypeOf } from "../ops/plausible-output.ts";
import { inferTypes } from "../passes/infer-shapes.ts";
import { dtypeInfo } from "../tensor/dtype.ts";
import { TersorError } from "../util/errors.ts";
import { parseOptions } from "../util/options.ts";
import type { Metric, MetricAccumulator } from "./metric.ts";
import { metrics } from "./metrics.ts";

/** A metric with its options bound: makes one accumulator per model. */
export interface ChosenMetric extends Pick<Metric, "name" | "higherIsBetter" | "unit"> {
  create(): MetricAccumulator;
  /** The output that it reads, where one was named. */
  readonly output?: string;
  /** The same metric of an output; absent where one was named, and for metrics that look for themselves. */
  readonly on?: (output: string) => ChosenMetric;
  /** Whether the labels decided it, and nobody asked for it. */
  readonly byLabel?: boolean;
}

/** A name, the path of a module, or either with options; in code, a metric of one's own. */
export type MetricSpec = string | (Readonly<Record<string, unknown>> & { readonly name: string });

/** How files that a spec names are read; the core reads none itself. */
export interface MetricFiles {
  readText(path: string): Promise<string>;
  /** The default export of the user's module. */
  loadModule(path: string): Promise<unknown>;
}

/**
 * The metric that a spec asks for. `charset: "FILE"` and `name: "FILE.js"` are read through `files`.
 * @throws bad-recipe for an unknown name or wrong options, bad-data when a module is no metric.
 */
export async function chooseMetric(spec: MetricSpec, files: MetricFiles): Promise<ChosenMetric> {
  const { name, ...given } = typeof spec === "string" ? { name: spec } : spec;
  if (typeof given.create === "function") return bind(metricFrom(spec, name), {});
  const isModule = /\.[cm]?[jt]s$/.test(name);
  const metric = isModule ? metricFrom(await files.loadModule(name), name) : byName(name);
  const { charset } = given as { charset?: unknown };
  const options = typeof charset === "string" ? { ...given, charset: await files.readText(charset) } : given;
  return bind(metric, parseOptions(metric.options, options, `metric "${name}"`));
}

/**
 * The metric that suits a sample's label: top-1 for a class, perplexity for a class per element, mse for other values.
 * Undefined without a label, and for text, which needs a charset.
 */
export function metricForLabel({ label }: Sample): ChosenMetric | undefined {
  const name =
    typeof label === "object"
      ? dtypeInfo(label.dtype).kind === "float"
        ? "mse"
        : "perplexity"
      : typeof label === "number"
        ? Number.isInteger(label)
          ? "top-1"
          : "mse"
        : undefined;
  if (name === undefined) return undefined;
  const metric = byName(name);
  return { ...bind(metric, metric.options.parse({})), byLabel: true };
}

/** A metric of one output of a model, and what to tell the user of the choice. */
export interface SettledMetric {
  readonly metric: ChosenMetric;
  readonly notes: readonly string[];
}

/**
 * The metric on the output that it names, else on `preferred` (what a loss is of), else on the most plausible one. Class indices are
 * judged by accuracy where the labels alone decided the metric.
 */
export function settleMetric(metric: ChosenMetric, model: Model, sample: Sample, preferred?: string): SettledMetric {
  const { graph } = model;
  if (!metric.on) return { metric, notes: [] };
  const typeOf = outputTypes(model);
  const named = graph.outputs.find(({ name }) => name === preferred);
  const found = named ? { value: named } : plausibleOutput(graph, typeOf, sample.label);
  if (!found) return { metric, notes: [] };
  const { value, note } = found;
  const isIndex = metric.byLabel && metric.name === "top-1" && holdsIndices(typeOf(value));
  const accuracy = byName("accuracy");
  const own = isIndex ? bind(accuracy, accuracy.options.parse({})) : metric;
  return { metric: own.on?.(value.name) ?? own, notes: note === undefined ? [] : [note] };
}

/** Declared types of a model's outputs; inferred where one is missing. */
export function outputTypes(model: Model): TypeOf {
  const isOpen = model.graph.outputs.some(({ type }) => type?.kind !== "tensor" || !type.shape);
  const types = isOpen ? inferred(model) : new Map<Value, ValueType>();
  return (value) => types.get(value) ?? value.type;
}

function inferred(model: Model): ReadonlyMap<Value, ValueType> {
  try {
    return inferTypes(model);
  } catch {
    return new Map();
  }
}

function bind(metric: Metric, options: unknown): ChosenMetric {
  const { name, higherIsBetter, unit } = metric;
  const { output } = options as { readonly output?: string };
  const canBeTold = output === undefined && metrics.includes(metric);
  return {
    name,
    higherIsBetter,
    unit,
    create: () => metric.create(options),
    ...(output !== undefined && { output }),
    ...(canBeTold && { on: (chosen: string) => bind(metric, { ...(options as object), output: chosen }) }),
  };
}

function byName(name: string): Metric {
  const metric = metrics.find((each) => each.name === name);
  if (metric) return metric;
  throw new TersorError(
    "bad-recipe",
    `metric "${name}": there is no such metric: expected ${metrics.map((each) => each.name).join(", ")}, or the path of a module.`,
  );
}

const userMetric = z.looseObject({
  name: z.string().optional(),
  summary: z.string().optional(),
  higherIsBetter: z.boolean(),
  unit: z.enum(["%", "nats", ""]).optional(),
  create: z.custom<Metric["create"]>((value) => typeof value === "function", { error: "expected a function" }),
});

/** A metric from the default export of a user's module: { higherIsBetter, create(options), name?, unit? }. @throws bad-data. */
export function metricFrom(exported: unknown, path: string): Metric {
  const result = userMetric.safeParse(exported);
  if (!result.success)
    throw new TersorError(
      "bad-data",
      `${path}: its default export is no metric: expected { higherIsBetter, create(options) { return { add(outputs, sample), value() } } }, got: ${z.prettifyError(result.error)}`,
    );
  const { name = path, summary = "", higherIsBetter, unit = "", create } = result.data;
  return { name, summary, higherIsBetter, unit, needs: "nothing", options: z.looseObject({}), create };
}
