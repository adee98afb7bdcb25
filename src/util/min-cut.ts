/** @file The cheapest cut between two ends of a network (Dinic 1970: layers by breadth-first search, blocking flows through them). */

interface Edge {
  readonly to: number;
  capacity: number;
  readonly back: number;
}

/** What flows below this is the rounding of sums. */
const EPSILON = 1e-9;

/** A network of numbered places, and two ends. */
export class Network {
  readonly #edges: Edge[][] = [];

  /** A new place: its number. */
  add(): number {
    return this.#edges.push([]) - 1;
  }

  /** What separating `from` (on the source's side) from `to` (on the sink's) costs; the other way round it costs nothing. */
  link(from: number, to: number, capacity: number): void {
    const [out, back] = [this.#edges[from] as Edge[], this.#edges[to] as Edge[]];
    out.push({ to, capacity, back: back.length });
    back.push({ to: from, capacity: 0, back: out.length - 1 });
  }

  /** The places that are on the source's side of a cheapest cut: the fewest, where several cost the same. */
  sourceSide(source: number, sink: number): ReadonlySet<number> {
    for (let levels = this.#levels(source); levels[sink] !== -1; levels = this.#levels(source)) {
      const next = this.#edges.map(() => 0);
      while (this.#push(source, sink, levels, next) > 0);
    }
    const levels = this.#levels(source);
    return new Set(levels.flatMap((level, place) => (level === -1 ? [] : [place])));
  }

  /** Distance of every place from the source along what is left; −1 where there is no way. */
  #levels(source: number): number[] {
    const levels = this.#edges.map(() => -1);
    levels[source] = 0;
    const queue = [source];
    for (const place of queue)
      for (const { to, capacity } of this.#edges[place] as Edge[])
        if (capacity > EPSILON && levels[to] === -1) {
          levels[to] = (levels[place] as number) + 1;
          queue.push(to);
        }
    return levels;
  }

  /** Sends what one way through the layers holds. No recursion: chains of a graph may be long. */
  #push(source: number, sink: number, levels: readonly number[], next: number[]): number {
    const way: Edge[] = [];
    let place = source;
    while (place !== sink) {
      const edges = this.#edges[place] as Edge[];
      const at = next[place] as number;
      const edge = edges[at];
      if (edge && edge.capacity > EPSILON && levels[edge.to] === (levels[place] as number) + 1) {
        way.push(edge);
        place = edge.to;
      } else if (edge) next[place] = at + 1;
      else {
        const last = way.pop();
        if (!last) return 0;
        place = this.#backOf(last).to;
        next[place] = (next[place] as number) + 1;
      }
    }
    const flow = way.reduce((least, { capacity }) => Math.min(least, capacity), Number.POSITIVE_INFINITY);
    for (const edge of way) {
      edge.capacity -= flow;
      this.#backOf(edge).capacity += flow;
    }
    return flow;
  }

  #backOf({ to, back }: Edge): Edge {
    return (this.#edges[to] as Edge[])[back] as Edge;
  }
}
