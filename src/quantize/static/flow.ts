/** @file Which parts of a graph compute with integers: units, the values that carry codes, and why the rest stays float. */
import type { Graph } from "../../ir/graph.ts";
import type { Node } from "../../ir/node.ts";
import type { ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import { kernelObstacle, type Target } from "../../targets/target.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { isTurn, opKey } from "../layers/sites.ts";
import { clampOf, floatReasonOf, type IntegerRule, movingRuleOf, rescaleOf, ruleOf } from "./rules.ts";

/** An operator that computes with integers, with what the runtime fuses into it. */
export interface Unit {
  readonly node: Node;
  readonly rule: IntegerRule;
  /** Nodes behind it that are part of it: a bias, Relu or Clip. */
  readonly absorbed: readonly Node[];
  /** What comes out at the end. */
  readonly output: Value;
  /** What Relu and Clip leave. */
  readonly bounds: { readonly min: number; readonly max: number };
}

/** A node that was looked at and stays float. */
export interface Island {
  readonly node: Node;
  readonly reason: string;
}

export interface Flow {
  readonly units: readonly Unit[];
  /** Units whose result has codes; those of the others are read as floats. */
  readonly coded: ReadonlySet<Unit>;
  /** Nodes that move codes. */
  readonly moving: readonly Node[];
  /** Products with a constant that become another scale. */
  readonly rescaling: readonly Node[];
  /** Float values that are given codes for those who read them so. */
  readonly entries: readonly Value[];
  readonly islands: readonly Island[];
}

export interface FlowOptions {
  readonly target: Target;
  readonly types: ReadonlyMap<Value, ValueType>;
  /** Why a node is not to be quantized, whatever it could do. */
  readonly excluded: (node: Node) => string | undefined;
}

export function findFlow(graph: Graph, options: FlowOptions): Flow {
  const islands: Island[] = [];
  const units = candidates(graph, options, islands);
  const state = new FlowState(graph, units);
  islands.push(...state.dropLonelyFollowers());
  const { coded, moving, rescaling, values } = state.spread();
  const active = [...state.units];
  const entries = new Set(active.flatMap((unit) => activationsOf(unit)).filter((value) => !values.has(value)));
  const order = new Map(graph.nodes.map((node, index) => [node, index]));
  islands.sort((a, b) => (order.get(a.node) ?? 0) - (order.get(b.node) ?? 0));
  return { units: active, coded, moving, rescaling, entries: [...entries], islands };
}

/** The inputs of a unit whose codes are not constant. */
export function activationsOf({ node, rule }: Pick<Unit, "node" | "rule">): Value[] {
  const isConstant = (index: number) =>
    isFixed(node.inputs[index]) || (index === rule.weight && hasWeight({ node, rule }));
  return rule.inputs(node).flatMap((index) => (isConstant(index) ? [] : (node.inputs[index] ?? [])));
}

/** A constant that no caller may override. */
export function isFixed(value: Value | undefined): boolean {
  return value?.tensor !== undefined && !value.isInput;
}

/** Whether the unit holds a constant weight. */
export function hasWeight(unit: Pick<Unit, "node" | "rule">): boolean {
  return weightOf(unit) !== undefined;
}

/** The constant that a unit multiplies with, perhaps behind a Transpose of its two axes. */
export function weightOf({ node, rule }: Pick<Unit, "node" | "rule">): Value | undefined {
  const value = rule.weight === undefined ? undefined : node.inputs[rule.weight];
  const turn = value?.producer;
  const source = turn && rule.seesThroughTranspose && isTurn(turn) ? turn.inputs[0] : value;
  return isFixed(source) ? source : undefined;
}

function candidates(graph: Graph, options: FlowOptions, islands: Island[]): Unit[] {
  const units: Unit[] = [];
  const taken = new Set<Node>();
  for (const node of graph.nodes) {
    if (taken.has(node) || rescaleOf(node) || isOnIntegers(node, options)) continue;
    const rule = ruleOf(node);
    const reason = rule ? obstacleOf(node, rule, options) : floatReasonOf(node);
    if (reason) islands.push({ node, reason });
    if (!rule || reason) continue;
    const unit = withAbsorbed(node, rule, graph);
    for (const absorbed of unit.absorbed) taken.add(absorbed);
    units.push(unit);
  }
  return units;
}

/** Arithmetic on shapes and indices: there is nothing to quantize, and nothing to say. */
function isOnIntegers(node: Node, { types }: FlowOptions): boolean {
  const output = node.outputs[0];
  const type = output && (types.get(output) ?? output.type);
  return type?.kind === "tensor" && dtypeInfo(type.dtype).kind !== "float";
}

function obstacleOf(node: Node, rule: IntegerRule, { target, types, excluded }: FlowOptions): string | undefined {
  const asked = excluded(node) ?? kernelObstacle(target, rule.kernel(node)) ?? rule.obstacle?.(node);
  if (asked) return asked;
  const values = [...rule.inputs(node).map((index) => node.inputs[index]), node.output()];
  for (const value of values) {
    const type = value && (types.get(value) ?? value.type);
    if (type?.kind !== "tensor") return `the type of "${value?.name ?? ""}" is not known`;
    if (type.dtype !== "float32") return `"${value?.name}" is ${type.dtype}: only float32 is quantized`;
    if (value?.sparse) return `"${value.name}" is sparse`;
  }
  if (rule.role === "anchor" && rule.output === "required" && !hasWeight({ node, rule }))
    return "no constant weight: it is computed at run time, or may be overridden by the caller";
  return activationsOf({ node, rule }).length === 0 ? "all its operands are constant: fold it" : undefined;
}

/** Takes in what follows as long as nothing else uses what lies between. */
function withAbsorbed(node: Node, rule: IntegerRule, graph: Graph): Unit {
  const absorbed: Node[] = [];
  const bounds = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };
  let output = node.output();
  const bias = onlyUser(output, graph);
  if (bias && rule.weight !== undefined && rule.bias === undefined && isBiasOf(bias, node, output, rule)) {
    absorbed.push(bias);
    output = bias.output();
  }
  for (let next = onlyUser(output, graph); next; next = onlyUser(output, graph)) {
    const clamp = next.inputs[0] === output ? clampOf(next) : undefined;
    if (!clamp || clamp.min > bounds.max || clamp.max < bounds.min) break;
    bounds.min = Math.max(bounds.min, clamp.min);
    bounds.max = Math.min(bounds.max, clamp.max);
    absorbed.push(next);
    output = next.output();
  }
  return { node, rule, absorbed, output, bounds };
}

function onlyUser(value: Value, graph: Graph): Node | undefined {
  if (value.isOutput || value.uses.size !== 1) return undefined;
  const [user] = value.users();
  return user?.graph === graph ? user : undefined;
}

/** An Add of one constant per output channel behind a product with a constant weight. */
function isBiasOf(add: Node, node: Node, output: Value, rule: IntegerRule): boolean {
  if (opKey(add) !== "Add" || !hasWeight({ node, rule })) return false;
  const other = add.inputs[0] === output ? add.inputs[1] : add.inputs[0];
  const type = node.output().type;
  const width = type?.kind === "tensor" ? type.shape?.at(-1) : undefined;
  const channels = node.inputs[rule.weight as number]?.tensor?.dims.at(-1) ?? width;
  return isFixed(other) && other?.tensor?.dims.length === 1 && other.tensor.dims[0] === channels;
}

/** Units on their way from what could be to what is worth while. */
class FlowState {
  readonly units: Set<Unit>;
  readonly #graph: Graph;
  readonly #byOutput: ReadonlyMap<Value, Unit>;
  readonly #byNode: ReadonlyMap<Node, Unit>;

  constructor(graph: Graph, units: readonly Unit[]) {
    this.#graph = graph;
    this.units = new Set(units);
    this.#byOutput = new Map(units.map((unit) => [unit.output, unit]));
    this.#byNode = new Map(units.map((unit) => [unit.node, unit]));
  }

  /** Drops followers, until none is left, whose codes would be made from floats only, or read by no one. */
  dropLonelyFollowers(): Island[] {
    const dropped: Island[] = [];
    for (let settled = false; !settled; ) {
      settled = true;
      for (const unit of this.units) {
        if (unit.rule.role === "anchor" && hasWeight(unit)) continue;
        const fed = activationsOf(unit).some((value) => this.#isFromUnit(value));
        if (fed && this.#isRead(unit.output)) continue;
        this.units.delete(unit);
        settled = false;
        const reason = fed ? "no integer operator reads its result" : "no integer operator feeds it";
        dropped.push({ node: unit.node, reason: `${reason}: quantizing it would gain nothing` });
      }
    }
    return dropped;
  }

  /** Gives codes to results that must have them or that someone reads as codes, and to what is moved between the two. */
  spread() {
    const coded = new Set<Unit>();
    const moving: Node[] = [];
    const rescaling: Node[] = [];
    const values = new Set<Value>();
    for (const node of this.#graph.nodes) {
      const unit = this.#byNode.get(node);
      const input = transparentInput(node);
      if (unit && this.units.has(unit)) {
        if (unit.rule.output === "optional" && !this.#isRead(unit.output)) continue;
        coded.add(unit);
        values.add(unit.output);
      } else if (input && values.has(input)) {
        // A rescaled value costs nothing even where floats are read; moved codes must be worth the way.
        if (rescaleOf(node)) rescaling.push(node);
        else if (this.#isReadBehind(node)) moving.push(node);
        else continue;
        for (const output of node.outputs) if (output) values.add(output);
      }
    }
    return { coded, moving, rescaling, values };
  }

  /** Whether a value comes from a unit, perhaps moved or rescaled on its way. */
  #isFromUnit(value: Value): boolean {
    const unit = this.#byOutput.get(value);
    if (unit) return this.units.has(unit);
    const before = value.producer && transparentInput(value.producer);
    return before !== undefined && this.#isFromUnit(before);
  }

  /** Whether a unit reads a value's codes, perhaps moved or rescaled on their way. */
  #isRead(value: Value): boolean {
    return [...value.uses].some(({ node, index }) => {
      const unit = this.#byNode.get(node);
      if (unit && this.units.has(unit)) return unit.rule.inputs(node).includes(index);
      return transparentInput(node) === value && this.#isReadBehind(node);
    });
  }

  #isReadBehind(node: Node): boolean {
    return node.outputs.some((output) => output && this.#isRead(output));
  }
}

/** What a node moves or rescales; undefined for other nodes. */
export function transparentInput(node: Node): Value | undefined {
  const rescale = rescaleOf(node);
  if (rescale) return rescale.input;
  const rule = movingRuleOf(node);
  return rule && !rule.obstacle?.(node) ? node.inputs[0] : undefined;
}
