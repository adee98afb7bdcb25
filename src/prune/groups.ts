/** @file Groups: channels that the same layers make, which are ranked against each other; and what can't be cut, with what prevents it. */
import type { Node } from "../ir/node.ts";
import type { Analysis, Obstacle, PortRow } from "./analysis.ts";

/** A weight and the axis along which it makes channels. */
export interface MadeBy {
  readonly node: Node;
  readonly port: PortRow;
}

export interface Group {
  /** Names of its layers. */
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
}

/** A node without a name is called by its output. */
export function layerName(node: Node): string {
  return node.name || node.outputs.find((output) => output)?.name || node.opType;
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
  const groups = new Map<string, { name: string; layers: MadeBy[]; atoms: number[] }>();
  for (const [atom, layers] of madeBy) {
    // An axis that would be left with nothing: a layer of one channel, or one whose channels are all tied together.
    const emptied = [...(members.get(atom) ?? [])].find(([port, count]) => count === port.size);
    if (emptied) {
      for (const { node, port } of layers)
        if (port.size > 1)
          whole.push({ layer: layerName(node), opType: node.opType, channels: 1, obstacle: allTied(emptied[0]) });
      members.delete(atom);
      continue;
    }
    const key = layers.map(({ port }) => port.base).join();
    const group = groups.get(key) ?? { name: layers.map(({ node }) => layerName(node)).join(" + "), layers, atoms: [] };
    group.atoms.push(atom);
    groups.set(key, group);
  }
  return { groups: [...groups.values()], whole, members };
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
