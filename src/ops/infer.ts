/** @file Type and shape inference: follows types and the elements of small tensors through a model. */
import { type Attribute, isReference } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import { cloneGraph, type FunctionDef, type Model, nestedGraphs } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { limits } from "../proto/limits.ts";
import { TersorError } from "../util/errors.ts";
import { contentRule } from "./contents/index.ts";
import { contentsOfTensor, numericShape } from "./contents/tensor.ts";
import { bindingsOf, boundType, type InputShapes, inputType, mapDims, withoutSymbols } from "./infer-inputs.ts";
import { schemaOf } from "./schema.ts";
import {
  type BodyInput,
  type BodyOutput,
  type BodyResult,
  Call,
  type Contents,
  type MaybeType,
} from "./shapes/call.ts";
import { takenBranch } from "./shapes/control.ts";
import { shapeRule } from "./shapes/index.ts";
import { combinedType } from "./shapes/merge.ts";
import type { Bindings } from "./symbolic/dim.ts";

export interface InferOptions {
  readonly inputShapes?: InputShapes;
}

export interface Inference {
  /** Types of values of the graph and its subgraphs, as far as known; of a loop's body, what holds in every round. */
  readonly types: ReadonlyMap<Value, ValueType>;
  /** Elements of small tensors that are known, at least in part, before the model runs. */
  readonly contents: ReadonlyMap<Value, Contents>;
  /** Nodes of operators without a shape rule and without a function: nothing is known of their outputs but what the file declares. */
  readonly unknown: readonly Node[];
  /** Values whose declared type is not what inference finds; inference wins. */
  readonly contradictions: readonly Value[];
  /** Nodes in branches of an If whose inputs do not fit: branches that are never taken. Nothing is known of their outputs. */
  readonly inconsistent: readonly Node[];
}

/** Nodes inferred in all, rounds of loops and calls of functions counted. */
const NODE_LIMIT = 5_000_000;
/** Functions that call functions. */
const CALL_LIMIT = 32;

/**
 * Infers types and shapes. The declared types of graph inputs are binding; those of other values add what inference can't
 * find out. A dim that no one names gets a symbol of its own, so that arithmetic on it can be followed.
 * @throws shape-mismatch or bad-model naming the node whose inputs do not fit; limit-exceeded; bad-data for `inputShapes` that name nothing.
 */
export function infer(model: Model, { inputShapes = {} }: InferOptions = {}): Inference {
  const bindings = bindingsOf(model.graph, inputShapes);
  const state: State = {
    functions: new Map(model.functions.map((fn) => [keyOf(fn.domain, fn.name, fn.overload), fn])),
    overridable: new Set(model.irVersion >= 4 ? model.graph.inputs.filter((input) => input.isConstant) : []),
    bindings,
    unknown: new Set(),
    contradictions: new Set(),
    inconsistent: new Set(),
    symbols: declaredSymbols(model.graph),
    nodes: 0,
  };
  const scope = new Scope(state, model.opsetImports);
  for (const input of model.graph.inputs)
    scope.setType(
      input,
      inputType(input, inputShapes, bindings, (hint) => freshSymbol(state, hint)),
    );
  scope.run(model.graph, { isMain: true, lenient: false });
  return {
    types: scope.types,
    contents: scope.contents,
    unknown: [...state.unknown],
    contradictions: [...state.contradictions],
    inconsistent: [...state.inconsistent],
  };
}

/** What the whole model shares. */
interface State {
  readonly functions: ReadonlyMap<string, FunctionDef>;
  /** Initializers that the caller may override. */
  readonly overridable: ReadonlySet<Value>;
  readonly bindings: Bindings;
  readonly unknown: Set<Node>;
  readonly contradictions: Set<Value>;
  readonly inconsistent: Set<Node>;
  readonly symbols: Set<string>;
  nodes: number;
}

interface Mode {
  /** The model's own graph, whose values have one shape in a run. */
  readonly isMain: boolean;
  /** In a branch of an If: what does not fit is never run. */
  readonly lenient: boolean;
}

function keyOf(domain: string, name: string, overload: string): string {
  return `${domain}\n${name}\n${overload}`;
}

/** Names that dims of the file have already. */
function declaredSymbols(graph: Graph): Set<string> {
  const shapes = [...graph.values].map(({ type }) => (type?.kind === "tensor" ? (type.shape ?? []) : []));
  return new Set(shapes.flat().filter((dim) => typeof dim === "string"));
}

/** A symbol that no other dim has. */
function freshSymbol(state: State, hint: string): string {
  const base = hint.replace(/[^A-Za-z0-9_]+/g, "_").replace(/^(?=[0-9])/, "_");
  let name = base;
  for (let i = 1; state.symbols.has(name); i++) name = `${base}_${i}`;
  state.symbols.add(name);
  return name;
}

/** The values of one graph with its subgraphs, or of one call of a function. */
class Scope {
  readonly types = new Map<Value, ValueType>();
  readonly contents = new Map<Value, Contents>();
  readonly #state: State;
  readonly #opsets: ReadonlyMap<string, number>;
  readonly #depth: number;
  /** The node that calls the function. */
  readonly #caller: Node | undefined;

  constructor(state: State, opsets: ReadonlyMap<string, number>, depth = 0, caller?: Node) {
    this.#state = state;
    this.#opsets = opsets;
    this.#depth = depth;
    this.#caller = caller;
  }

  setType(value: Value, type: MaybeType): void {
    if (type) this.types.set(value, type);
    else this.types.delete(value);
  }

  setContents(value: Value, contents: Contents | undefined): void {
    if (contents) this.contents.set(value, contents);
    else this.contents.delete(value);
  }

  /** Infers every node. Gives the first misfit of a graph that need not fit. */
  run(graph: Graph, mode: Mode): TersorError | undefined {
    let misfit: TersorError | undefined;
    for (const value of graph.values) if (value.isConstant) this.#constant(value);
    for (const node of graph.nodes) {
      const found = this.#node(node, mode);
      misfit ??= found;
    }
    return misfit;
  }

  #constant(value: Value): void {
    const dims = value.sparse?.dims;
    const overridable = this.#state.overridable.has(value);
    if (overridable) return;
    if (value.sparse && dims) this.setType(value, { kind: "tensor", dtype: value.sparse.values.dtype, shape: dims });
    else this.setType(value, value.type);
    if (value.tensor) this.setContents(value, contentsOfTensor(value.tensor));
  }

  #node(node: Node, mode: Mode): TersorError | undefined {
    if (++this.#state.nodes > NODE_LIMIT)
      throw new TersorError(
        "limit-exceeded",
        `${node}: shape inference: expected at most ${NODE_LIMIT} steps. Loops or functions are nested too deeply.`,
      );
    try {
      const results = this.#infer(node, mode);
      this.#setResults(node, results, mode);
      return undefined;
    } catch (error) {
      if (!mode.lenient || !isMisfit(error)) throw error;
      this.#state.inconsistent.add(this.#caller ?? node);
      this.#setResults(node, [], mode);
      return error;
    }
  }

  #setResults(node: Node, results: readonly BodyOutput[], mode: Mode): void {
    node.outputs.forEach((output, i) => {
      if (output) this.#setResult(node, output, results[i], mode);
    });
  }

  #setResult(node: Node, output: Value, result: BodyOutput | undefined, mode: Mode): void {
    const declared = mode.isMain ? boundType(output.type, this.#state.bindings) : withoutSymbols(output.type);
    const type = combinedType(result?.type, declared, () => {
      if (!this.#caller) this.#state.contradictions.add(output);
    });
    this.#check(node, output, type);
    const named = mode.isMain ? this.#named(output, type) : type;
    this.setType(output, named);
    this.setContents(output, result?.contents);
  }

  /** Gives every unknown dim of a tensor a symbol: the value has one shape in a run. */
  #named(output: Value, type: MaybeType): MaybeType {
    if (type?.kind !== "tensor") return type;
    return mapDims(type, (dim, axis) => dim ?? freshSymbol(this.#state, `${output.name}_dim${axis}`));
  }

  #check(node: Node, output: Value, type: MaybeType): void {
    const shape = type && "shape" in type ? type.shape : undefined;
    if (!shape) return;
    const bad = shape.some((dim) => typeof dim === "number" && !(Number.isSafeInteger(dim) && dim >= 0));
    if (bad)
      throw new TersorError(
        "shape-mismatch",
        `${node}: shape of output "${output.name}": expected sizes from 0, got [${shape}]. The model is not sound.`,
      );
    if (shape.length > limits.rank)
      throw new TersorError(
        "limit-exceeded",
        `${node}: rank of output "${output.name}": expected at most ${limits.rank}, got ${shape.length}.`,
      );
  }

  #inputOf(value: Value | undefined): BodyInput {
    return value ? { type: this.types.get(value), contents: this.contents.get(value) } : { type: undefined };
  }

  #infer(node: Node, mode: Mode): readonly BodyOutput[] {
    const inputs = node.inputs.map((value) => this.#inputOf(value));
    const fn = this.#state.functions.get(keyOf(node.domain, node.opType, node.overload));
    if (fn) return this.#callFunction(node, fn, inputs, mode);
    const rule = shapeRule(node.domain, node.opType);
    if (!rule) {
      this.#state.unknown.add(this.#caller ?? node);
      return [];
    }
    const opset = this.#opsets.get(node.domain) ?? 1;
    const bodies = new Map<string, BodyResult>();
    const call = new Call(node, opset, inputs, schemaOf(node.domain, node.opType, opset), (attribute, given) => {
      const result = this.#body(node, attribute, given, mode);
      bodies.set(attribute, result);
      return result;
    });
    const types = rule(call);
    const [then, otherwise] = [bodies.get("then_branch"), bodies.get("else_branch")];
    if (then && otherwise) {
      const taken = takenBranch(call, then, otherwise);
      return types.map((type, i) => ({ type, contents: taken?.outputs[i]?.contents }));
    }
    const contents =
      contentRule(node.domain, node.opType)?.(
        call,
        types.map((type) =>
          type?.kind === "tensor" ? { dtype: type.dtype, dims: numericShape(type.shape) } : undefined,
        ),
      ) ?? [];
    return types.map((type, i) => ({ type, contents: contents[i] }));
  }

  #body(node: Node, attribute: string, inputs: readonly BodyInput[], mode: Mode): BodyResult {
    const graph = node.get(attribute, "graph");
    if (!graph) throw new TersorError("bad-model", `${node}: attribute "${attribute}": expected a graph, got nothing.`);
    graph.inputs.forEach((value, i) => {
      this.setType(
        value,
        combinedType(inputs[i]?.type, withoutSymbols(value.type), () => {}),
      );
      this.setContents(value, inputs[i]?.contents);
    });
    const misfit = this.run(graph, { isMain: false, lenient: mode.lenient || node.opType === "If" });
    return { outputs: graph.outputs.map((value) => this.#inputOf(value)), misfit };
  }

  /** Infers the function's body for these inputs, on a copy that has the call's attributes. */
  #callFunction(node: Node, fn: FunctionDef, inputs: readonly BodyInput[], mode: Mode): readonly BodyOutput[] {
    if (this.#depth >= CALL_LIMIT)
      throw new TersorError(
        "limit-exceeded",
        `${node}: functions that call each other: expected at most ${CALL_LIMIT} levels. A function must not call itself.`,
      );
    const graph = withAttributes(fn, node);
    const scope = new Scope(this.#state, fn.opsetImports, this.#depth + 1, this.#caller ?? node);
    graph.inputs.forEach((value, i) => {
      scope.setType(value, inputs[i]?.type);
      scope.setContents(value, inputs[i]?.contents);
    });
    const misfit = scope.run(graph, { isMain: false, lenient: mode.lenient });
    if (misfit) throw misfit;
    return graph.outputs.map((value) => scope.#inputOf(value));
  }
}

/** Whether an error says that shapes do not fit, rather than that something else is wrong. */
function isMisfit(error: unknown): error is TersorError {
  return error instanceof TersorError && (error.code === "shape-mismatch" || error.code === "bad-model");
}

/** @internal A copy of a function's body in which attributes that stand for the function's own have the values of one call. */
export function withAttributes(fn: FunctionDef, call: Node): Graph {
  const copy = cloneGraph(fn.graph);
  for (const graph of nestedGraphs(copy))
    for (const node of graph.nodes)
      for (const [name, attribute] of [...node.attributes]) {
        if (!isReference(attribute)) continue;
        const value: Attribute | undefined =
          call.attributes.get(attribute.reference) ?? fn.defaults.get(attribute.reference);
        if (value) node.attributes.set(name, value);
        else node.attributes.delete(name);
      }
  return copy;
}
