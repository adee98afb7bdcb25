/** @file What was measured of pieces and of whole models, and the clock that measures what is missing. */
import { Graph } from "../../../ir/graph.ts";
import { Model } from "../../../ir/model.ts";
import { tensorType } from "../../../ir/types.ts";
import type { InputShapes } from "../../../ops/infer-inputs.ts";
import { TersorError } from "../../../util/errors.ts";
import { fnv1a64 } from "../../../util/hash.ts";
import { type Segment, segmentsOf } from "./segments.ts";

/** Time of a piece, in milliseconds, without that of a call. */
export interface SegmentTime {
  readonly name: string;
  readonly ms: number;
  /** As of {@link Timing}. */
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
  /** Milliseconds of a run that computes nothing: taken off every piece. */
  readonly callMs: number;
  readonly segments: Readonly<Record<string, SegmentTime>>;
  readonly wholes: Readonly<Record<string, WholeTime>>;
}

/** What timing gives of one model. */
export interface Timing {
  /** Milliseconds of a run: the median of a turn, in the fastest of the turns. What else a machine does only adds to it. */
  readonly ms: number;
  /** Half the width of the middle half of the turns, as a share. */
  readonly spread: number;
  /** Against the first model, turn by turn. */
  readonly against: WholeTime;
}

/** Times models in turns. */
export type TimeModels = (models: readonly Model[], shapes: InputShapes | undefined) => Promise<readonly Timing[]>;

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
  #callMs: number;
  readonly #unmeasured = new Set<string>();
  measured = 0;

  constructor(clock: Clock, shapes: InputShapes | undefined) {
    this.#clock = clock;
    this.#shapes = shapes;
    this.#segments = new Map(Object.entries(clock.known?.segments ?? {}));
    this.#wholes = new Map(Object.entries(clock.known?.wholes ?? {}));
    this.#callMs = clock.known?.callMs ?? 0;
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
    const [, timing] = await this.#time()([before, after], this.#shapes);
    const found = (timing as Timing).against;
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
      callMs: this.#callMs,
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
    const [call, ...timings] = await this.#time()([nothing(), ...batch.map(([, { model }]) => model)], undefined);
    const callMs = (call as Timing).ms;
    if (this.measured === 0) this.#callMs = callMs;
    batch.forEach(([key, { name }], i) => {
      const { ms, spread } = timings[i] as Timing;
      this.#segments.set(key, { name, ms: Math.max(0, ms - callMs), spread });
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

/** A model that hands on one number. */
function nothing(): Model {
  const graph = new Graph("nothing");
  const x = graph.declare("x", tensorType("float32", [1]));
  graph.addInput(x);
  const y = graph.addNode({ opType: "Identity", inputs: [x], outputs: ["y"] }).output();
  y.type = x.type;
  graph.addOutput(y);
  const model = new Model(graph);
  model.opsetImports = new Map([["", 17]]);
  return model;
}

function keyOfModel(segments: readonly Segment[]): string {
  return fnv1a64([new TextEncoder().encode(segments.map(({ key }) => key).join())]);
}
