/** @file What criteria and recovery want to know of activations, gathered in one pass over the data. */
import { type CalibrateOptions, calibrate } from "../calibrate/calibrate.ts";
import { perChannel } from "../calibrate/channels.ts";
import type { Collector } from "../calibrate/collector.ts";
import { type Gram, gramOf, patches, rows } from "../calibrate/gram.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Analysis } from "./analysis.ts";
import { type Reader, readersOf } from "./readers.ts";
import type { RecoveryStats } from "./recover/recovery.ts";

type Stats = Float32Array | Gram;

/** Runs the data and gives, by atom, the mean magnitude of what layers read of it. */
export async function activationsOf(
  analysis: Analysis,
  data: Dataset,
  options: CalibrateOptions,
): Promise<ReadonlyMap<number, number>> {
  const readers = readersOf(analysis);
  const found = await collect(analysis, data, options, readers, ({ port }) => perChannel("absmean", port.axis));
  const activations = new Map<number, number>();
  for (const reader of readers) {
    const means = found.get(reader.node) as Float32Array;
    for (let i = 0; i < reader.port.size; i++) {
      const atom = analysis.atomOf(reader.port.base + i);
      activations.set(atom, Math.max(activations.get(atom) ?? 0, means[i] as number));
    }
  }
  return activations;
}

/** Sum of squares of every channel that a reader reads. */
export async function energiesOf(
  analysis: Analysis,
  data: Dataset,
  options: CalibrateOptions,
  readers: readonly Reader[],
): Promise<ReadonlyMap<Reader["node"], Float32Array>> {
  const found = await collect(analysis, data, options, readers, ({ port }) => perChannel("energy", port.axis));
  return found as ReadonlyMap<Reader["node"], Float32Array>;
}

/** What recovery needs of these readers. @throws unsupported-op where a convolution's padding depends on sizes that are not known */
export async function recoveryStats(
  analysis: Analysis,
  data: Dataset,
  options: CalibrateOptions,
  readers: readonly Reader[],
  kind: "mean" | "least-squares",
): Promise<RecoveryStats> {
  const collector = ({ node, port }: Reader): Collector<Stats> =>
    kind === "mean" ? perChannel("mean", port.axis) : gramOf(node.opType === "Conv" ? patches(node) : rows);
  const found = await collect(analysis, data, options, readers, collector);
  return kind === "mean"
    ? { means: found as ReadonlyMap<Reader["node"], Float32Array>, grams: new Map() }
    : { means: new Map(), grams: found as ReadonlyMap<Reader["node"], Gram> };
}

async function collect(
  analysis: Analysis,
  data: Dataset,
  options: CalibrateOptions,
  readers: readonly Reader[],
  collectorOf: (reader: Reader) => Collector<Stats>,
): Promise<ReadonlyMap<Reader["node"], Stats>> {
  const collectors = new Map<string, Collector<Stats>[]>();
  const places = readers.map((reader) => {
    const own = collectors.get(reader.input.name) ?? [];
    collectors.set(reader.input.name, own);
    return { reader, at: own.push(collectorOf(reader)) - 1 };
  });
  const { stats } = await calibrate(analysis.model, data, collectors, options);
  return new Map(places.map(({ reader, at }) => [reader.node, stats.get(reader.input.name)?.[at] as Stats]));
}
