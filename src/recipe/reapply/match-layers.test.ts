/** @file Tests of finding layers again: renamed, retrained, written by another exporter, with one layer more. */
import { describe, expect, it } from "vitest";
import type { LayerPlace } from "./layer-graph.ts";
import { matchPlaces } from "./match-layers.ts";

interface Spec {
  readonly name: string;
  readonly shape: string;
  readonly after?: readonly string[];
  readonly numbers?: string;
}

/** A row of layers, each behind the one before it unless it says otherwise. */
function places(specs: readonly Spec[]): LayerPlace[] {
  const at = new Map(specs.map(({ name }, index) => [name, index]));
  return specs.map(({ name, shape, after, numbers }, index) => ({
    name,
    weight: `${name}.weight`,
    op: "Conv",
    shape,
    after: after ? after.map((each) => at.get(each) as number) : [index - 1],
    ...(numbers !== undefined && { numbers }),
  }));
}

const row = (names: readonly string[], shapes: readonly string[]) =>
  places(names.map((name, k) => ({ name, shape: shapes[k] ?? "8x8" })));
const alike = () => true;
const different = () => false;
const pairsOf = (...args: Parameters<typeof matchPlaces>) =>
  matchPlaces(...args).found.map(({ from, to, by }) => `${from}=${to} ${by}`);

describe("layers", () => {
  const shapes = ["8x3", "8x8", "16x8", "16x16", "4x16"];

  it("are found by name", () => {
    const names = ["stem", "block.a", "block.b", "block.c", "head"];
    expect(pairsOf(row(names, shapes), row(names, shapes), different)).toEqual(names.map((_, k) => `${k}=${k} name`));
  });

  it("are found by where they stand, whatever their names", () => {
    const one = row(["stem", "a", "b", "c", "head"], shapes);
    const other = row(["n1", "n2", "n3", "n4", "n5"], shapes);
    expect(pairsOf(one, other, different)).toEqual([0, 1, 2, 3, 4].map((k) => `${k}=${k} structure`));
  });

  it("are not mixed up where counted names shift", () => {
    const one = row(["Conv_0", "Conv_1", "Conv_2", "Conv_3", "Conv_4"], ["8x3", "8x8", "8x8", "16x8", "16x16"]);
    const other = row(
      ["Conv_0", "Conv_1", "Conv_2", "Conv_3", "Conv_4", "Conv_5"],
      ["8x3", "32x8", "8x32", "8x8", "8x8", "16x8"],
    );
    // Conv_1 of the first is Conv_3 of the second.
    const { found } = matchPlaces(one, other, different);
    expect(found.map(({ from, to }) => `${from}=${to}`)).toEqual(["0=0", "1=3", "2=4", "3=5"]);
  });

  it("of a row of equal ones are told apart by which end they are near to, with one more in the middle", () => {
    const block = (name: string) => [`${name}.up`, `${name}.down`];
    const names = (count: number, mark: string) => Array.from({ length: count }, (_, k) => block(`${mark}${k}`)).flat();
    const wide = (count: number) => Array.from({ length: count }, () => ["32x8", "8x32"]).flat();
    const one = row([...names(6, "v"), "last"], [...wide(6), "4x8"]);
    const other = row([...names(7, "w"), "end"], [...wide(7), "4x8"]);
    const { found, fresh, lost } = matchPlaces(one, other, alike);
    expect(lost).toEqual([]);
    expect(found).toHaveLength(13);
    expect(fresh).toHaveLength(2);
    // Treated differently, it is not said which is which.
    const unclear = matchPlaces(one, other, different);
    expect(unclear.lost.length).toBeGreaterThan(0);
    expect(unclear.lost[0]?.reason).toMatch(/^ambiguous: \d+ layers could be it \(/);
  });

  it("that nothing tells apart count where they were treated alike", () => {
    const twins = (names: readonly [string, string, string, string]) =>
      places([
        { name: names[0], shape: "8x3" },
        { name: names[1], shape: "8x8", after: [names[0]] },
        { name: names[2], shape: "8x8", after: [names[0]] },
        { name: names[3], shape: "4x8", after: [names[1], names[2]] },
      ]);
    const one = twins(["embed", "query", "key", "out"]);
    const other = twins(["a", "b", "c", "d"]);
    expect(matchPlaces(one, other, alike).lost).toEqual([]);
    const { lost } = matchPlaces(one, other, different);
    expect(lost).toEqual([
      { from: 1, reason: 'ambiguous: 2 layers could be it ("b", "c")' },
      { from: 2, reason: 'ambiguous: 2 layers could be it ("b", "c")' },
    ]);
  });

  it("with the same numbers are the same, whatever their names say", () => {
    const one = places([
      { name: "a", shape: "8x8", numbers: "1" },
      { name: "b", shape: "8x8", numbers: "2" },
    ]);
    const other = places([
      { name: "b", shape: "8x8", numbers: "1" },
      { name: "a", shape: "8x8", numbers: "2" },
    ]);
    expect(pairsOf(one, other, different)).toEqual(["0=0 structure", "1=1 structure"]);
  });

  it("of another size are found by name, and it is said", () => {
    const one = row(["stem", "mid", "head"], ["8x3", "8x8", "10x8"]);
    const other = row(["stem", "mid", "head"], ["8x3", "8x8", "20x8"]);
    expect(matchPlaces(one, other, different).found.at(-1)).toEqual({
      from: 2,
      to: 2,
      by: "name",
      resized: ["10x8", "20x8"],
    });
  });

  it("of a model with nothing in common are not found", () => {
    const one = row(["a", "b", "c"], ["8x3", "8x8", "10x8"]);
    const other = row(["x", "y", "z"], ["64x1", "64x64", "2x64"]);
    const { found, lost, fresh } = matchPlaces(one, other, alike);
    expect(found).toEqual([]);
    expect(fresh).toEqual([0, 1, 2]);
    expect(lost[0]?.reason).toBe("no Conv with a weight of 8x3 is left");
  });

  it("that read one weight in two places end no search", () => {
    const one = places([
      { name: "table", shape: "8x8", after: ["mid"] },
      { name: "mid", shape: "9x8", after: ["table"] },
    ]);
    const other = places([
      { name: "t", shape: "8x8", after: ["m"] },
      { name: "m", shape: "9x8", after: ["t"] },
    ]);
    expect(pairsOf(one, other, different)).toEqual(["0=0 structure", "1=1 structure"]);
  });
});
