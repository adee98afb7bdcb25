/** @file Which nodes stay float32, and why. */
import picomatch from "picomatch";
import { type Model, nestedGraphs } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { ValueType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import { inferTypes } from "../../passes/infer-shapes.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { opKey } from "../layers/sites.ts";
import { halfBodies, hasTypeAttribute, type NodeTypes, nodeTypes, noHalfKernel } from "./arguments.ts";
import { type ConstantRange, constantRange, LARGEST, standsForInfinity } from "./constants.ts";
import { indexArithmetic } from "./index-arithmetic.ts";
import type { Float16Settings } from "./options.ts";
import { tooSmall, vanishes } from "./small-constants.ts";

export interface Float16Plan {
  /** Nodes that stay float32, with the reason. */
  readonly kept: ReadonlyMap<Node, string>;
  /** Constants that are cut to float16's range. */
  readonly clamped: ReadonlySet<Value>;
  isFloat(value: Value | undefined): boolean;
  typeOf(value: Value): ValueType | undefined;
  typesOf(node: Node): NodeTypes;
}

/** Operators in which the largest float16 serves as well as a number that stands for infinity. */
const takesInfinity: ReadonlySet<string> = new Set("Add Sub Mul Where Clip Max Min Pad Expand Concat".split(" "));

/** Operators whose result is as large as a constant that they take. */
const enlarging: ReadonlySet<string> = new Set("Add Sub Mul".split(" "));

/** Operators whose result is as large as what they read. */
const passesOn: ReadonlySet<string> = new Set(
  "Add Sub Mul Neg Abs Relu Max Min Sum Concat Slice Pad Expand Identity Reshape Flatten Transpose Squeeze Unsqueeze".split(
    " ",
  ),
);

/** Operators to whose result a small number makes a difference; the values of others are what they are without it. */
const takesSmall: ReadonlySet<string> = new Set("Div Log Sqrt Pow Reciprocal Clip Where ReduceLogSum".split(" "));

export function planFloat16(model: Model, settings: Float16Settings): Float16Plan {
  const planner = new Planner(model, settings);
  const nodes = nestedGraphs(model.graph).flatMap((graph) => graph.nodes);
  const isPinned = (node: Node, input: number) => !planner.typesOf(node).input(input);
  const indices = indexArithmetic(inOrder(model), { isFloat: planner.isFloat, isPinned });
  for (const node of nodes) {
    if (planner.kept.has(node)) continue;
    const reason = planner.reason(node) ?? (indices.has(node) ? "computes sizes, indices or positions" : undefined);
    if (reason) planner.keep(node, reason);
  }
  planner.followExtremes(inOrder(model));
  return planner;
}

/** Nodes with those of subgraphs where they run. */
function inOrder(model: Model): Node[] {
  const visit = (nodes: readonly Node[]): Node[] =>
    nodes.flatMap((node) => [...node.subgraphs().flatMap((graph) => visit(graph.nodes)), node]);
  return visit(model.graph.nodes);
}

class Planner implements Float16Plan {
  readonly kept = new Map<Node, string>();
  readonly clamped = new Set<Value>();
  /** Values that a constant beyond float16 makes large. */
  readonly #large = new Set<Value>();
  /** Values that may be as small as a constant that float16 does not have. */
  readonly #small = new Set<Value>();
  readonly #model: Model;
  readonly #settings: Float16Settings;
  readonly #types: ReadonlyMap<Value, ValueType>;
  readonly #blocked: readonly ((name: string) => boolean)[];
  readonly #nodeTypes = new Map<Node, NodeTypes>();
  readonly #ranges = new Map<Tensor, ConstantRange>();

  constructor(model: Model, settings: Float16Settings) {
    this.#model = model;
    this.#settings = settings;
    this.#types = inferTypes(model);
    const flat = (text: string) => text.replaceAll("/", "\u0001");
    this.#blocked = settings.blocklist.map((pattern) => {
      const glob = picomatch(flat(pattern), { dot: true, nonegate: true });
      const test = (name: string) => name === pattern || glob(flat(name));
      this.#mustMatch(pattern, test);
      return test;
    });
  }

  /** An operator may be listed and absent; any other name must be there. */
  #mustMatch(pattern: string, test: (name: string) => boolean): void {
    const isOperator = /^([\w.]+\.)?[A-Z]\w*$/.test(pattern);
    const nodes = nestedGraphs(this.#model.graph).flatMap((graph) => graph.nodes);
    if (isOperator || nodes.some((node) => namesOf(node).some(test))) return;
    throw new TersorError(
      "bad-recipe",
      `blocklist "${pattern}": no such node: expected an operator type, a node's name or a glob of names. \`tersor inspect\` lists them.`,
    );
  }

  readonly isFloat = (value: Value | undefined): boolean => {
    const type = value && this.typeOf(value);
    return type !== undefined && (type.kind === "tensor" || type.kind === "sparse-tensor") && type.dtype === "float32";
  };

  typeOf(value: Value): ValueType | undefined {
    return value.isConstant ? value.type : (this.#types.get(value) ?? value.type);
  }

  typesOf(node: Node): NodeTypes {
    const known = this.#nodeTypes.get(node) ?? nodeTypes(this.#model, node);
    this.#nodeTypes.set(node, known);
    return known;
  }

  /** Keeps a node with everything inside it. */
  keep(node: Node, reason: string): void {
    this.kept.set(node, reason);
    for (const graph of node.subgraphs())
      for (const inner of graph.nodes)
        if (!this.kept.has(inner)) this.keep(inner, `inside ${node}, which stays float32`);
  }

  /**
   * Keeps what reads values that a constant makes large, or may leave as small as it is, up to where they may be neither.
   * @param nodes in topological order
   */
  followExtremes(nodes: readonly Node[]): void {
    const follow = (node: Node, extremes: Set<Value>, why: string) => {
      const value = node.inputs.find((input) => input && extremes.has(input));
      if (!value || node.subgraphs().length > 0) return;
      if (!this.kept.has(node)) this.keep(node, `reads "${value.name}", ${why}`);
      if (passesOn.has(opKey(node))) extremes.add(node.output());
    };
    for (const node of nodes) {
      follow(node, this.#large, `which a number beyond ${LARGEST} makes large`);
      if (takesSmall.has(opKey(node)) || passesOn.has(opKey(node)))
        follow(node, this.#small, "which may be as small as a constant that float16 does not have");
    }
  }

  /** Why a node stays float32; undefined where it does not, or has no float32 at all. */
  reason(node: Node): string | undefined {
    const inputs = node.inputs.flatMap((value, i) => (this.isFloat(value) ? [i] : []));
    const outputs = node.outputs.flatMap((value, i) => (this.isFloat(value) ? [i] : []));
    const hasBodies = node.subgraphs().length > 0;
    const untyped = [...node.inputs, ...node.outputs].find((value) => value && !this.typeOf(value));
    if (inputs.length + outputs.length === 0 && !hasBodies && !untyped) return undefined;
    if (this.#blocked.some((test) => namesOf(node).some(test))) return "blocklist";
    if (noHalfKernel.has(opKey(node))) return "runtimes have no float16 kernel of it";
    const types = this.typesOf(node);
    const halfInputs = inputs.filter((i) => types.input(i));
    const halfOutputs = outputs.filter((i) => types.output(i));
    if (!hasBodies) {
      if (untyped) return `the type of "${untyped.name}" is not known`;
      if (!types.schema) return "unknown operator";
      if (halfInputs.length + halfOutputs.length === 0) return "its schema has no float16";
      if ([...node.inputs, ...node.outputs].some((value) => value && holdsFloats(this.typeOf(value))))
        return "holds sequences or optional values of float32";
      const fixed = halfOutputs.some((i) => !types.isBound(i, halfInputs)) && !hasTypeAttribute(node);
      if (fixed) return "the type of its output is fixed";
    } else if (!halfBodies.has(opKey(node))) return "its subgraph takes float32";
    return this.#overflow(node, halfInputs);
  }

  #overflow(node: Node, halfInputs: readonly number[]): string | undefined {
    const { magnitudes } = this.#settings;
    const boundary = node.subgraphs().flatMap((graph) => [...graph.inputs, ...graph.outputs]);
    for (const value of [...node.inputs, ...node.outputs, ...boundary]) {
      const largest = value && this.isFloat(value) ? magnitudes.get(value.name) : undefined;
      if (largest !== undefined && !(largest <= LARGEST))
        return `"${value?.name}" reaches ${largest.toPrecision(4)}, beyond ${LARGEST}`;
    }
    for (const i of halfInputs) {
      const value = node.inputs[i];
      const reason = value?.tensor && this.#constantObstacle(node, i, value, value.tensor);
      if (reason) return reason;
    }
    if (opKey(node) === "ConstantOfShape" && vanishes(node.tensor("value"))) {
      this.#small.add(node.output());
      return "its value is too small for float16";
    }
    return undefined;
  }

  #constantObstacle(node: Node, input: number, value: Value, tensor: Tensor): string | undefined {
    const range = this.#ranges.get(tensor) ?? constantRange(tensor);
    this.#ranges.set(tensor, range);
    const small = tooSmall(node, input, tensor, range);
    if (small?.isSmall) this.#small.add(node.output());
    if (small) return small.reason;
    if (range.leastBeyond === Number.POSITIVE_INFINITY) return undefined;
    if (takesInfinity.has(opKey(node)) && standsForInfinity(tensor, range)) {
      this.clamped.add(value);
      return undefined;
    }
    if (enlarging.has(opKey(node))) this.#large.add(node.output());
    return `weight "${value.name}" holds ${range.largest.toPrecision(4)}, beyond ${LARGEST}`;
  }
}

function namesOf(node: Node): string[] {
  return [opKey(node), node.opType, node.name, ...node.outputs.map((output) => output?.name ?? "")].filter(Boolean);
}

function holdsFloats(type: ValueType | undefined): boolean {
  if (!type) return false;
  if (type.kind === "sequence" || type.kind === "optional") return isFloatType(type.element);
  return type.kind === "map" && isFloatType(type.value);
}

function isFloatType(type: ValueType): boolean {
  return type.kind === "tensor" || type.kind === "sparse-tensor" ? type.dtype === "float32" : holdsFloats(type);
}
