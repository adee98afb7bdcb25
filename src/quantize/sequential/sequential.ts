/**
 * @file Quantization layer by layer: every layer is quantized on what it reads when the layers before it are quantized already, towards
 * what it gave before they were, so that it makes up for their errors (methods/correct-inputs.ts).
 */
import { type CalibrateOptions, calibrate } from "../../calibrate/calibrate.ts";
import { type Gram, gramWithShift } from "../../calibrate/gram.ts";
import { type Dataset, datasetOf, type Sample } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import { convertOpset } from "../../passes/convert-opset/convert-opset.ts";
import type { HostTensor } from "../../tensor/host-tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { findLayers } from "../layers/sites.ts";
import type { MethodPool } from "../lazy/pool/method-pool.ts";
import {
  type LayerMoments,
  type MethodStats,
  type Observation,
  observable,
  observations,
} from "../weights/method-stats.ts";
import type { LazyQuantizeResult } from "../weights/quantize-weights.ts";
import { join } from "./join.ts";
import { type JoinedLayer, type Section, START, Stages } from "./stages.ts";

/** Bytes of activations between two stages that are kept; where they are more, the model is run from its inputs again. */
const KEEP_BYTES = 512 << 20;

export interface SequentialOptions extends Omit<CalibrateOptions, "onProgress" | "whole" | "keep"> {
  /** Called after every batch: the runs of samples so far, and how many there will be, once that is known. */
  readonly onProgress?: (done: number, total?: number) => void;
  /** Most bytes of activations that are kept between two stages; 512 MiB when absent. Less memory, more time. */
  readonly keepBytes?: number;
  /** Computes the layers of a stage at the same time; the bytes are the same. */
  readonly pool?: MethodPool;
}

/**
 * Quantizes a model's layers one after the other on the data.
 * @param quantized makes the quantized model: nothing of what it computes may be read before this function has gone through the
 * stages, other than by itself
 * @throws as {@link calibrate}, and as `quantized`
 */
export async function quantizeSequentially<Result extends Pick<LazyQuantizeResult, "model" | "precompute">>(
  model: Model,
  data: Dataset,
  quantized: (stats: MethodStats) => Result,
  running: SequentialOptions,
): Promise<Result> {
  const moments = new Map(inTurn(observable(model)).map(([name]) => [name, new Awaited(name)]));
  const result = quantized(moments);
  const final = convertOpset(result.model, observable(model, result.model.opset).opset).model;
  const original = observable(model, final.opset);
  const layers = inTurn(original).filter(([name]) => moments.get(name)?.isWanted);
  const joined = join(original, final);
  const uses = new Map(findLayers(original).layers.map(({ value, sites }) => [value.name, sites]));
  const stages = new Stages(
    joined.model,
    layers.map(([weight, observation]): JoinedLayer => {
      const outputs = (uses.get(weight) ?? []).map(({ node }) => node.output().name);
      return {
        weight,
        unfolding: observation.unfolding,
        ...inputsOf(observation),
        nodes: outputs.flatMap((name) => {
          const last = joined.changed(name)?.producer;
          const nodes = [joined.original(name)?.producer, last, last && productOf(last)];
          return nodes.filter((node) => node !== undefined);
        }),
      };
    }),
  );
  const { pool, ...options } = running;
  await runStages(stages, data, options, async (grams) => {
    for (const [weight, gram] of grams) moments.get(weight)?.arrive(gram);
    const { signal } = running;
    if (pool) await result.precompute(pool, { only: new Set(grams.keys()), ...(signal && { signal }) });
  });
  return result;

  function inputsOf({ node, value }: Observation) {
    const last = joined.changed(node.output().name)?.producer;
    const changed = last && productOf(last).inputs[0];
    const original = joined.original(value.name);
    if (original && changed) {
      changed.type = original.type;
      return { original, changed };
    }
    throw new TersorError("internal", `sequential: ${node} is not in the quantized model.`);
  }
}

/** The node that reads the codes: what a Gemm adds is added behind the MatMulNBits that replaced it. */
function productOf(last: Node): Node {
  const sums = last.opType === "Add" ? last.inputs[0]?.producer : undefined;
  return sums?.opType === "MatMulNBits" ? sums : last;
}

/** Layers of branches and loops have no turn of their own: they run whenever what they are in does, and nothing is seen of them. */
function inTurn(model: Model): (readonly [weight: string, Observation])[] {
  const { layers } = findLayers(model);
  const inner = layers.filter(({ sites }) => sites.some(({ node }) => node.output().graph !== model.graph));
  const names = new Set(inner.map(({ value }) => value.name));
  return [...observations(model)].filter(([name]) => !names.has(name));
}

/** Moments that come in when their layer's turn has come, and go when its codes are computed. */
class Awaited implements LayerMoments {
  isWanted = false;
  readonly sequential = {
    wanted: () => {
      this.isWanted = true;
    },
    finished: () => {
      this.#gram = undefined;
    },
  };
  readonly #name: string;
  #gram: Gram | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  arrive(gram: Gram): void {
    this.#gram = gram;
  }

  get #known(): Gram {
    if (this.#gram) return this.#gram;
    throw new TersorError("internal", `sequential: weight "${this.#name}" was read before its turn.`);
  }

  get sums() {
    return this.#known.sums;
  }
  get shift() {
    return this.#known.shift;
  }
  get groups() {
    return this.#known.groups;
  }
  get k() {
    return this.#known.k;
  }
}

/** The activations at the end of a stage, a sample for each batch. */
interface Kept {
  readonly stage: number;
  readonly samples: readonly Sample[];
}

async function runStages(
  stages: Stages,
  data: Dataset,
  { onProgress, keepBytes = KEEP_BYTES, ...running }: Omit<SequentialOptions, "pool">,
  arrive: (grams: ReadonlyMap<string, Gram>) => Promise<void>,
): Promise<void> {
  let kept: Kept | undefined;
  let samples: number | undefined;
  for (let stage = 0; stage < stages.count; stage++) {
    const section = stages.section(kept?.stage ?? START, stage, kept?.samples[0]?.inputs);
    const keeper = new Keeper(section, keepBytes);
    const collectors = collectorsOf(section.layers);
    const before = stage * (samples ?? 0);
    const total = samples === undefined ? undefined : samples * stages.count;
    const batches = kept?.samples.length;
    const result = await calibrate(section.model, kept ? datasetOf(data.name, kept.samples) : data, collectors, {
      ...running,
      whole: kept !== undefined,
      keep: keeper,
      onProgress: (done) => onProgress?.(before + (batches && samples ? (done * samples) / batches : done), total),
    });
    samples ??= result.samples;
    const grams = new Map<string, Gram>();
    for (const { weight, original, changed, unfolding } of section.layers) {
      const own = collectors.get(changed.name)?.findIndex(({ key }) => key === keyOf(unfolding.key, original.name));
      const gram = result.stats.get(changed.name)?.[own ?? 0];
      if (gram) grams.set(weight, gram);
    }
    await arrive(grams);
    kept = keeper.samples && { stage, samples: keeper.samples };
  }
}

const keyOf = (unfolding: string, original: string) => `${unfolding} from ${original}`;

/** One collector for all layers that read a value alike. */
function collectorsOf(layers: readonly JoinedLayer[]) {
  const collectors = new Map<string, (ReturnType<typeof gramWithShift> & { key: string })[]>();
  for (const { changed, original, unfolding } of layers) {
    const own = collectors.get(changed.name) ?? [];
    collectors.set(changed.name, own);
    const key = keyOf(unfolding.key, original.name);
    if (!own.some((each) => each.key === key)) own.push({ ...gramWithShift(unfolding, original.name), key });
  }
  return collectors;
}

/** Keeps what later stages need, as long as it is not too much. */
class Keeper {
  readonly values: readonly string[];
  readonly #given: readonly string[];
  readonly #limit: number;
  #bytes = 0;
  #samples: Sample[] | undefined;

  constructor({ model, carried }: Section, limit: number) {
    const inputs = new Set(model.graph.inputs.map(({ name }) => name));
    this.values = (carried ?? []).filter((name) => !inputs.has(name));
    this.#given = (carried ?? []).filter((name) => inputs.has(name));
    this.#samples = carried && [];
    this.#limit = limit;
  }

  /** One for each batch; undefined where they were too large. */
  get samples(): readonly Sample[] | undefined {
    return this.#samples;
  }

  add: NonNullable<CalibrateOptions["keep"]>["add"] = (batch, outputs) => {
    if (!this.#samples) return;
    const pick = (names: readonly string[], from: Readonly<Record<string, HostTensor>>) =>
      names.map((name) => [name, from[name] as HostTensor] as const);
    const inputs = Object.fromEntries([...pick(this.#given, batch.inputs), ...pick(this.values, outputs)]);
    for (const { data } of Object.values(inputs))
      this.#bytes += Array.isArray(data) ? data.length * 32 : data.byteLength;
    if (this.#bytes > this.#limit) this.#samples = undefined;
    else this.#samples.push({ id: batch.samples.map(({ id }) => id).join('", "'), inputs });
  };
}
