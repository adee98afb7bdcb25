/** @file A unit as a model of its own: from the values that reach it to its output. */
import type { Model } from "../../../ir/model.ts";
import type { Node } from "../../../ir/node.ts";
import { tensorType } from "../../../ir/types.ts";
import type { Value } from "../../../ir/value.ts";
import { removeDeadCode } from "../../../passes/dead-code.ts";
import type { Outputs } from "../../../runtime/io.ts";
import type { HostTensor } from "../../../tensor/host-tensor.ts";
import { append } from "../../../util/append.ts";
import { dependents, type Unit, varyingValues } from "./units.ts";

/** Names of the values that reach a unit from outside, constants apart; undefined where it holds graphs of its own. */
export function unitInputs(model: Model, unit: Unit): string[] | undefined {
  const inside = insideOf(model, unit);
  if ([...inside].some((node) => node.subgraphs().length > 0)) return undefined;
  return reaching(model, inside).map(({ name }) => name);
}

/** @param given a value for each of {@link unitInputs}, which tells its type; inputs of the result have the same names */
export function extractUnit(model: Model, unit: Unit, given: Outputs): Model {
  const copy = model.clone();
  const { graph } = copy;
  const inside = insideOf(copy, unit);
  const outside = reaching(copy, inside);
  const output = graph.find(unit.output) as Value;
  for (const input of [...graph.inputs]) if (!outside.includes(input)) graph.removeInput(input);
  for (const each of [...graph.outputs]) graph.removeOutput(each);
  for (const value of outside) {
    const tensor = given[value.name] as HostTensor;
    const type = tensorType(
      tensor.dtype,
      tensor.dims.map(() => null),
    );
    if (value.isInput) {
      value.type = type;
      continue;
    }
    const { name } = value;
    graph.rename(value, graph.uniqueName(`${name}_outside`));
    const input = graph.addValue(name, type);
    graph.addInput(input);
    for (const { node, index } of [...value.uses]) if (inside.has(node)) node.setInput(index, input);
  }
  graph.addOutput(output);
  return removeDeadCode(copy).model;
}

/** Values that nodes read and others compute, constants apart. */
function reaching({ graph }: Model, inside: ReadonlySet<Node>): Value[] {
  const varying = varyingValues(graph);
  const read = [...inside].flatMap(({ inputs }) => inputs);
  return [...new Set(read)].filter(
    (value) => value !== undefined && varying.has(value) && !(value.producer && inside.has(value.producer)),
  ) as Value[];
}

/** The nodes between the weights of a unit and its output. */
function insideOf({ graph }: Model, { codes, output }: Unit): Set<Node> {
  const behind = dependents(
    graph,
    codes.map((name) => graph.find(name) as Value),
  );
  const inside = new Set<Node>();
  const pending: (Value | undefined)[] = [graph.find(output)];
  while (pending.length > 0) {
    const value = pending.pop();
    const producer = value && behind.has(value) ? value.producer : undefined;
    if (!producer || inside.has(producer)) continue;
    inside.add(producer);
    append(pending, producer.inputs);
  }
  return inside;
}
