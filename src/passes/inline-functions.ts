/** @file Pass: puts the bodies of model-local functions in the place of their calls. */
import { checkCalls, keyOfCall, nameOfFunction } from "../ir/calls.ts";
import type { Graph } from "../ir/graph.ts";
import { type FunctionDef, type Model, nestedGraphs } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import { withAttributes } from "../ops/infer.ts";
import { withoutSymbols } from "../ops/infer-inputs.ts";
import { normalDomain, schemaOf } from "../ops/schema.ts";
import { rewrites } from "./convert-opset/rewrites.ts";
import { removeDeadCode } from "./dead-code.ts";
import { inlineBodies } from "./inline-body.ts";
import { edit, type Pass } from "./pass.ts";

/** A call of a function that stays a call. */
export interface CallLeft {
  readonly node: Node;
  readonly reason: string;
}

/**
 * Outputs keep their names; values and nodes inside a body are named after the call. Afterwards the model has no functions but for
 * those that {@link callsLeft} names, with the reason.
 * @throws bad-model for functions that call themselves; limit-exceeded where the calls would become too many nodes
 */
export const inlineFunctions: Pass = (model) => {
  if (model.functions.length === 0) return { model, modified: false };
  const { model: inlined, modified } = edit(model, (copy) => {
    const functions = new LocalFunctions(copy);
    checkCalls(copy);
    let changed = false;
    while (inlineRound(copy.graph, functions)) changed = true;
    if (changed) for (const fn of copy.functions) addImports(copy, fn);
    return changed;
  });
  return modified ? { model: removeDeadCode(inlined).model, modified } : { model, modified };
};

/** The calls that can't be replaced by what they call, each with its reason. */
export function callsLeft(model: Model): CallLeft[] {
  if (model.functions.length === 0) return [];
  const functions = new LocalFunctions(model);
  return model.graphs().flatMap(({ nodes }) =>
    nodes.flatMap((node) => {
      const reason = functions.called(node) && functions.obstacle(node);
      return reason ? [{ node, reason }] : [];
    }),
  );
}

/** Replaces the calls that stand in the graph and its subgraphs now; those in their bodies follow in the next round. */
function inlineRound(graph: Graph, functions: LocalFunctions): boolean {
  let changed = false;
  for (const node of graph.nodes)
    for (const inner of node.subgraphs()) changed = inlineRound(inner, functions) || changed;
  const calls = graph.nodes.flatMap((call) => {
    const fn = functions.called(call);
    return fn && functions.obstacle(call) === undefined ? [{ call, body: bodyFor(fn, call), inputs: call.inputs }] : [];
  });
  // What a function says of its values' sizes holds in its own names, which may mean something else around the call.
  if (calls.length > 0) inlineBodies(graph, calls, withoutSymbols);
  return changed || calls.length > 0;
}

/** The body with the attributes of the call; what the call leaves out is missing for the nodes in there too. */
function bodyFor(fn: FunctionDef, call: Node): Graph {
  const body = withAttributes(fn, call);
  for (const input of missingInputs(body, call))
    for (const use of [...input.uses]) use.node.setInput(use.index, undefined);
  return body;
}

const missingInputs = (body: Graph, call: Node) => body.inputs.filter((_, i) => !call.inputs[i]);

/** The domains that a body needs; of the model's own versions, which functions that stay may not share, nothing changes. */
function addImports({ opsetImports }: Model, fn: FunctionDef): void {
  for (const [domain, version] of fn.opsetImports) if (!opsetImports.has(domain)) opsetImports.set(domain, version);
}

class LocalFunctions {
  readonly #byKey: ReadonlyMap<string, FunctionDef>;
  readonly #imports: ReadonlyMap<string, number>;
  readonly #foreign = new Map<FunctionDef, string | undefined>();

  constructor({ functions, opsetImports }: Model) {
    this.#byKey = new Map(functions.map((fn) => [keyOfCall({ ...fn, opType: fn.name }), fn]));
    this.#imports = opsetImports;
  }

  called(node: Node): FunctionDef | undefined {
    return this.#byKey.get(keyOfCall(node));
  }

  /** Why a call can't be replaced; undefined where it can. */
  obstacle(call: Node): string | undefined {
    const fn = this.called(call) as FunctionDef;
    if (!this.#foreign.has(fn)) this.#foreign.set(fn, this.#otherMeaning(fn));
    return this.#foreign.get(fn) ?? givesMissing(fn, call);
  }

  /**
   * A function may import versions of its own. Where an operator of its body means something else in the model's version,
   * its nodes can't stand in the model's graph. (The standard asks that it does not; ONNX Runtime takes the model's.)
   */
  #otherMeaning(fn: FunctionDef): string | undefined {
    for (const { domain, opType } of nestedGraphs(fn.graph).flatMap(({ nodes }) => nodes)) {
      if (this.#byKey.has(keyOfCall({ domain, opType, overload: "" }))) continue;
      const own = fn.opsetImports.get(domain);
      const outside = this.#imports.get(domain);
      if (own === undefined || outside === undefined || own === outside) continue;
      if (domain === "" ? keepsMeaning(opType, own, outside) : hasOneSchema(domain, opType, own, outside)) continue;
      const name = normalDomain(domain) || "ai.onnx";
      return `a call of function "${nameOfFunction(fn)}", whose ${opType} is that of ${name} ${own}, while the model imports ${name} ${outside}, where it means something else`;
    }
    return undefined;
  }
}

/** Where a body gives an input back that the call leaves out, there is nothing to give. */
function givesMissing(fn: FunctionDef, call: Node): string | undefined {
  const missing = new Set(missingInputs(fn.graph, call));
  const given = fn.graph.outputs.find((output, i) => missing.has(output) && call.outputs[i]);
  const inside = nestedGraphs(fn.graph).flatMap(({ outputs }) => outputs);
  const lost = given ?? inside.find((output) => missing.has(output) && !fn.graph.outputs.includes(output));
  return lost && `a call of function "${nameOfFunction(fn)}" without its input "${lost.name}", which it gives back`;
}

/** No version between the two changed what a node of the operator means: it reads the same in both. */
function keepsMeaning(opType: string, a: number, b: number): boolean {
  const [from, to] = [Math.min(a, b), Math.max(a, b)];
  if (!schemaOf("", opType, from) || !schemaOf("", opType, to)) return false;
  return Object.entries(rewrites).every(
    ([version, row]) => !(opType in row) || Number(version) <= from || Number(version) > to,
  );
}

function hasOneSchema(domain: string, opType: string, a: number, b: number): boolean {
  const schema = schemaOf(domain, opType, a);
  return schema !== undefined && schema === schemaOf(domain, opType, b);
}
