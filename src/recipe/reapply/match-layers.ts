/** @file Finds the layers of one model in another: by their numbers or names, then by where they stand. Only what is unambiguous counts. */
import { fnv1a64 } from "../../util/hash.ts";
import { type LayerPlace, placeName } from "./layer-graph.ts";

/** One layer found again. */
export interface LayerMatch {
  /** Indices in the two lists. */
  readonly from: number;
  readonly to: number;
  readonly by: "name" | "structure";
  /** Shapes where they differ: it has its name, but another size. */
  readonly resized?: readonly [before: string, after: string];
}

export interface LayerMatching {
  /** In the order of the first model. */
  readonly found: readonly LayerMatch[];
  readonly lost: readonly { readonly from: number; readonly reason: string }[];
  /** Layers of the second model that the first did not have. */
  readonly fresh: readonly number[];
}

/**
 * @param isAlike whether two layers of the first model were treated alike: then it does not matter which of them a third one is
 */
export function matchPlaces(
  before: readonly LayerPlace[],
  after: readonly LayerPlace[],
  isAlike: (one: number, other: number) => boolean,
): LayerMatching {
  const byName = new Matcher(before, after, isAlike).run(true);
  if (byName.lost.length === 0) return byName;
  // A layer that was added in front may have shifted the numbers in all names behind it.
  const byPlace = new Matcher(before, after, isAlike).run(false);
  return byPlace.found.length > byName.found.length ? byPlace : byName;
}

/** Layers around one that tell it apart where something else further away has changed. */
const NEAR = 2;

const kindOf = ({ op, shape }: LayerPlace) => `${op} ${shape}`;

/** Names that exporters count up: they say nothing once a layer was added. */
const counted = /^$|^\W*(onnx::)?([A-Za-z]+[_./]?)?\d+$/;

class Matcher {
  readonly #sides: readonly [Side, Side];
  readonly #isAlike: (one: number, other: number) => boolean;
  readonly #found = new Map<number, LayerMatch>();
  readonly #taken = new Set<number>();
  /** Layers of both models that one end sees in another place than the other end. */
  #disputed: readonly [Set<number>, Set<number>] = [new Set(), new Set()];

  constructor(
    before: readonly LayerPlace[],
    after: readonly LayerPlace[],
    isAlike: (one: number, other: number) => boolean,
  ) {
    this.#sides = [new Side(before), new Side(after)];
    this.#isAlike = isAlike;
  }

  /** @param areNamesFirst whether names count before places do, or only for what is left */
  run(areNamesFirst: boolean): LayerMatching {
    this.#byNumbers();
    if (areNamesFirst) this.#byNames((name) => !counted.test(name));
    while (this.#byStructure() || this.#byStructure(NEAR) || this.#byKind()) {}
    // What could not be told otherwise.
    this.#byNames(() => true);
    this.#resized();
    const [before, after] = this.#sides;
    const open = before.indices.filter((at) => !this.#found.has(at));
    return {
      found: [...this.#found.values()].sort((a, b) => a.from - b.from),
      lost: open.map((from) => ({ from, reason: this.#whyLost(from) })),
      fresh: after.indices.filter((at) => !this.#taken.has(at)),
    };
  }

  #add(from: number, to: number, resized?: LayerMatch["resized"]): void {
    const by = this.#haveOneName(from, to) ? "name" : "structure";
    this.#found.set(from, { from, to, by, ...(resized && { resized }) });
    this.#taken.add(to);
  }

  #isOpen(from: number, to: number): boolean {
    return !this.#found.has(from) && !this.#taken.has(to);
  }

  /** The same numbers are the same layer, whatever its name is now. */
  #byNumbers(): void {
    const key = (place: LayerPlace) => place.numbers && `${kindOf(place)} ${place.numbers}`;
    for (const [from, to] of this.#pairs((side) => side.places.map(key))) this.#add(from, to);
  }

  /** Names count where operator and shape are the same, and a neighbour agrees: numbers in names shift when a layer is added. */
  #byNames(counts: (name: string) => boolean): void {
    const [before, after] = this.#sides;
    const isSame = before.places.map(kindOf).join() === after.places.map(kindOf).join();
    for (const name of ["name", "weight"] as const) {
      const key = (place: LayerPlace) =>
        isSame || counts(place[name]) ? `${kindOf(place)} ${place[name]}` : undefined;
      for (const [from, to] of this.#pairs((side) => side.places.map(key)))
        if (isSame || this.#isSupported(from, to, (a, b) => this.#haveOneName(a, b))) this.#add(from, to);
    }
  }

  /** By what lies before a layer and behind it, up to the nearest layers that are known; `depth` layers of it, or all. */
  #byStructure(depth?: number): boolean {
    const known = [
      new Map([...this.#found.values()].map(({ from, to }) => [from, `= ${to}`])),
      new Map([...this.#taken].map((to) => [to, `= ${to}`])),
    ] as const;
    const colors = this.#sides.map((side, at) => side.colors(known[at] as ReadonlyMap<number, string>, depth));
    const [one, other] = colors as [Colors, Colors];
    const both = ({ up, down }: Colors) => up.map((color, at) => `${color}|${down[at]}`);
    const count = this.#found.size;
    if (depth === undefined) this.#disputed = [new Set(), new Set()];
    const colorsOf = (pick: (colors: Colors) => readonly string[]) => (side: Side) =>
      pick(side === this.#sides[0] ? one : other);
    for (const [from, to] of this.#pairs(colorsOf(both))) this.#add(from, to);
    const ways = [this.#pairs(colorsOf(({ up }) => up)), this.#pairs(colorsOf(({ down }) => down))];
    const claims = ways.map((pairs) => ({
      byTo: new Map(pairs.map(([from, to]) => [to, from])),
      byFrom: new Map(pairs),
    }));
    // Where a layer was added to a row of its like, the two ways disagree: no matter, where these were treated alike.
    const isClear = (from: number, to: number) => {
      const places = [to, ...claims.flatMap(({ byFrom }) => byFrom.get(from) ?? [])];
      const rivals = places.flatMap((place) => claims.flatMap(({ byTo }) => byTo.get(place) ?? []));
      return rivals.every((rival) => rival === from || this.#isAlike(rival, from));
    };
    const all = ways.flat().map(([from, to]) => ({ from, to, clear: isClear(from, to) }));
    for (const { from, to, clear } of all) if (clear && this.#isOpen(from, to)) this.#add(from, to);
    if (depth === undefined) {
      const unclear = all.filter(({ clear }) => !clear);
      this.#disputed = [new Set(unclear.map(({ from }) => from)), new Set(unclear.map(({ to }) => to))];
    }
    this.#twins(colorsOf(both));
    return this.#found.size > count;
  }

  /** Layers that nothing tells apart, such as query and key, in their order: where they were treated alike. */
  #twins(colors: (side: Side) => readonly string[]): void {
    const [before, after] = this.#sides.map((side) => this.#open(side, colors(side)));
    for (const [color, own] of before as Classes) {
      const others = (after as Classes).get(color) ?? [];
      const first = own[0] as number;
      if (own.length !== others.length || !own.every((at) => this.#isAlike(first, at))) continue;
      for (const [k, from] of own.entries()) this.#add(from, others[k] as number);
    }
  }

  /** The only one of its operator and shape that is left, next to a layer that is known. */
  #byKind(): boolean {
    const count = this.#found.size;
    const areMatched = (a: number, b: number) => this.#found.get(a)?.to === b;
    for (const [from, to] of this.#pairs((side) => side.places.map(kindOf)))
      if (this.#isSupported(from, to, areMatched)) this.#add(from, to);
    return this.#found.size > count;
  }

  /** What kept its name and operator and has another size, such as a head for other classes. */
  #resized(): void {
    const [before, after] = this.#sides;
    const areMatched = (a: number, b: number) => this.#found.get(a)?.to === b;
    const key = ({ op, name, weight }: LayerPlace) => (counted.test(name) ? undefined : `${op} ${name} ${weight}`);
    for (const [from, to] of this.#pairs((side) => side.places.map(key))) {
      const shapes = [before.places[from]?.shape ?? "", after.places[to]?.shape ?? ""] as const;
      if (this.#isSupported(from, to, areMatched, false)) this.#add(from, to, shapes);
    }
  }

  /** Whether a layer before or behind both is one, as `areOne` sees it; @param edges whether to read the input, or to be read by nobody, counts as well */
  #isSupported(from: number, to: number, areOne: (from: number, to: number) => boolean, edges = true): boolean {
    const [before, after] = this.#sides;
    const isEdge = (a: number, b: number) => edges && a === -1 && b === -1;
    const meet = (one: readonly number[], other: readonly number[]) =>
      one.some((a) => other.some((b) => isEdge(a, b) || (a >= 0 && b >= 0 && areOne(a, b))));
    return (
      meet(before.before(from), after.before(to)) ||
      meet(before.behind(from), after.behind(to)) ||
      before.places.length + after.places.length === 2
    );
  }

  #haveOneName(from: number, to: number): boolean {
    const [one, other] = [this.#sides[0].places[from], this.#sides[1].places[to]];
    return one?.name === other?.name || one?.weight === other?.weight;
  }

  /** Open layers whose key only one has on either side. */
  #pairs(keys: (side: Side) => readonly (string | undefined)[]): [from: number, to: number][] {
    const [before, after] = this.#sides.map((side) => this.#open(side, keys(side))) as [Classes, Classes];
    return [...before].flatMap(([key, own]): [number, number][] => {
      const others = after.get(key) ?? [];
      return own.length === 1 && others.length === 1 ? [[own[0] as number, others[0] as number]] : [];
    });
  }

  #open(side: Side, keys: readonly (string | undefined)[]): Classes {
    const [done, disputed] =
      side === this.#sides[0] ? [this.#found, this.#disputed[0]] : [this.#taken, this.#disputed[1]];
    const isDone = (at: number) => done.has(at) || disputed.has(at);
    const classes: Classes = new Map();
    for (const [at, key] of keys.entries())
      if (key !== undefined && !isDone(at)) classes.set(key, [...(classes.get(key) ?? []), at]);
    return classes;
  }

  #whyLost(from: number): string {
    const [before, after] = this.#sides;
    const place = before.places[from] as LayerPlace;
    const open = after.indices.filter((at) => !this.#taken.has(at));
    const like = open.filter((at) => kindOf(after.places[at] as LayerPlace) === kindOf(place));
    const named = open.find((at) => this.#haveOneName(from, at));
    const list = (all: readonly number[]) =>
      all.map((at) => `"${placeName(after.places[at] as LayerPlace)}"`).join(", ");
    if (like.length > 1) return `ambiguous: ${like.length} layers could be it (${list(like.slice(0, NAMED))})`;
    if (like.length === 1) return `${list(like)} is like it, but stands elsewhere`;
    if (named === undefined) return `no ${place.op} with a weight of ${place.shape} is left`;
    const now = after.places[named] as LayerPlace;
    return `${list([named])} is ${now.op} with a weight of ${now.shape} now, it was ${place.op} of ${place.shape}`;
  }
}

/** Names in a reason. */
const NAMED = 3;

type Classes = Map<string, number[]>;

/** Of every layer: what lies before it, and what behind. */
interface Colors {
  readonly up: readonly string[];
  readonly down: readonly string[];
}

/** The layers of one model. */
class Side {
  readonly places: readonly LayerPlace[];
  readonly indices: readonly number[];
  readonly #behind: readonly number[][];

  constructor(places: readonly LayerPlace[]) {
    this.places = places;
    this.indices = places.map((_, at) => at);
    const behind: number[][] = places.map(() => []);
    for (const [at, { after }] of places.entries()) for (const source of after) behind[source]?.push(at);
    // What nobody reads on is at the end, as what reads the input is at the beginning.
    this.#behind = behind.map((readers) => (readers.length > 0 ? readers : [-1]));
  }

  before(at: number): readonly number[] {
    return this.places[at]?.after ?? [];
  }

  behind(at: number): readonly number[] {
    return this.#behind[at] ?? [];
  }

  /**
   * @param known names of layers that are found: nothing beyond them counts
   * @param depth layers that count; all where absent
   */
  colors(known: ReadonlyMap<number, string>, depth?: number): Colors {
    const kinds = this.places.map((place, at) => known.get(at) ?? kindOf(place));
    const colored = (
      at: number,
      next: (at: number) => readonly number[],
      colorOf: (at: number) => string | undefined,
    ) => {
      const around = next(at).map((each) => (each === -1 ? "edge" : (colorOf(each) ?? "itself")));
      return known.get(at) ?? hashOf(`${kinds[at]}(${around.sort().join()})`);
    };
    const follow = (order: readonly number[], next: (at: number) => readonly number[]) => {
      let now = new Map(kinds.entries());
      for (let round = 0; round < (depth ?? 0); round++)
        now = new Map(order.map((at) => [at, colored(at, next, (each) => now.get(each))]));
      // A weight that is read in several places may lie before itself: only ways along the list count.
      if (depth === undefined) {
        now = new Map();
        for (const at of order)
          now.set(
            at,
            colored(at, next, (each) => now.get(each)),
          );
      }
      return this.indices.map((at) => now.get(at) as string);
    };
    return {
      up: follow(this.indices, (at) => this.before(at)),
      down: follow(this.indices.toReversed(), (at) => this.behind(at)),
    };
  }
}

function hashOf(text: string): string {
  return fnv1a64([new TextEncoder().encode(text)]);
}
