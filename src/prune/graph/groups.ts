/** @file Groups: channels that the same layers make, which are ranked against each other; and what can't be cut, with what prevents it. */

import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import { type Analysis, type AnalyzeOptions, analyze, type Obstacle, type PortRow } from "./analysis.ts";

/** A weight and the axis along which it makes channels. */
export interface MadeBy {
  readonly node: Node;
  readonly port: PortRow;
}

export interface Group {
  /** Its layers by name, the first of many. */
  readonly name: string;
  readonly layers: readonly MadeBy[];
  /** What may go, in the order of the first layer's channels. */
  readonly atoms: readonly number[];
}

/** Channels of a layer that have to stay. */
export interface Whole {
  readonly layer: string;
  readonly opType: string;
  readonly channels: number;
  readonly obstacle: Obstacle;
}

export interface Grouping {
  readonly groups: readonly Group[];
  readonly whole: readonly Whole[];
  /** For every atom of a group, how many indices of which axes it takes. */
  readonly members: ReadonlyMap<number, ReadonlyMap<PortRow, number>>;
  /** Atoms that would take all of some axis. */
  readonly emptying: ReadonlySet<number>;
}

export interface Channeled {
  readonly analysis: Analysis;
  readonly grouping: Grouping;
}

/** Layers that the name of a group has. */
const NAMED = 2;

/** Models that are looked at again where an answer turns out to leave nothing. */
const ATTEMPTS = 6;

/**
 * Analyzes a model and finds its groups. Where a reshape that splits or joins axes was taken in a way that ties everything together, it
 * is taken in the next, as long as that leaves more to choose from.
 */
export function findGroups(model: Model, options: Pick<AnalyzeOptions, "interface"> = {}): Channeled {
  let best = look(model, options, new Map());
  let answers: ReadonlyMap<number, number> = new Map();
  let current = best;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const next = nextAnswers(current, answers);
    if (!next) break;
    answers = next;
    current = look(model, options, answers);
    if (countOf(current) > countOf(best)) best = current;
  }
  return best;
}

function look(model: Model, options: AnalyzeOptions, answers: ReadonlyMap<number, number>): Channeled {
  const analysis = analyze(model, { ...options, answers });
  return { analysis, grouping: groupChannels(analysis) };
}

function countOf({ grouping }: Channeled): number {
  return grouping.groups.reduce((sum, { atoms }) => sum + atoms.length, 0);
}

/** The next answer of every choice that touches what can only go as a whole; undefined where there is none. */
function nextAnswers({ analysis, grouping }: Channeled, answers: ReadonlyMap<number, number>) {
  const next = new Map(answers);
  analysis.choices.forEach(({ taken, count, ports }, i) => {
    const touches = ports.some((port) => atomsOf(analysis, port).some((atom) => grouping.emptying.has(atom)));
    if (touches && taken + 1 < count) next.set(i, taken + 1);
    else if (!next.has(i)) next.set(i, taken);
  });
  return [...next].some(([i, answer]) => answer !== analysis.choices[i]?.taken) ? next : undefined;
}

/** A node without a name is called by its output. */
export function layerName(node: Node): string {
  return node.name || node.outputs.find((output) => output)?.name || node.opType;
}

/** The first layers by name, and how many more there are. */
function groupName(layers: readonly MadeBy[]): string {
  const names = layers.map(({ node }) => layerName(node));
  const shown = names.length > NAMED + 1 ? NAMED : names.length;
  const more = names.length > shown ? ` and ${names.length - shown} more` : "";
  return `${names.slice(0, shown).join(" + ")}${more}`;
}

export function groupChannels(analysis: Analysis): Grouping {
  const madeBy = new Map<number, MadeBy[]>();
  const whole: Whole[] = [];
  for (const made of uniqueLayers(analysis)) {
    const held = new Map<Obstacle, number>();
    for (const atom of new Set(atomsOf(analysis, made.port))) {
      const obstacle = analysis.obstacle(atom);
      if (obstacle) held.set(obstacle, (held.get(obstacle) ?? 0) + 1);
      else madeBy.set(atom, [...(madeBy.get(atom) ?? []), made]);
    }
    const { node, port } = made;
    if (port.size > 1)
      for (const [obstacle, channels] of held)
        whole.push({ layer: layerName(node), opType: node.opType, channels, obstacle });
  }
  const members = membersOf(analysis, madeBy);
  const emptying = new Set<number>();
  const groups = new Map<string, { name: string; layers: MadeBy[]; atoms: number[] }>();
  for (const [atom, layers] of madeBy) {
    // An axis that would be left with nothing: a layer of one channel, or one whose channels are all tied together.
    const emptied = [...(members.get(atom) ?? [])].find(([port, count]) => count === port.size);
    if (emptied) {
      for (const { node, port } of layers)
        if (port.size > 1)
          whole.push({ layer: layerName(node), opType: node.opType, channels: 1, obstacle: allTied(emptied[0]) });
      members.delete(atom);
      emptying.add(atom);
      continue;
    }
    const key = layers.map(({ port }) => port.base).join();
    const group = groups.get(key) ?? { name: groupName(layers), layers, atoms: [] };
    group.atoms.push(atom);
    groups.set(key, group);
  }
  return { groups: [...groups.values()], whole, members, emptying };
}

/** A weight that several nodes share makes its channels once. */
function uniqueLayers(analysis: Analysis): MadeBy[] {
  const seen = new Set<PortRow>();
  return analysis.made.filter(({ port }) => !seen.has(port) && seen.add(port));
}

/** The atom of every index of an axis. */
export function atomsOf(analysis: Analysis, { base, size }: PortRow): number[] {
  return Array.from({ length: size }, (_, i) => analysis.atomOf(base + i));
}

function membersOf(analysis: Analysis, atoms: ReadonlyMap<number, unknown>) {
  const members = new Map<number, Map<PortRow, number>>();
  for (const port of analysis.ports)
    for (let i = 0; i < port.size; i++) {
      const atom = analysis.atomOf(port.base + i);
      if (!atoms.has(atom)) continue;
      const own = members.get(atom) ?? new Map<PortRow, number>();
      own.set(port, (own.get(port) ?? 0) + 1);
      members.set(atom, own);
    }
  return members;
}

function allTied({ value, axis }: PortRow): Obstacle {
  return {
    opType: value.producer?.opType ?? "constant",
    reason: `all of axis ${axis} of "${value.name}" would go at once`,
  };
}
