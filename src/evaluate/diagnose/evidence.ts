/** @file What the tests of causes look at: statistics of every place where a changed model rounds, taken in one pass over data. */
import type { Batch } from "../../data/batch.ts";
import type { Model } from "../../ir/model.ts";
import { convertOpset } from "../../passes/convert-opset/convert-opset.ts";
import { inferTypes } from "../../passes/infer-shapes.ts";
import type { Session } from "../../runtime/runtime.ts";
import type { Target } from "../../targets/target.ts";
import type { HostTensor } from "../../tensor/host-tensor.ts";
import type { LayerFidelity } from "../layer-fidelity.ts";
import type { InputStatistics } from "./inputs.ts";
import type { Fault } from "./non-finite.ts";
import { ProbeGraph, type Totals } from "./probe-graph.ts";
import { isAtRisk, saturationNoise } from "./saturation.ts";
import { type ClampSite, type CodedSite, findSites, type LayerSite, type Sites, type Types } from "./sites.ts";
import { type WeightStats, weightStats } from "./weights.ts";

/** Statistics of a value by channel, over the data. */
export interface Activation {
  readonly largest: Float64Array;
  /** Sums of squares. */
  readonly energy: Float64Array;
  /** Sums of squared errors of the codes; those of values beyond the codes' range are also in `clipped`. */
  readonly noise: Float64Array;
  readonly clipped: Float64Array;
}

export interface SiteEvidence extends CodedSite {
  readonly seen: Activation;
  /** Over all channels. */
  readonly min: number;
  readonly max: number;
}

export interface LayerEvidence extends LayerSite {
  /** Statistics of its weight; absent where its codes can't be read. */
  readonly stats: WeightStats | undefined;
  /** Statistics of what it reads. */
  readonly reads: Activation | undefined;
  /** Noise-to-signal ratio of its sums where pairs of products are kept in 16 bits; 0 where that can't happen. */
  readonly saturation: number;
  /** Sums of squares of its output by channel; empty where nobody asked. */
  readonly output: Float64Array;
  readonly fidelity: LayerFidelity | undefined;
}

export interface HalfEvidence {
  readonly value: string;
  readonly largest: number;
  readonly energy: number;
  /** Sum of squared errors of float16; not finite where it overflows. */
  readonly noise: number;
  /** Share of elements that are not 0 but smaller than float16 holds in full: below 2^−14. */
  readonly tiny: number;
}

export interface ClampEvidence extends ClampSite {
  /** Noise-to-signal ratio of leaving it out. */
  readonly noise: number;
}

export interface Evidence {
  readonly original: Model;
  readonly changed: Model;
  readonly types: Types;
  readonly target: Target;
  readonly sites: readonly SiteEvidence[];
  readonly layers: readonly LayerEvidence[];
  readonly halves: readonly HalfEvidence[];
  readonly clamps: readonly ClampEvidence[];
  /** By name of the model's input; empty where there is nothing to compare with. */
  readonly judged: ReadonlyMap<string, InputStatistics>;
  /** The same of calibration data, where it is at hand. */
  readonly calibrated: ReadonlyMap<string, InputStatistics> | undefined;
  /** Inputs were made up: they say nothing about ranges. */
  readonly synthetic: boolean;
  /** Where NaN or infinity comes from. */
  readonly faults: readonly Fault[];
}

/** The probes of a pair of models, to be opened and run. */
export interface Examination {
  readonly model: Model;
  /** Runs all batches. @returns what was seen; the caller adds what it knows besides */
  measure(session: Session, batches: AsyncIterable<Batch>, fidelity: readonly LayerFidelity[]): Promise<Measured>;
}

export type Measured = Pick<
  Evidence,
  "original" | "changed" | "types" | "target" | "sites" | "layers" | "halves" | "clamps"
>;

/** Prepares the original with probes at every place where the changed model rounds. */
export function examine(original: Model, changed: Model, target: Target): Examination {
  const opset = Math.max(original.opset, changed.opset);
  const model = convertOpset(original, opset).model.clone();
  const types = inferTypes(model);
  const sites = findSites(model, changed, types, inferTypes(changed));
  for (const output of [...model.graph.outputs]) output.type ??= types.get(output);
  const graph = new ProbeGraph(model, types);
  const statsOf = new Map(
    sites.layers.map(
      (layer) =>
        [layer, layer.weight && layer.layout && weightStats(layer.weight, layer.layout, layer.original)] as const,
    ),
  );
  const finish = [place(graph, sites, statsOf), placeHalves(graph, sites), placeClamps(graph, sites)] as const;
  const atRisk = sites.layers.filter((layer) => target.saturates && layer.input !== undefined && isAtRisk(layer));
  const copies = new Map<string, string>();
  for (const { input } of atRisk) if (input !== undefined) copies.set(input, copyOut(graph, input));
  return {
    model,
    async measure(session, batches, fidelity) {
      const first = new Map<string, HostTensor>();
      for await (const { inputs } of batches) {
        const wanted = first.size === 0 ? [...copies.values()] : [];
        const outputs = await session.run(inputs, [...graph.outputs, ...wanted]);
        graph.add(outputs);
        if (first.size === 0) for (const [name, copy] of copies) first.set(name, copyOf(outputs[copy] as HostTensor));
      }
      const [activations, halves, clamps] = [finish[0](), finish[1](), finish[2]()];
      const own = new Map(fidelity.map((layer) => [layer.value, layer]));
      const layers = sites.layers.map((layer): LayerEvidence => {
        const seen = layer.input === undefined ? undefined : first.get(layer.input);
        return {
          ...layer,
          stats: statsOf.get(layer),
          reads: activations.reads.get(layer),
          saturation: seen && atRisk.includes(layer) ? saturationNoise(layer, seen) : 0,
          output: activations.outputs.get(layer)?.() ?? new Float64Array(0),
          fidelity: own.get(layer.value),
        };
      });
      return {
        original,
        changed,
        types: inferTypes(original),
        target,
        sites: activations.sites,
        layers,
        halves,
        clamps,
      };
    },
  };
}

function copyOf({ dtype, dims, data }: HostTensor): HostTensor {
  return { dtype, dims: [...dims], data: (data as Float32Array).slice() };
}

function copyOut(graph: ProbeGraph, name: string): string {
  const value = graph.find(name);
  if (!value || value.isOutput) return name;
  const out = graph.node("Identity", [value]);
  if (!out.isOutput) graph.model.graph.addOutput(out);
  return out.name;
}

type StatsOf = ReadonlyMap<LayerSite, WeightStats | undefined>;

/** Probes of activations: those with codes, and what layers with coded weights read. */
function place(graph: ProbeGraph, { coded, layers }: Sites, statsOf: StatsOf) {
  const bySite = new Map<CodedSite, { seen: () => Activation; min: Totals; max: Totals }>();
  const probe = (name: string, axis: number | undefined, codes?: CodedSite["codes"]) => {
    const value = graph.find(name);
    if (!value) return undefined;
    const lost = codes && graph.energy(graph.difference(value, graph.rounded(value, codes)), axis);
    const beyond =
      codes && codes !== "dynamic"
        ? graph.energy(graph.difference(value, graph.clip(value, codes.low, codes.high)), axis)
        : undefined;
    const [largest, energy] = [graph.largest(value, axis), graph.energy(value, axis)];
    return (): Activation => {
      const none = new Float64Array(largest().length);
      return {
        largest: largest(),
        energy: energy(),
        noise: lost?.() ?? none,
        clipped: beyond?.() ?? none,
      };
    };
  };
  for (const site of coded) {
    const value = graph.find(site.value);
    const seen = probe(site.value, site.axis, site.codes);
    if (!value || !seen) continue;
    const max = graph.largest(graph.node("Relu", [value]), undefined);
    const min = graph.largest(graph.node("Relu", [graph.node("Neg", [value])]), undefined);
    bySite.set(site, { seen, min, max });
  }
  const plain = new Map(
    layers
      .filter((layer) => !layer.coded && layer.input !== undefined)
      .map(
        (layer) => [layer, probe(layer.input as string, layer.opType === "Conv" ? 1 : lastAxis(graph, layer))] as const,
      ),
  );
  const outputs = new Map(
    layers
      .filter((layer) => (statsOf.get(layer)?.zero.length ?? 0) > 0)
      .flatMap((layer) => {
        const value = graph.find(layer.value);
        const axis = layer.opType === "Conv" ? 1 : value && rankOf(value) - 1;
        return value ? [[layer, graph.energy(value, axis)] as const] : [];
      }),
  );
  return () => {
    const sites = [...bySite].map(
      ([site, { seen, min, max }]): SiteEvidence => ({
        ...site,
        seen: seen(),
        min: -(min()[0] ?? 0),
        max: max()[0] ?? 0,
      }),
    );
    const byValue = new Map([...bySite.keys()].map((site, i) => [site, sites[i]?.seen] as const));
    const reads = new Map(
      layers.map((layer) => [layer, layer.coded ? byValue.get(layer.coded) : plain.get(layer)?.()] as const),
    );
    return { sites, reads, outputs };
  };
}

function rankOf({
  type,
}: {
  readonly type: { kind: string; shape?: readonly unknown[] | undefined } | undefined;
}): number {
  return type?.kind === "tensor" ? (type.shape?.length ?? 1) : 1;
}

function lastAxis(graph: ProbeGraph, { input, layout }: LayerSite): number | undefined {
  const rank = input === undefined ? undefined : graph.rank(input);
  return rank === undefined || !layout ? undefined : rank - 1;
}

/** Smallest float16 with all its digits. */
const LEAST_NORMAL = 2 ** -14;

function placeHalves(graph: ProbeGraph, { halves }: Sites) {
  const probes = halves.flatMap((name) => {
    const found = graph.find(name);
    if (!found) return [];
    // float16 has infinity too, as in masks.
    const value = graph.finite(found);
    const inside = graph.node("Abs", [value]);
    const isTiny = graph.node("And", [
      graph.node("Less", [inside, graph.number(LEAST_NORMAL)]),
      graph.node("Greater", [inside, graph.number(0)]),
    ]);
    return {
      name,
      largest: graph.largest(value, undefined),
      energy: graph.energy(value, undefined),
      noise: graph.energy(graph.difference(value, graph.half(value)), undefined),
      tiny: graph.mean(graph.asFloat(isTiny), undefined),
    };
  });
  return () =>
    probes.map(
      ({ name, largest, energy, noise, tiny }): HalfEvidence => ({
        value: name,
        largest: largest()[0] ?? 0,
        energy: energy()[0] ?? 0,
        noise: noise()[0] ?? 0,
        tiny: tiny()[0] ?? 0,
      }),
    );
}

function placeClamps(graph: ProbeGraph, { clamps }: Sites) {
  const probes = clamps.flatMap((site) => {
    const [input, output] = [graph.find(site.input), graph.find(site.output)];
    if (!input || !output) return [];
    const energy = graph.energy(output, undefined);
    const lost = graph.energy(graph.difference(output, graph.rounded(input, site.codes)), undefined);
    return [{ site, energy, lost }];
  });
  return () =>
    probes.map(
      ({ site, energy, lost }): ClampEvidence => ({
        ...site,
        noise: site.kept ? 0 : (lost()[0] ?? 0) / ((energy()[0] ?? 0) || 1),
      }),
    );
}
