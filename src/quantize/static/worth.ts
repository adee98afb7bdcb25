/**
 * @file Which layers are worth their integers: small ones, and those among floats, cost more than they save. The cheapest division of
 * the units into integer and float ones is a minimum cut (Greig, Porteous, Seheult 1989), by the costs that the target's row counts.
 */

import type { Node } from "../../ir/node.ts";
import type { ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import { type CostedKernel, conversionCost, costedKernels, layerCost, type MachineCosts } from "../../targets/costs.ts";
import type { Target } from "../../targets/target.ts";
import { Network } from "../../util/min-cut.ts";
import { elementsOf, LEAST_TIME, sizeOf } from "../layers/layer-size.ts";
import { activationsOf, type Flow, hasWeight, transparentInput, type Unit, weightOf } from "./flow.ts";

type Types = ReadonlyMap<Value, ValueType>;

/** Why units stay float, and what the division comes to. */
export interface Worth {
  readonly reasons: ReadonlyMap<Node, string>;
  /** Those of them whose weights may be decoded at every run and the model still be no slower than in float32. */
  readonly decoded: ReadonlySet<Node>;
  /** Time by the counted costs, as a share of float32's, on the machine where it is largest; absent where nothing is known. */
  readonly ratio?: number;
  /** That machine. */
  readonly machine?: string;
}

/** A unit's costs on one machine in microseconds. */
interface Priced {
  readonly float: number;
  readonly integer: number;
}

/** Nothing is decided. */
export const noWorth: Worth = { reasons: new Map(), decoded: new Set() };

/**
 * Divides a flow's units by the costs of the target. Nothing is decided where sizes or costs are not known.
 * @param isForced whether a unit is integer whatever it costs, as one that was asked for by name
 */
export function worthOf(flow: Flow, types: Types, target: Target, isForced: (node: Node) => boolean): Worth {
  if (target.costs.length === 0 || flow.units.length === 0) return noWorth;
  const known = knownCosts(flow, types, target.costs);
  if (!known?.some(({ total }) => total > LEAST_TIME)) return noWorth;
  const side = noSlower(flow, types, known, isForced);
  const left = flow.units.filter((unit) => isLayer(unit) && !side.has(unit));
  const times = known.map((each) => timeOf(flow, types, each, side));
  const decoded = new Set<Node>();
  // The largest weights of what takes the least time first.
  for (const unit of left.filter(hasWeight).sort((a, b) => worthDecoding(b, known) - worthDecoding(a, known))) {
    const added: readonly number[] = known.map(
      ({ machine, prices }) => (machine.decoded[kernelOf(unit) as CostedKernel] - 1) * (prices.get(unit)?.float ?? 0),
    );
    if (!known.every(({ total }, at) => (times[at] as number) + (added[at] as number) <= total * NO_SLOWER)) continue;
    for (const [at, cost] of added.entries()) (times[at] as number) += cost;
    decoded.add(unit.node);
  }
  const worst = known
    .map(({ machine, total }, at) => ({ machine: machine.machine, ratio: (times[at] as number) / total }))
    .reduce((most, each) => (each.ratio > most.ratio ? each : most));
  return { reasons: new Map(left.map((unit) => [unit.node, reasonOf(unit, target, known)])), decoded, ...worst };
}

/** The cheapest division; where a machine would be slower by it than in float32, one in which that machine counts for more. */
function noSlower(
  flow: Flow,
  types: Types,
  known: readonly Known[],
  isForced: (node: Node) => boolean,
): ReadonlySet<Unit> {
  const weights = known.map(() => 1);
  for (let attempt = 0; ; attempt++) {
    const weighted = known.map((each, at) => ({ ...each, weight: weights[at] as number }));
    const side = divide(flow, types, weighted, isForced);
    const slow = known.map((each) => timeOf(flow, types, each, side) > each.total);
    if (attempt === ATTEMPTS || !slow.includes(true)) return side;
    for (const [at, isSlow] of slow.entries()) if (isSlow) weights[at] = (weights[at] as number) * 2;
  }
}

/** Divisions that are tried. */
const ATTEMPTS = 8;

/** What is saved by a float layer must be worth its bytes: integers may take this many times as long, as long as the model is no slower. */
const FAVOUR = 1.3;

/** Of float32's time: costs are estimates. */
const NO_SLOWER = 0.97;

function worthDecoding(unit: Unit, known: readonly Known[]): number {
  const time = known.reduce((sum, { prices, total }) => sum + (prices.get(unit)?.float ?? 0) / total, 0);
  return (weightOf(unit)?.tensor?.byteLength ?? 0) / Math.max(time, 1e-9);
}

/** One machine's view of a flow. */
interface Known {
  readonly machine: MachineCosts;
  readonly prices: ReadonlyMap<Unit, Priced>;
  /** Of all units in float32. */
  readonly total: number;
}

function knownCosts({ units }: Flow, types: Types, costs: readonly MachineCosts[]): Known[] | undefined {
  const sizes = new Map<Unit, ReturnType<typeof sizeOf>>(units.map((unit) => [unit, sizeOf(unit.node, types)]));
  if (units.some((unit) => isLayer(unit) && !sizes.get(unit))) return undefined;
  return costs.map((machine) => {
    const prices = new Map<Unit, Priced>();
    let total = 0;
    for (const unit of units) {
      const size = sizes.get(unit);
      const kernel = kernelOf(unit);
      const price = (form: "float" | "integer") => (size && kernel ? layerCost(machine, kernel, form, size) : 0);
      prices.set(unit, { float: price("float"), integer: price("integer") });
      total += price("float");
    }
    return { machine, prices, total };
  });
}

/** Units on the integer side of the cheapest division; what several machines say counts by shares of their float time. */
function divide(
  flow: Flow,
  types: Types,
  known: readonly (Known & { readonly weight: number })[],
  isForced: (node: Node) => boolean,
): ReadonlySet<Unit> {
  const network = new Network();
  const [integer, float] = [network.add(), network.add()];
  const places = new Map(flow.units.map((unit) => [unit, network.add()]));
  const sum = (of: (each: Known) => number) =>
    known.reduce((all, each) => all + (each.weight * of(each)) / Math.max(each.total, 1e-9), 0);
  for (const [unit, place] of places) {
    const float32 = FAVOUR * sum(({ prices }) => prices.get(unit)?.float ?? 0);
    network.link(integer, place, isForced(unit.node) ? Number.POSITIVE_INFINITY : float32);
    network.link(
      place,
      float,
      sum(({ prices }) => prices.get(unit)?.integer ?? 0),
    );
  }
  for (const { producer, readers, isReadAsFloat, elements } of exchanges(flow, types)) {
    const cost = sum(({ machine }) => conversionCost(machine, elements));
    const from = producer && (places.get(producer) as number);
    const to = readers.map((reader) => places.get(reader) as number);
    // QuantizeLinear: a float producer with an integer reader.
    const entry = network.add();
    for (const reader of to) network.link(reader, entry, Number.POSITIVE_INFINITY);
    network.link(entry, from ?? float, cost);
    if (from === undefined) continue;
    // DequantizeLinear: an integer producer with a float reader.
    const exit = network.add();
    network.link(from, exit, cost);
    if (isReadAsFloat) network.link(exit, float, Number.POSITIVE_INFINITY);
    for (const reader of to) network.link(exit, reader, Number.POSITIVE_INFINITY);
  }
  const side = network.sourceSide(integer, float);
  return new Set(flow.units.filter((unit) => side.has(places.get(unit) as number)));
}

function timeOf(flow: Flow, types: Types, { machine, prices }: Known, side: ReadonlySet<Unit>): number {
  let time = 0;
  for (const [unit, { float, integer }] of prices) time += side.has(unit) ? integer : float;
  for (const { producer, readers, isReadAsFloat, elements } of exchanges(flow, types)) {
    const isInteger = producer !== undefined && side.has(producer);
    const enters = !isInteger && readers.some((reader) => side.has(reader));
    const leaves = isInteger && (isReadAsFloat || readers.some((reader) => !side.has(reader)));
    if (enters || leaves) time += conversionCost(machine, elements);
  }
  return time;
}

/** A value and who makes and reads it, seen through what only moves codes. */
interface Exchange {
  /** Absent for what comes from outside of the units. */
  readonly producer?: Unit;
  readonly readers: readonly Unit[];
  /** Whether something that is no unit reads it. */
  readonly isReadAsFloat: boolean;
  readonly elements: number;
}

function exchanges({ units }: Flow, types: Types): Exchange[] {
  const byOutput = new Map(units.map((unit) => [unit.output, unit]));
  const byNode = new Map(units.map((unit) => [unit.node, unit]));
  const origins = new Map<Value, Set<Unit>>();
  for (const unit of units)
    for (const value of activationsOf(unit)) {
      const origin = originOf(value, byOutput);
      origins.set(origin, (origins.get(origin) ?? new Set()).add(unit));
    }
  for (const unit of units) if (!origins.has(unit.output)) origins.set(unit.output, new Set());
  return [...origins].map(([value, readers]) => {
    const producer = byOutput.get(value);
    return {
      ...(producer && { producer }),
      readers: [...readers],
      isReadAsFloat: isReadAsFloat(value, byNode),
      elements: elementsOf(value, types) ?? 0,
    };
  });
}

function originOf(value: Value, byOutput: ReadonlyMap<Value, Unit>): Value {
  let origin = value;
  for (let before = origin.producer; before && !byOutput.has(origin); before = origin.producer) {
    const input = transparentInput(before);
    if (!input) break;
    origin = input;
  }
  return origin;
}

function isReadAsFloat(value: Value, byNode: ReadonlyMap<Node, Unit>): boolean {
  const waiting = [value];
  for (const each of waiting) {
    if (each.isOutput) return true;
    for (const node of each.users()) {
      if (byNode.has(node)) continue;
      if (transparentInput(node) !== each) return true;
      waiting.push(...node.outputs.filter((output) => output !== undefined));
    }
  }
  return false;
}

function isLayer({ rule }: Unit): boolean {
  return rule.role === "anchor";
}

function kernelOf({ node, rule }: Unit): CostedKernel | undefined {
  const kernel = rule.kernel(node);
  return costedKernels.find((name) => name === kernel);
}

function reasonOf(unit: Unit, { name }: Target, known: readonly Known[]): string {
  const prices = known.map(({ prices: each }) => each.get(unit) as Priced);
  const isSlow = prices.every(({ float, integer }) => integer >= float);
  const why = isSlow
    ? "its integer kernel is no faster at this size"
    : "going to integers and back costs more than it saves";
  return `float32 is faster on ${name}: ${why} ("NAME@int8" quantizes it all the same)`;
}
