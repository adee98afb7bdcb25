/** @file What criteria and recovery want to know of activations, gathered in one pass over the data. */
import { type CalibrateOptions, calibrate } from "../../calibrate/calibrate.ts";
import { perChannel } from "../../calibrate/channels.ts";
import type { Collector } from "../../calibrate/collector.ts";
import { type Gram, gramOf } from "../../calibrate/gram.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { RecoveryStats } from "../channels/recover/recovery.ts";
import type { Analysis, PortRow } from "../graph/analysis.ts";
import type { Reader } from "../graph/readers.ts";

type Stats = Float32Array | Gram;

/** A value that is looked at, and how. */
interface Watch {
  readonly name: string;
  collector(): Collector<Stats>;
}

/** By channel, for the axes that these readers read: a statistic of each index. */
export async function channelStats(
  analysis: Analysis,
  data: Dataset,
  options: CalibrateOptions,
  ports: readonly PortRow[],
  kind: "absmean" | "energy" | "mean",
): Promise<readonly Float32Array[]> {
  const watched = ports.map(({ value, axis }) => ({ name: value.name, collector: () => perChannel(kind, axis) }));
  return (await collect(analysis, data, options, watched)) as readonly Float32Array[];
}

/** What recovery needs of these readers, which must have no obstacle. */
export async function recoveryStats(
  analysis: Analysis,
  data: Dataset,
  options: CalibrateOptions,
  readers: readonly Reader[],
  kind: "mean" | "least-squares",
): Promise<RecoveryStats> {
  const watched = readers.map((reader) => ({
    name: reader.input.name,
    collector: (): Collector<Stats> =>
      kind === "mean" ? perChannel("mean", channelAxis(reader)) : gramOf(reader.unfolding()),
  }));
  const found = await collect(analysis, data, options, watched);
  const stats = new Map(readers.map((reader, i) => [reader.node, found[i] as Stats]));
  return kind === "mean"
    ? { means: stats as ReadonlyMap<Reader["node"], Float32Array>, grams: new Map() }
    : { means: new Map(), grams: stats as ReadonlyMap<Reader["node"], Gram> };
}

/** The axis of the input that a reader with a bias sums over. */
export function channelAxis({ ports }: Reader): number {
  return (ports.at(-1) as Reader["ports"][number]).port.axis;
}

async function collect(
  { model }: Analysis,
  data: Dataset,
  options: CalibrateOptions,
  watched: readonly Watch[],
): Promise<readonly Stats[]> {
  const collectors = new Map<string, Collector<Stats>[]>();
  const places = watched.map(({ name, collector }) => {
    const own = collectors.get(name) ?? [];
    collectors.set(name, own);
    return { name, at: own.push(collector()) - 1 };
  });
  const { stats } = await calibrate(model, data, collectors, options);
  return places.map(({ name, at }) => stats.get(name)?.[at] as Stats);
}
