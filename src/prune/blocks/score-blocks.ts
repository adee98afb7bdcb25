/** @file How much each block matters: how far it turns what passes through it, or what the outputs lose without it. */
import { type Batch, batches, fixedBatch } from "../../data/batch.ts";
import { paddingOf } from "../../data/padding.ts";
import { throwIfAborted } from "../../runtime/abort.ts";
import type { Feeds, Outputs } from "../../runtime/io.ts";
import type { Session } from "../../runtime/runtime.ts";
import { hostTensor, numbersOf } from "../../tensor/host-tensor.ts";
import { TersorError } from "../../util/errors.ts";
import type { ChannelData } from "../evidence/channel-data.ts";
import { addNoise, type NoiseSums } from "../evidence/noise.ts";
import type { GatedModel } from "./gates.ts";

/** Per channel, the best line from what goes into a block to what comes out of it: y ≈ scale · x + shift. */
export interface BlockLine {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
  /** Mean of y − x. */
  readonly mean: Float64Array;
}

/** A session of a gated model, and the data it is asked about. */
export class BlockRunner {
  readonly #gated: GatedModel;
  readonly #session: Session;
  readonly #calibration: ChannelData;

  private constructor(gated: GatedModel, session: Session, calibration: ChannelData) {
    this.#gated = gated;
    this.#session = session;
    this.#calibration = calibration;
  }

  /** Calls `use` with a runner, and releases its session. */
  static async with<T>(gated: GatedModel, data: ChannelData, use: (runner: BlockRunner) => Promise<T>): Promise<T> {
    const session = await data.open(gated.model);
    try {
      return await use(new BlockRunner(gated, session, data));
    } finally {
      await session.release();
    }
  }

  /**
   * Block influence: 1 − the mean cosine of what goes in and what comes out, over all positions (Men et al. 2024, ShortGPT, https://arxiv.org/abs/2403.03853).
   */
  async influences(): Promise<number[]> {
    const { sums } = this.#gated;
    const cosines = sums.map(() => 0);
    let positions = sums.map(() => 0);
    await this.#each(async (batch) => {
      const seen = await this.#run(
        batch,
        new Set(),
        sums.flatMap(({ byPosition }) => byPosition),
      );
      positions = sums.map(({ byPosition }, i) => {
        const [xy, xx, yy] = numbersOfAll(seen, byPosition) as [
          ArrayLike<number>,
          ArrayLike<number>,
          ArrayLike<number>,
        ];
        for (let at = 0; at < xy.length; at++)
          cosines[i] = (cosines[i] as number) + cosine(xy[at] as number, xx[at] as number, yy[at] as number);
        return (positions[i] as number) + xy.length;
      });
    });
    return cosines.map((sum, i) => 1 - sum / (positions[i] as number));
  }

  /** For each candidate, the noise of the worst output without it and without what is removed already, as a share of the output: Σ(r − c)² / Σr². */
  async noise(candidates: readonly number[], removed: ReadonlySet<number>): Promise<number[]> {
    const meters = candidates.map(() => new NoiseMeter());
    const names = this.#outputs();
    await this.#each(async (batch) => {
      const whole = await this.#run(batch, new Set(), names);
      for (const [i, candidate] of candidates.entries())
        meters[i]?.add(whole, await this.#run(batch, new Set([...removed, candidate]), names), batch.inputs);
    });
    return meters.map((meter) => meter.worst());
  }

  /** Lines through what goes into and comes out of each block. */
  async lines(): Promise<BlockLine[]> {
    const totals = this.#gated.sums.map(() => ({ count: 0, sums: [] as Float64Array[] }));
    await this.#each(async (batch) => {
      const names = this.#gated.sums.flatMap(({ byPosition, byChannel }) => [byPosition[0], ...byChannel]);
      const seen = await this.#run(batch, new Set(), names);
      this.#gated.sums.forEach(({ byPosition, byChannel }, i) => {
        const total = totals[i] as (typeof totals)[number];
        total.count += seen[byPosition[0]]?.data.length ?? 0;
        numbersOfAll(seen, byChannel).forEach((numbers, k) => {
          const own = total.sums[k] ?? new Float64Array(numbers.length);
          total.sums[k] = own.map((sum, c) => sum + (numbers[c] as number));
        });
      });
    });
    return totals.map(({ count, sums: [x, y, xx, xy] }) => lineThrough(count, x, y, xx, xy));
  }

  #outputs(): string[] {
    const own = new Set(this.#gated.sums.flatMap(({ byPosition, byChannel }) => [...byPosition, ...byChannel]));
    return this.#gated.model.graph.outputs.flatMap(({ name }) => (own.has(name) ? [] : [name]));
  }

  #run(batch: Batch, removed: ReadonlySet<number>, fetches: readonly string[]): Promise<Outputs> {
    const gates = this.#gated.gates.map((name, i) => [name, hostTensor("float32", [], [removed.has(i) ? 0 : 1])]);
    const { signal } = this.#calibration;
    return this.#session.run({ ...batch.inputs, ...Object.fromEntries(gates) }, fetches, signal ? { signal } : {});
  }

  async #each(visit: (batch: Batch) => Promise<void>): Promise<void> {
    const { data, batchSize = 1, pad = "split", signal } = this.#calibration;
    const inputs = this.#session.inputs.filter(({ name }) => !this.#gated.gates.includes(name));
    const fixed = fixedBatch(inputs);
    let isEmpty = true;
    for await (const batch of batches(data, { size: fixed ?? batchSize, pad, last: fixed ? "fill" : "keep" })) {
      throwIfAborted(signal, "calibration");
      await visit(batch);
      isEmpty = false;
    }
    if (isEmpty)
      throw new TersorError("bad-data", `${data.name}: holds no samples. Blocks are judged on some: 32 are usual.`);
  }
}

function numbersOfAll(outputs: Outputs, names: readonly string[]): ArrayLike<number>[] {
  return names.map((name) => outputs[name]?.data as Float32Array);
}

/** Of two vectors, given their products; alike where both are zero. */
function cosine(xy: number, xx: number, yy: number): number {
  const product = Math.sqrt(xx) * Math.sqrt(yy);
  return product > 0 ? Math.min(1, xy / product) : Number(xx === yy);
}

class NoiseMeter {
  readonly #sums = new Map<string, NoiseSums>();

  add(wanted: Outputs, given: Outputs, inputs: Feeds): void {
    const padding = paddingOf(inputs);
    for (const [name, tensor] of Object.entries(wanted)) {
      const [a, b] = [tensor, given[name] ?? tensor].map((each) => numbersOf(each, `output "${name}"`));
      const sums = this.#sums.get(name) ?? { noise: 0, signal: 0 };
      if (a && b) addNoise(sums, tensor.dims, [a, b], padding);
      this.#sums.set(name, sums);
    }
  }

  worst(): number {
    const shares = [...this.#sums.values()].map(({ noise, signal }) => (noise === 0 ? 0 : noise / signal));
    return Math.max(0, ...shares.map((share) => (Number.isNaN(share) ? Number.POSITIVE_INFINITY : share)));
  }
}

/** Least squares for every channel; a channel that does not vary is shifted alone. */
function lineThrough(
  count: number,
  x: Float64Array = new Float64Array(0),
  y: Float64Array = new Float64Array(0),
  xx: Float64Array = new Float64Array(0),
  xy: Float64Array = new Float64Array(0),
): BlockLine {
  const meanOf = (sums: Float64Array) => sums.map((sum) => sum / count);
  const [mx, my] = [meanOf(x), meanOf(y)];
  const scale = mx.map((m, c) => {
    const variance = (xx[c] as number) / count - m * m;
    const covariance = (xy[c] as number) / count - m * (my[c] as number);
    return variance > 1e-12 * ((xx[c] as number) / count) && variance > 0 ? covariance / variance : 1;
  });
  const shift = my.map((m, c) => m - (scale[c] as number) * (mx[c] as number));
  return { scale, shift, mean: my.map((m, c) => m - (mx[c] as number)) };
}
