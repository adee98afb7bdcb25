/** @file gradient: reverse-mode automatic differentiation, from a model to a model that computes gradients as well. */
import type { Graph } from "../ir/graph.ts";
import type { Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import { typeToString } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { type InferOptions, infer } from "../ops/infer.ts";
import type { InputShapes } from "../ops/infer-inputs.ts";
import { constantToInitializer } from "../passes/constant-to-initializer.ts";
import { convertOpset } from "../passes/convert-opset/convert-opset.ts";
import { removeDeadCode } from "../passes/dead-code.ts";
import { foldKnown } from "../passes/fold-constants.ts";
import { inlineBranches } from "../passes/inline-branches.ts";
import { inlineFunctions } from "../passes/inline-functions.ts";
import { dtypeInfo } from "../tensor/dtype.ts";
import { invariant, TersorError } from "../util/errors.ts";
import { nearestNames } from "../util/nearest.ts";
import { decompose } from "./decompose/index.ts";
import { type Emitter, makeEmitter } from "./emitter.ts";
import { parametersOf } from "./parameters.ts";
import { gradientPath, nodesOn } from "./path.ts";
import { gradientRule } from "./rules/index.ts";

/** Rules read operators as this opset defines them, and emit them so. */
export const gradientOpset = 21;

export interface GradientOptions {
  /** The value to differentiate, by name: one element, of a float type. It becomes an output if it isn't one. */
  readonly of: string;
  /** Values by name (inputs, initializers, results), all parameters (initializers that training would change), or all float inputs. */
  readonly with: readonly string[] | "parameters" | "inputs";
  /** Names of values that count as constants: no gradient passes through them. */
  readonly stopGradient?: readonly string[];
  /** Sizes for what the model's inputs leave open, as in `inferShapes`; the result takes no others. Most rules need sizes. */
  readonly shapes?: InputShapes;
}

export interface GradientResult {
  /** The model with its own outputs first, then the loss if it was none, then the gradients. At opset 21 or above, without functions. */
  readonly model: Model;
  /** The name of each gradient, by the name of the value; each has its value's shape and dtype. */
  readonly gradients: ReadonlyMap<string, string>;
  /** What was asked for and has no gradient: the loss doesn't depend on it, or only by jumps. */
  readonly withoutGradient: readonly string[];
}

/**
 * Adds the gradients of a scalar to a model, as outputs computed by standard operators. Nothing is emitted for what does not lead
 * from a wanted value to the loss: frozen parameters cost nothing.
 *
 * Integers in between carry no gradient, with one exception: QuantizeLinear is passed straight through inside of its range
 * (Bengio et al. 2013, https://arxiv.org/abs/1308.3432).
 * @throws bad-data for a name that the model does not have; shape-mismatch for a loss of several elements; unsupported-op naming a
 * node without a rule, or a size that must be known.
 */
export function gradient(model: Model, options: GradientOptions): GradientResult {
  const inference = options.shapes ? { inputShapes: options.shapes } : {};
  const prepared = prepare(model, inference);
  const { graph } = prepared;
  const known = infer(prepared, inference);
  foldKnown(known.contents);
  if (options.shapes) for (const input of graph.inputs) input.type = known.types.get(input) ?? input.type;

  const op = makeEmitter(graph, prepared.opset, known);
  let plan = planOf(op, options);
  while (decompose(op, nodesOn(graph, plan.path))) plan = planOf(op, options);
  const { loss, wanted, path } = plan;
  const names = new Map(wanted.map((value) => [value, value.name]));
  checkRules(nodesOn(graph, path));
  checkLoss(op, loss);
  const forward = new Set(graph.values);
  const sums = backward(op, loss, path);

  if (!loss.isOutput) graph.addOutput(loss);
  const gradients = new Map<string, string>();
  for (const value of wanted) {
    const sum = sums.get(value);
    if (!sum) continue;
    const name = names.get(value) as string;
    const output = asOutput(op, sum, `${name}.grad`, forward);
    output.type = op.typeOf(value);
    graph.addOutput(output);
    gradients.set(name, output.name);
  }
  const withoutGradient = [...names.values()].filter((name) => !gradients.has(name));
  // Rules may put what they compute in the place of a node.
  graph.sort();
  return { model: removeDeadCode(prepared).model, gradients, withoutGradient };
}

/** A copy without Constant nodes, functions and branches that are never taken, at an opset that rules can read. */
function prepare(model: Model, inference: InferOptions): Model {
  const raised = convertOpset(model, Math.max(gradientOpset, model.opset)).model;
  const { model: inlined } = inlineFunctions(raised);
  const { model: straight } = inlineBranches(inlined, inference);
  const { model: plain } = constantToInitializer(straight);
  return plain === model ? model.clone() : plain;
}

interface Plan {
  readonly loss: Value;
  readonly wanted: readonly Value[];
  readonly path: ReadonlySet<Value>;
}

function planOf(op: Emitter, options: GradientOptions): Plan {
  const { graph } = op;
  const loss = valueNamed(graph, options.of, "of");
  const wanted = wantedValues(graph, options.with);
  const stopped = new Set(options.stopGradient?.map((name) => valueNamed(graph, name, "stopGradient")));
  const dtypeOf = (value: Value) => op.typeOf(value)?.dtype;
  return { loss, wanted, path: gradientPath(graph, { wanted: new Set(wanted), loss, stopped, dtypeOf }) };
}

/** Emits the gradients of all values of the path, from the loss back, and gives them by value. */
function backward(op: Emitter, loss: Value, path: ReadonlySet<Value>): ReadonlyMap<Value, Value> {
  const sums = new Map<Value, Value>();
  const parts = new Map<Value, Value[]>();
  const sumOf = (value: Value | undefined) => {
    const list = value && parts.get(value);
    if (!value || !list) return undefined;
    op.subject = `${value.name}.grad`;
    const sum = sums.get(value) ?? op.sum(list);
    sums.set(value, sum);
    return sum;
  };
  if (path.has(loss)) {
    const dims = op.shape(loss);
    parts.set(loss, [op.constant(op.dtype(loss), dims, [1])]);
  }
  for (const node of nodesOn(op.graph, path).reverse()) {
    const dy = node.outputs.map(sumOf);
    if (!dy.some((value) => value)) continue; // a rule above gave none
    const needs = node.inputs.map((value) => value !== undefined && path.has(value));
    op.subject = `${node.outputs.find((output) => output)?.name}.grad`;
    const rule = gradientRule(node.domain, node.opType);
    invariant(rule, `${node} has no gradient rule`);
    const dx = rule({ node, op, x: node.inputs, y: node.outputs, dy, needs });
    node.inputs.forEach((input, i) => {
      const part = needs[i] ? dx[i] : undefined;
      if (!input || !part) return;
      const fitted = op.fit(part, input);
      const list = parts.get(input);
      if (list) list.push(fitted);
      else parts.set(input, [fitted]);
    });
  }
  for (const value of parts.keys()) sumOf(value);
  return sums;
}

/** @throws unsupported-op naming the last of the nodes without a rule. */
function checkRules(nodes: readonly Node[]): void {
  const without = nodes.filter((node) => !gradientRule(node.domain, node.opType));
  const last = without.at(-1);
  if (!last) return;
  const others = [...new Set(without.map((node) => node.opType))].filter((opType) => opType !== last.opType);
  const y = last.outputs.find((output) => output)?.name ?? "";
  throw new TersorError(
    "unsupported-op",
    `${last}: has no gradient rule, and the loss depends on what is wanted through it${others.length > 0 ? ` (and through ${others.join(", ")})` : ""}. Leave out what comes before it ("with"), cut there (stopGradient: ["${y}"]), or replace it by operators with a rule (docs/operators.md).`,
  );
}

function checkLoss(op: Emitter, loss: Value): void {
  const type = op.typeOf(loss);
  if (type?.shape?.every((dim) => dim === 1) && dtypeInfo(type.dtype).kind === "float") return;
  throw new TersorError(
    "shape-mismatch",
    `gradient of "${loss.name}": expected a float type of one element, got ${typeToString(type)}. Reduce it to a scalar first (ReduceMean, ReduceSum).`,
  );
}

function wantedValues(graph: Graph, names: GradientOptions["with"]): Value[] {
  if (names === "parameters") return parametersOf(graph);
  if (names !== "inputs") return [...new Set(names)].map((name) => valueNamed(graph, name, "with"));
  return graph.inputs.filter(
    ({ type, isConstant }) => !isConstant && type?.kind === "tensor" && dtypeInfo(type.dtype).kind === "float",
  );
}

function valueNamed(graph: Graph, name: string, option: string): Value {
  const value = graph.find(name);
  if (value) return value;
  const [guess] = nearestNames(
    name,
    [...graph.values].map((each) => each.name),
  );
  const hint = guess === undefined ? "" : ` Did you mean "${guess}"?`;
  throw new TersorError("bad-data", `gradient: "${option}" names "${name}", which the model does not have.${hint}`);
}

/** A gradient under a name of its own: it may be a constant, an output already or the gradient of two values. */
function asOutput(op: Emitter, value: Value, hint: string, forward: ReadonlySet<Value>): Value {
  const { graph } = op;
  const name = graph.uniqueName(hint);
  if (value.producer && !value.isOutput && !forward.has(value)) {
    graph.rename(value, name);
    return value;
  }
  return graph.addNode({ opType: "Identity", inputs: [value], outputs: [name] }).output();
}
