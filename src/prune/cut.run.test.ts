/** @file A cut model computes what the masked one does: on random graphs, and on real ones. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { arbitraryInput, arbitraryModel } from "../../test/arbitrary-graph.ts";
import { relativeError, runModel } from "../../test/run-model.ts";
import type { Model } from "../ir/model.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import { Rng } from "../util/rng.ts";
import { analyze } from "./analysis.ts";
import { applyCut, type Cut, maskCut } from "./cut.ts";
import { groupChannels } from "./groups.ts";
import { prepared } from "./prepare.ts";

/** About the given share of the channels of every group, so that no axis is left with nothing. */
function randomCut(model: Model, ratio: number, seed: number): Set<number> {
  const analysis = analyze(prepared(model));
  const { groups, members } = groupChannels(analysis);
  const rng = new Rng(seed, "cut");
  const left = new Map(analysis.ports.map((port) => [port, port.size]));
  const cut = new Set<number>();
  for (const { atoms } of groups)
    for (const atom of atoms) {
      const own = [...(members.get(atom) ?? [])];
      if (rng.uniform() >= ratio || own.some(([port, count]) => (left.get(port) ?? 0) <= count)) continue;
      for (const [port, count] of own) left.set(port, (left.get(port) ?? 0) - count);
      cut.add(atom);
    }
  return cut;
}

function cutAndMasked(model: Model, cut: Cut): { readonly small: Model; readonly masked: Model } {
  const [small, masked] = [analyze(prepared(model)), analyze(prepared(model))];
  applyCut(small, cut);
  maskCut(masked, cut);
  return { small: small.model, masked: masked.model };
}

describe("a cut model computes what the masked one does", () => {
  it("on random graphs", async () => {
    let cuts = 0;
    await fc.assert(
      fc.asyncProperty(arbitraryModel({ maxSteps: 12 }), fc.nat({ max: 1000 }), async (model, seed) => {
        const cut = randomCut(model, 0.5, seed);
        if (cut.size > 0) cuts++;
        const { small, masked } = cutAndMasked(model, cut);
        const input = arbitraryInput(model);
        const feeds = { x: hostTensor(input.dtype, input.dims, input.toFloat32()) };
        expect(relativeError(await runModel(masked, feeds), await runModel(small, feeds))).toBeLessThan(1e-5);
      }),
      { numRuns: 300, seed: 5 },
    );
    expect(cuts).toBeGreaterThan(50);
  });
});
