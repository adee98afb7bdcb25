/** @file Disjoint sets of numbered elements, with the smallest element of each as its root. */

export class UnionFind {
  readonly #parent: Int32Array;

  constructor(size: number) {
    this.#parent = Int32Array.from({ length: size }, (_, i) => i);
  }

  find(element: number): number {
    const parent = this.#parent;
    let at = element;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at] as number] as number;
      at = parent[at] as number;
    }
    return at;
  }

  /** Joins two sets. Returns the root that is one no longer, or -1 where they were one already. */
  join(a: number, b: number): number {
    const [x, y] = [this.find(a), this.find(b)];
    if (x === y) return -1;
    const [low, high] = x < y ? [x, y] : [y, x];
    this.#parent[high] = low;
    return high;
  }
}
