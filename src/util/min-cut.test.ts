import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Network } from "./min-cut.ts";

type Links = readonly (readonly [number, number, number])[];

/** Cost of the best of all divisions of `places`, by trying each; 0 is the source, 1 the sink. */
function exhaustive(places: number, links: Links): number {
  let best = Number.POSITIVE_INFINITY;
  for (let mask = 0; mask < 2 ** places; mask++)
    if ((mask & 1) !== 0 && (mask & 2) === 0)
      best = Math.min(
        best,
        costOf(links, (place) => (mask & (1 << place)) !== 0),
      );
  return best;
}

function costOf(links: Links, isSource: (place: number) => boolean): number {
  return links.reduce((sum, [from, to, cost]) => sum + (isSource(from) && !isSource(to) ? cost : 0), 0);
}

describe("Network", () => {
  it("finds a cut that costs as little as any", () => {
    const link = fc.tuple(fc.nat(6), fc.nat(6), fc.nat(20)).filter(([from, to]) => from !== to);
    fc.assert(
      fc.property(fc.array(link, { maxLength: 20 }), (links) => {
        const network = new Network();
        for (let place = 0; place < 7; place++) network.add();
        for (const [from, to, cost] of links) network.link(from, to, cost);
        const side = network.sourceSide(0, 1);
        expect(side.has(0) && !side.has(1)).toBe(true);
        expect(costOf(links, (place) => side.has(place))).toBe(exhaustive(7, links));
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it("goes through a chain of 100,000 places", () => {
    const network = new Network();
    const places = Array.from({ length: 100_000 }, () => network.add());
    for (const place of places.slice(1)) network.link(place - 1, place, 1 + (place % 7));
    expect(network.sourceSide(0, 99_999).has(0)).toBe(true);
  });
});
