/** @file The search for an accuracy bound: which layers are treated better until it holds, and which need not be after all. */

/** What one way of treating the layers came to. */
export interface Trial {
  /** How far beyond the bound it is: up to 0 the bound holds. Never NaN. */
  readonly excess: number;
  /** Of the model's file. */
  readonly bytes: number;
}

export interface BoundSearch<T extends Trial> {
  /** Of every layer, what each level costs, such as bits per weight; never less than the level before. The last one leaves the layer as it was. */
  readonly costs: readonly (readonly number[])[];
  /** Trials at most; one is always made. */
  readonly rounds: number;
  /** Share of the layers in the first group that is stepped up, an eighth when absent; every next group is twice as large. */
  readonly firstGroup?: number;
  /** @param levels one per layer, 0 is what was asked for */
  evaluate(levels: readonly number[]): Promise<T>;
  /** How well each layer of a trial does, such as its SQNR in dB: the lowest are stepped up first. */
  fidelity(trial: T): Promise<readonly number[]>;
  /** A trial that is not needed any more. */
  release(trial: T): void;
}

export interface SearchRound extends Trial {
  /** `as asked`, `up`: the worst layers took the next level, `back`: layers took a cheaper one. */
  readonly action: "as asked" | "up" | "back";
  readonly levels: readonly number[];
  /** Layers whose level is not that of the round before, or of the last that held. */
  readonly changed: readonly number[];
  readonly holds: boolean;
}

export interface Found<T extends Trial> {
  /** The cheapest trial that holds, else the one closest to the bound. */
  readonly trial: T;
  readonly levels: readonly number[];
  readonly rounds: readonly SearchRound[];
}

const FIRST_GROUP = 1 / 8;

/**
 * Steps up the worst layers in groups that double, so that few trials lead to a bound that holds; then lets the least harmful
 * take cheaper levels again, halving the groups that matter. Never tries the model in which every layer is as it was.
 */
export async function searchBound<T extends Trial>(search: BoundSearch<T>): Promise<Found<T>> {
  const { costs, firstGroup = FIRST_GROUP } = search;
  const trials = new Trials(search);
  let levels: readonly number[] = costs.map(() => 0);
  let trial = await trials.make("as asked", levels, levels);
  let first: readonly number[] | undefined;
  for (let size = Math.max(1, Math.ceil(costs.length * firstGroup)); !holds(trial) && !trials.isSpent; size *= 2) {
    const fidelity = await search.fidelity(trial);
    first ??= fidelity;
    const worst = costs
      .map((_, layer) => layer)
      .filter((layer) => (levels[layer] as number) < top(costs, layer))
      .sort((a, b) => (fidelity[a] as number) - (fidelity[b] as number) || a - b)
      .slice(0, size);
    let next = moved(levels, worst, (layer) => (levels[layer] as number) + 1);
    // One layer stays quantized, or nothing would be gained: the best of those that would have gone.
    if (next.every((level, layer) => level === top(costs, layer)))
      next = moved(levels, worst.slice(0, -1), (layer) => (levels[layer] as number) + 1);
    if (next.every((level, layer) => level === levels[layer])) break;
    trial = await trials.make("up", next, levels);
    levels = next;
  }
  if (holds(trial) && first) {
    const order = first;
    const raised = levels.flatMap((level, layer) => (level > 0 ? [layer] : []));
    const harmless = raised.sort((a, b) => (order[b] as number) - (order[a] as number) || a - b);
    await stepBack(harmless, levels, search, trials);
  }
  return trials.found();
}

/** Gives cheaper levels to a group, as often as the bound holds; to its halves where it does not. Returns the levels that hold. */
async function stepBack<T extends Trial>(
  group: readonly number[],
  levels: readonly number[],
  search: BoundSearch<T>,
  trials: Trials<T>,
): Promise<readonly number[]> {
  const { costs } = search;
  const cheaper = (layer: number) => {
    const own = costs[layer] as readonly number[];
    return own.findLastIndex((cost) => cost < (own[levels[layer] as number] as number));
  };
  const members = group.filter((layer) => cheaper(layer) >= 0);
  if (members.length === 0) return levels;
  const next = moved(levels, members, cheaper);
  const known = trials.outcome(next);
  if (known === undefined && trials.isSpent) return levels;
  if (known ?? holds(await trials.make("back", next, levels))) return stepBack(members, next, search, trials);
  if (members.length === 1) return levels;
  const middle = Math.ceil(members.length / 2);
  const half = await stepBack(members.slice(0, middle), levels, search, trials);
  return stepBack(members.slice(middle), half, search, trials);
}

/** Makes trials, keeps account of them, and holds on to the best and the latest. */
class Trials<T extends Trial> {
  readonly #search: BoundSearch<T>;
  readonly #rounds: SearchRound[] = [];
  readonly #known = new Map<string, boolean>();
  #best: Pick<Found<T>, "trial" | "levels"> | undefined;
  #latest: T | undefined;

  constructor(search: BoundSearch<T>) {
    this.#search = search;
  }

  get isSpent(): boolean {
    return this.#rounds.length >= this.#search.rounds;
  }

  /** Whether the bound held for these levels; undefined where they were not tried. */
  outcome(levels: readonly number[]): boolean | undefined {
    return this.#known.get(levels.join());
  }

  async make(action: SearchRound["action"], levels: readonly number[], before: readonly number[]): Promise<T> {
    const trial = await this.#search.evaluate(levels);
    const { excess, bytes } = trial;
    const changed = levels.flatMap((level, layer) => (level === before[layer] ? [] : [layer]));
    this.#rounds.push({ action, levels, changed, excess, bytes, holds: holds(trial) });
    this.#known.set(levels.join(), holds(trial));
    const best = this.#best;
    const stale = this.#latest;
    this.#latest = trial;
    if (!best || isBetter(trial, best.trial)) this.#best = { trial, levels };
    for (const each of new Set([best?.trial, stale]))
      if (each && each !== this.#best?.trial) this.#search.release(each);
    return trial;
  }

  found(): Found<T> {
    const { trial, levels } = this.#best as Pick<Found<T>, "trial" | "levels">;
    if (this.#latest && this.#latest !== trial) this.#search.release(this.#latest);
    return { trial, levels, rounds: this.#rounds };
  }
}

function holds({ excess }: Trial): boolean {
  return excess <= 0;
}

function isBetter(a: Trial, b: Trial): boolean {
  if (holds(a) !== holds(b)) return holds(a);
  const [first, second] = holds(a) ? (["bytes", "excess"] as const) : (["excess", "bytes"] as const);
  return a[first] < b[first] || (a[first] === b[first] && a[second] < b[second]);
}

function top(costs: readonly (readonly number[])[], layer: number): number {
  return (costs[layer] as readonly number[]).length - 1;
}

function moved(levels: readonly number[], layers: readonly number[], to: (layer: number) => number): readonly number[] {
  const next = [...levels];
  for (const layer of layers) next[layer] = to(layer);
  return next;
}
