/** @file Sensitivity: what the outputs lose when a share of one group's channels goes, for every group, in one pass over the data. */
import { type Batch, batches, unbatch } from "../../data/batch.ts";
import type { Sample } from "../../data/dataset.ts";
import { attr } from "../../ir/attribute.ts";
import type { Node } from "../../ir/node.ts";
import { throwIfAborted } from "../../runtime/abort.ts";
import type { Feeds, Outputs } from "../../runtime/io.ts";
import type { Session } from "../../runtime/runtime.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import type { HostTensor } from "../../tensor/host-tensor.ts";
import { fromNumbers } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import type { ChannelData } from "../evidence/channel-data.ts";
import { decibelsOf, NoiseMeter } from "../evidence/noise.ts";
import type { Analysis, PortRow } from "../graph/analysis.ts";
import { maskSums } from "../graph/cut.ts";
import { atomsOf, type Group } from "../graph/groups.ts";
import type { ScoredGroup } from "./select.ts";

/** One share of one group. */
export interface SensitivityPoint {
  readonly ratio: number;
  /** Channels that it takes: the least of the group. */
  readonly removed: number;
  /** Noise to signal of the outputs, mean over them: Σ (y − y')² / Σ y². */
  readonly noise: number;
  /** The same in dB; infinite where nothing changes. */
  readonly sqnr: number;
  /** On labels, where there is something to judge by. */
  readonly metric?: number;
}

export interface SensitivityCurve {
  readonly name: string;
  readonly channels: number;
  readonly points: readonly SensitivityPoint[];
}

export interface SensitivityReport {
  readonly data: string;
  readonly samples: number;
  readonly ratios: readonly number[];
  /** What judges by labels, and what the model has as it is. */
  readonly metric?: { readonly name: string; readonly unit: string; readonly whole: number };
  readonly groups: readonly SensitivityCurve[];
}

/** Something that judges outputs by labels. */
export interface Judge {
  readonly name: string;
  readonly unit: string;
  create(): { add(outputs: Outputs, sample: Sample): void; value(): number };
}

export interface SensitivityOptions {
  readonly ratios: readonly number[];
  readonly data: ChannelData;
  readonly minChannels: number;
  /** By the first sample; undefined where labels are to say nothing. */
  judgeFor?(sample: Sample): Judge | undefined;
}

/** One run: which atoms are gone, and what came of it. */
interface Trial {
  readonly group: Group;
  readonly ratio: number;
  readonly gone: ReadonlySet<number>;
  readonly noise: NoiseMeter;
  readonly score: ReturnType<Judge["create"]> | undefined;
}

/**
 * Runs the model on every batch, whole, and once for every group and ratio with the group's least channels masked; that computes what a cut would.
 * @param fresh the analysis of a copy of the model that groups were found in: it is changed
 * @returns curves of the groups that the main graph alone reads: masks can't be fed to branches and loops
 * @throws bad-data without samples; aborted
 */
export async function measureSensitivity(
  fresh: Analysis,
  given: readonly ScoredGroup[],
  options: SensitivityOptions,
): Promise<{ readonly report: SensitivityReport; readonly curves: ReadonlyMap<Group, SensitivityCurve> }> {
  const { ratios, data } = options;
  const { gates, hidden } = gatesOf(fresh);
  const scored = given.filter(({ group }) => !group.atoms.some((atom) => hidden.has(atom)));
  const session = await data.open(fresh.model);
  let samples = 0;
  let judge: Judge | undefined;
  let whole: ReturnType<Judge["create"]> | undefined;
  let trials: Trial[] = [];
  const total = scored.length * ratios.length;
  try {
    const { rows, isFixed } = rowsOf(session, data);
    for await (const batch of batches(data.data, { size: rows, pad: "split", last: isFixed ? "fill" : "keep" })) {
      if (samples === 0) {
        const [first] = batch.samples;
        judge = first && options.judgeFor?.(first);
        whole = judge?.create();
        trials = scored.flatMap((each) => trialsOf(each, options, judge));
      }
      const run = async (gone: ReadonlySet<number>) => {
        throwIfAborted(data.signal, "sensitivity");
        return session.run({ ...batch.inputs, ...masks(fresh, gates, gone) });
      };
      const wanted = await run(new Set());
      const fed = isFixed ? rows : batch.samples.length;
      score(whole, wanted, batch, fed);
      for (const trial of trials) {
        const outputs = await run(trial.gone);
        trial.noise.add(wanted, outputs, batch.inputs);
        score(trial.score, outputs, batch, fed);
      }
      samples += batch.samples.length;
      data.onProgress?.(samples);
    }
  } finally {
    await session.release();
  }
  if (samples === 0) throw new TersorError("bad-data", `${data.data.name}: holds no samples. Sensitivity needs some.`);
  const curves = new Map(
    scored.map(({ group }) => [
      group,
      curveOf(
        group,
        trials.filter((trial) => trial.group === group),
      ),
    ]),
  );
  const report: SensitivityReport = {
    data: data.data.name,
    samples,
    ratios: total > 0 ? ratios : [],
    ...(judge && whole && { metric: { name: judge.name, unit: judge.unit, whole: whole.value() } }),
    groups: [...curves.values()],
  };
  return { report, curves };
}

/** The axes of masks, by the name of the input that holds the mask. */
type Gates = ReadonlyMap<string, PortRow>;

/** Masks become inputs of the graph, so that one session serves all runs; and the atoms that something inside of a branch or loop reads. */
function gatesOf(analysis: Analysis): { readonly gates: Gates; readonly hidden: ReadonlySet<number> } {
  const { graph } = analysis.model;
  const gates = new Map<string, PortRow>();
  const hidden = new Set<number>();
  const made = maskSums(analysis, ({ size }, dtype, dims) => fromNumbers(dtype, dims, new Float32Array(size).fill(1)));
  for (const { mask, port } of made) {
    const { type } = mask;
    if (graph.find(mask.name) !== mask || type?.kind !== "tensor") {
      for (const atom of atomsOf(analysis, port)) hidden.add(atom);
      continue;
    }
    if (type.dtype === "float32") {
      mask.tensor = undefined;
      mask.type = type;
      graph.addInput(mask);
      gates.set(mask.name, port);
      continue;
    }
    const gate = graph.addValue(graph.uniqueName(`${mask.name}_gate`), { ...type, dtype: "float32" });
    graph.addInput(gate);
    const attributes = { to: attr.int(dtypeInfo(type.dtype).code) };
    const spec = { opType: "Cast", inputs: [gate], outputs: [`${mask.name}_cast`], attributes };
    graph.replaceUses(mask, graph.addNode(spec, { before: mask.users()[0] as Node }).output());
    gates.set(gate.name, port);
  }
  return { gates, hidden };
}

function masks(analysis: Analysis, gates: Gates, gone: ReadonlySet<number>): Feeds {
  return Object.fromEntries(
    [...gates].map(([name, { base, size, value, axis }]): [string, HostTensor] => {
      const data = Float32Array.from({ length: size }, (_, i) => (gone.has(analysis.atomOf(base + i)) ? 0 : 1));
      const type = value.tensor ? value.type : analysis.inference.types.get(value);
      const rank = type?.kind === "tensor" ? (type.shape?.length ?? axis + 1) : axis + 1;
      return [name, { dtype: "float32", dims: [size, ...Array<number>(rank - axis - 1).fill(1)], data }];
    }),
  );
}

function trialsOf({ group, scores }: ScoredGroup, { ratios, minChannels }: SensitivityOptions, judge?: Judge): Trial[] {
  const order = [...group.atoms.keys()].sort((a, b) => (scores[a] as number) - (scores[b] as number) || a - b);
  return ratios.map((ratio) => {
    const count = Math.min(Math.floor(ratio * order.length + 1e-9), Math.max(0, order.length - minChannels));
    const gone = new Set(order.slice(0, count).map((at) => group.atoms[at] as number));
    return { group, ratio, gone, noise: new NoiseMeter(), score: judge?.create() };
  });
}

function curveOf({ name, atoms }: Group, trials: readonly Trial[]): SensitivityCurve {
  const points = trials.map(({ ratio, gone, noise: meter, score: judged }): SensitivityPoint => {
    const noise = meter.value();
    const metric = judged?.value();
    const sqnr = decibelsOf(noise);
    return { ratio, removed: gone.size, noise, sqnr, ...(metric !== undefined && { metric }) };
  });
  return { name, channels: atoms.length, points };
}

function score(
  accumulator: ReturnType<Judge["create"]> | undefined,
  outputs: Outputs,
  { samples }: Batch,
  fed: number,
): void {
  if (!accumulator) return;
  const rows = unbatch(outputs, fed);
  samples.forEach((sample, row) => {
    accumulator.add(rows[row] ?? {}, sample);
  });
}

/** Rows of a run, and whether the model wants as many. */
function rowsOf({ inputs }: Session, { batchSize = 1 }: ChannelData) {
  const size = inputs[0]?.dims[0];
  const isFixed = typeof size === "number" && size > 1;
  return { rows: isFixed ? size : size === 1 ? 1 : batchSize, isFixed };
}
