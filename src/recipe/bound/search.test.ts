import { describe, expect, it } from "vitest";
import { searchBound, type Trial } from "./search.ts";

/** Noise of a layer falls to a quarter with every level; the last leaves none. Bits are 4, 4, 8, 16, 32. */
const costs = [4, 4, 8, 16, 32];

interface FakeTrial extends Trial {
  readonly noises: readonly number[];
}

/** A model whose noise is the sum of its layers'. */
function fake(start: readonly number[], bound: number, rounds = 24) {
  const alive = new Set<FakeTrial>();
  return {
    alive,
    search: {
      costs: start.map(() => costs),
      rounds,
      async evaluate(levels: readonly number[]): Promise<FakeTrial> {
        const noises = start.map((noise, i) =>
          levels[i] === costs.length - 1 ? 0 : noise / 4 ** (levels[i] as number),
        );
        const sum = noises.reduce((a, b) => a + b, 0);
        const trial = {
          excess: sum - bound,
          bytes: levels.reduce((a, level) => a + (costs[level] as number), 0),
          noises,
        };
        alive.add(trial);
        return trial;
      },
      fidelity: async ({ noises }: FakeTrial) => noises.map((noise) => -10 * Math.log10(noise)),
      release: (trial: FakeTrial) => void alive.delete(trial),
    },
  };
}

describe("searchBound", () => {
  it("makes one trial where the bound holds as asked", async () => {
    const { search } = fake([1, 1, 1], 5);
    const { levels, rounds } = await searchBound(search);
    expect(levels).toEqual([0, 0, 0]);
    expect(rounds).toEqual([expect.objectContaining({ action: "as asked", holds: true, changed: [] })]);
  });

  it("pays for the layer that matters alone", async () => {
    const { search } = fake([0.1, 100, 0.1, 0.1], 1);
    const { levels, trial } = await searchBound(search);
    expect(levels.map((level) => costs[level])).toEqual([4, 32, 4, 4]);
    expect(trial.excess).toBeLessThanOrEqual(0);
  });

  it("needs few trials for many layers, and takes back what did not matter", async () => {
    const start = Array.from({ length: 100 }, (_, i) => (i % 10 === 0 ? 100 : 0.01));
    const { search, alive } = fake(start, 2);
    const { trial, levels, rounds } = await searchBound(search);
    expect(trial.excess).toBeLessThanOrEqual(0);
    const first = rounds.find(({ holds }) => holds);
    expect(rounds.indexOf(first as (typeof rounds)[number])).toBeLessThan(12);
    expect(trial.bytes).toBeLessThan(first?.bytes ?? 0);
    expect(levels.filter((_, i) => i % 10 !== 0).filter((level) => (costs[level] as number) > 4)).toEqual([]);
    expect(rounds.length).toBeLessThanOrEqual(24);
    expect([...alive]).toEqual([trial]);
  });

  it("ends with the closest where nothing holds, and never leaves every layer as it was", async () => {
    const { search, alive } = fake([1, 2, 3], -1);
    const { trial, levels, rounds } = await searchBound(search);
    expect(rounds.every(({ holds }) => !holds)).toBe(true);
    expect(trial.excess).toBe(Math.min(...rounds.map(({ excess }) => excess)));
    expect(levels).toEqual([3, 4, 4]);
    expect([...alive]).toEqual([trial]);
  });

  it("keeps to the number of trials", async () => {
    const { search } = fake(new Array(50).fill(1), 1e-9, 3);
    expect((await searchBound(search)).rounds).toHaveLength(3);
  });

  it("never tries the same twice", async () => {
    const { search } = fake([8, 4, 2, 1, 0.5, 0.25], 0.2, 100);
    const { rounds } = await searchBound(search);
    const tried = rounds.map(({ levels }) => levels.join());
    expect(new Set(tried).size).toBe(tried.length);
  });

  it("has nothing to search in a model without layers", async () => {
    const { search } = fake([], -1);
    expect((await searchBound(search)).rounds).toHaveLength(1);
  });
});
