/**
 * @file Compares inferred shapes with those that values have when the model runs. Values in the branch of an If that is
 * taken are compared too: the branch is inlined, since runtimes show values of the main graph only.
 */
import { Graph } from "../dist/ir/graph.js";
import { cloneGraph, Model } from "../dist/ir/model.js";
import { infer } from "../dist/ops/infer.js";
import { bindDim } from "../dist/ops/symbolic/dim.js";
import { openSession } from "./zoo.mjs";

/**
 * Infers the model twice, with the sizes that its inputs leave open as symbols and with those of `feeds`, and runs it.
 *
 * @param {Model} model
 * @param {Readonly<Record<string, {dims: readonly number[]}>>} feeds
 * @returns {Promise<{values: number, given: number, symbolic: number, disagreements: string[]}>} how many values were seen
 *   at run time, of how many the shape was known given the sizes, and how many followed from the symbols
 */
export async function compareShapes(model, feeds) {
  const seen = await runTimeShapes(model, feeds);
  const sizes = Object.fromEntries(Object.entries(feeds).map(([name, { dims }]) => [name, dims]));
  const given = infer(model, { inputShapes: sizes }).types;
  const { types: symbolic } = infer(model);
  const bindings = bindingsOf(model, symbolic, feeds);
  const counts = { given: 0, symbolic: 0 };
  const disagreements = [];
  for (const [value, { dtype, dims }] of seen) {
    const inferred = { given: given.get(value), symbolic: symbolic.get(value) };
    for (const [kind, type] of Object.entries(inferred)) {
      const shape = type?.shape?.map((dim) => (typeof dim === "string" ? bindDim(dim, bindings) : dim));
      const fits =
        !shape || (shape.length === dims.length && shape.every((dim, i) => !isNumber(dim) || dim === dims[i]));
      if ((type && type.dtype !== dtype) || !fits)
        disagreements.push(
          `"${value.name}" (${kind}): ${type.dtype}[${shape}] inferred, ${dtype}[${dims}] at run time`,
        );
      if (fits && shape?.every(isNumber)) counts[kind]++;
    }
  }
  return { values: seen.size, ...counts, disagreements };
}

const isNumber = (dim) => typeof dim === "number";

/** Sizes of the symbols that inference gave the inputs. */
function bindingsOf(model, types, feeds) {
  const bindings = new Map();
  for (const input of model.graph.inputs)
    types.get(input)?.shape?.forEach((dim, axis) => {
      if (typeof dim === "string" && feeds[input.name]) bindings.set(dim, feeds[input.name].dims[axis]);
    });
  return bindings;
}

/** Type and dims of every tensor that nodes compute, by value of `model`. */
async function runTimeShapes(model, feeds) {
  const taken = new Map();
  for (;;) {
    const { flat, twins, open } = flatten(model, taken);
    const wanted =
      open.length > 0 ? open.map((node) => node.input(0)) : [...twins.keys()].filter((value) => value.producer);
    const outputs = new Set(flat.graph.outputs);
    for (const twin of wanted.map((value) => twins.get(value))) {
      if (!outputs.has(twin)) flat.graph.addOutput(twin);
      outputs.add(twin);
    }
    const results = await run(flat, feeds);
    const result = (value) => results[twins.get(value).name];
    if (open.length === 0) return new Map(wanted.flatMap((value) => (result(value) ? [[value, result(value)]] : [])));
    for (const node of open) taken.set(node, Boolean(result(node.input(0)).data[0]));
  }
}

async function run(model, feeds) {
  const session = await openSession(model, { optimization: "disabled" });
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

/**
 * The model with branches inlined as far as it is known which are taken; `twins`: its values by those of `model`;
 * `open`: the If nodes of `model` whose condition is yet to be found out.
 */
function flatten(model, taken) {
  const graph = new Graph(model.graph.name);
  const twins = new Map();
  const open = [];
  const twinOf = (value) => value && (twins.get(value) ?? value);
  const add = (source) => {
    for (const value of source.values)
      if (value.tensor) twins.set(value, graph.addInitializer(value.name, value.tensor));
    for (const node of source.nodes) {
      const branch = taken.has(node) && node.attributes.get(taken.get(node) ? "then_branch" : "else_branch").value;
      if (branch) {
        add(branch);
        for (const [i, output] of node.outputs.entries()) if (output) twins.set(output, twinOf(branch.outputs[i]));
        continue;
      }
      if (node.opType === "If") open.push(node);
      const attributes = new Map(
        [...node.attributes].map(([name, attribute]) => [
          name,
          attribute.type === "graph" ? { ...attribute, value: cloneGraph(attribute.value, graph, twins) } : attribute,
        ]),
      );
      const { opType, domain, overload, name } = node;
      const inputs = node.inputs.map(twinOf);
      const outputs = node.outputs.map((output) => output?.name);
      const twin = graph.addNode({ opType, domain, overload, name, inputs, outputs, attributes });
      for (const [i, output] of node.outputs.entries()) if (output) twins.set(output, twin.outputs[i]);
    }
  };
  for (const input of model.graph.inputs) {
    if (input.tensor) continue;
    const twin = graph.declare(input.name, input.type);
    graph.addInput(twin);
    twins.set(input, twin);
  }
  add(model.graph);
  const flat = new Model(graph);
  flat.irVersion = Math.max(model.irVersion, 4);
  flat.opsetImports = new Map(model.opsetImports);
  flat.functions = model.functions;
  return { flat, twins, open };
}
