/** @file Random cuts of models, and both things that can be made of one: the model without what goes, and with zeros in its place. */
import type { Model } from "../src/ir/model.ts";
import { applyCut, type Cut, maskCut } from "../src/prune/graph/cut.ts";
import { type Channeled, findGroups } from "../src/prune/graph/groups.ts";
import { prepared } from "../src/prune/graph/prepare.ts";
import { Rng } from "../src/util/rng.ts";

/** About the given share of the channels of every group, so that no axis is left with nothing. */
export function randomCut({ analysis, grouping }: Channeled, ratio: number, seed: number): Set<number> {
  const rng = new Rng(seed, "cut");
  const left = new Map(analysis.ports.map((port) => [port, port.size]));
  const cut = new Set<number>();
  for (const { atoms } of grouping.groups)
    for (const atom of atoms) {
      const own = [...(grouping.members.get(atom) ?? [])];
      if (rng.uniform() >= ratio || own.some(([port, count]) => (left.get(port) ?? 0) <= count)) continue;
      for (const [port, count] of own) left.set(port, (left.get(port) ?? 0) - count);
      cut.add(atom);
    }
  return cut;
}

export function cutAndMasked(model: Model, cut: Cut): { readonly small: Model; readonly masked: Model } {
  const [small, masked] = [findGroups(prepared(model)).analysis, findGroups(prepared(model)).analysis];
  applyCut(small, cut);
  maskCut(masked, cut);
  return { small: small.model, masked: masked.model };
}
