/** @file What was measured of pieces and of whole models, and the clock that measures what is missing. */
import type { Model } from "../../ir/model.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { TersorError } from "../../util/errors.ts";
import { type Segment, segmentsOf } from "./segments.ts";

/** Time of a piece, in milliseconds. */
export interface SegmentTime {
  readonly name: string;
  readonly ms: number;
  /** Half the width of the middle half of its rounds, as a share. */
  readonly spread: number;
}

/** Time of a whole model against the one before the cut, by the rounds' ratios: their median and middle half. */
export interface WholeTime {
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

/** Plain data: with the same table the same channels go. */
export interface LatencyTable {
  /** What ran: runtime, threads. */
  readonly measuredWith: string;
  readonly segments: Readonly<Record<string, SegmentTime>>;
  readonly wholes: Readonly<Record<string, WholeTime>>;
}

/** Times models against the first of them, in turns: medians of ratios, and the first one's own median in milliseconds. */
export type TimeModels = (
  models: readonly Model[],
  shapes: InputShapes | undefined,
) => Promise<{ readonly firstMs: number; readonly ratios: readonly WholeTime[] }>;

export interface Clock {
  /** What runs, as the table says it. */
  readonly name: string;
  /** Undefined where nothing may be run. */
  readonly time: TimeModels | undefined;
  readonly known?: LatencyTable | undefined;
}

/** Pieces that are timed in one turn. */
const BATCH = 48;

export class LatencyMeter {
  readonly #clock: Clock;
  readonly #shapes: InputShapes | undefined;
  readonly #segments: Map<string, SegmentTime>;
  readonly #wholes: Map<string, WholeTime>;
  /** Every batch is timed against it, so that a machine that slows down does so for all. */
  #reference: { readonly model: Model; readonly ms: number } | undefined;
  readonly #unmeasured = new Set<string>();
  measured = 0;

  constructor(clock: Clock, shapes: InputShapes | undefined) {
    this.#clock = clock;
    this.#shapes = shapes;
    this.#segments = new Map(Object.entries(clock.known?.segments ?? {}));
    this.#wholes = new Map(Object.entries(clock.known?.wholes ?? {}));
  }

  /** Milliseconds of all pieces of a model together. @throws bad-recipe where something is missing and nothing may be run */
  async predict(model: Model): Promise<number> {
    const segments = segmentsOf(model, this.#shapes);
    await this.#measure(segments);
    return segments.reduce((sum, { key }) => sum + (this.#segments.get(key)?.ms ?? 0), 0);
  }

  /** Time of a whole model against another. */
  async whole(before: Model, after: Model): Promise<WholeTime> {
    const key = [before, after].map((model) => keyOfModel(segmentsOf(model, this.#shapes))).join(" → ");
    const known = this.#wholes.get(key);
    if (known) return known;
    const { ratios } = await this.#time()([before, after], this.#shapes);
    const found = ratios[1] as WholeTime;
    this.#wholes.set(key, found);
    return found;
  }

  /** Layers of pieces that could not be timed by themselves. */
  get unmeasured(): readonly string[] {
    return [...this.#unmeasured];
  }

  table(): LatencyTable {
    return {
      measuredWith: this.#clock.known?.measuredWith ?? this.#clock.name,
      segments: Object.fromEntries([...this.#segments].sort(([a], [b]) => (a < b ? -1 : 1))),
      wholes: Object.fromEntries(this.#wholes),
    };
  }

  async #measure(segments: readonly Segment[]): Promise<void> {
    const missing = new Map<string, { readonly name: string; readonly model: Model }>();
    for (const { key, name, build } of segments) {
      if (this.#segments.has(key) || missing.has(key)) continue;
      const model = build();
      if (model) missing.set(key, { name, model });
      else this.#unmeasured.add(name);
    }
    const all = [...missing];
    for (let at = 0; at < all.length; at += BATCH) await this.#measureBatch(all.slice(at, at + BATCH));
  }

  async #measureBatch(batch: readonly (readonly [string, { readonly name: string; readonly model: Model }])[]) {
    const [first] = batch;
    if (!first) return;
    const reference = this.#reference?.model ?? first[1].model;
    const models = batch.map(([, { model }]) => model);
    const { firstMs, ratios } = await this.#time()([reference, ...models], undefined);
    this.#reference ??= { model: reference, ms: firstMs };
    batch.forEach(([key, { name }], i) => {
      const { ratio, low, high } = ratios[i + 1] as WholeTime;
      const ms = ratio * (this.#reference as { ms: number }).ms;
      this.#segments.set(key, { name, ms, spread: (high - low) / 2 / ratio });
    });
    this.measured += batch.length;
  }

  #time(): TimeModels {
    if (this.#clock.time) return this.#clock.time;
    throw new TersorError(
      "bad-recipe",
      "prune: by latency: nothing is measured in a dry run, and the table lacks layers of this cut. Give the table of the same command.",
    );
  }
}

function keyOfModel(segments: readonly Segment[]): string {
  return segments.map(({ key }) => key.slice(0, 6)).join("");
}
