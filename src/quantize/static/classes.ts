/** @file Which values share scale and zero point, and which of them calibration has to see. */
import type { Range } from "../../calibrate/collector.ts";
import type { Value } from "../../ir/value.ts";
import { opKey } from "../layers/sites.ts";
import type { Flow, Unit } from "./flow.ts";
import { rescaleOf } from "./rules.ts";

const unbounded: Range = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };

/** Values with one set of codes. */
export interface CodeClass {
  /** Values whose ranges together are the range of all. */
  readonly observed: readonly Value[];
  readonly bounds: Range;
  /** A range that is known without data. */
  readonly known?: Range;
}

/** A value with codes. */
export interface CodedValue {
  readonly value: Value;
  readonly class: CodeClass;
  /** The value is this times what the class's scale says. */
  readonly factor: number;
}

interface Draft {
  observed: Value[];
  bounds: Range;
  known?: Range;
}

/** The class of every value that carries codes. */
export function codeClasses(flow: Flow): ReadonlyMap<Value, CodedValue> {
  const coded = new Map<Value, CodedValue>();
  const add = (value: Value, draft: Draft, factor = 1) =>
    coded.set(value, { value, class: draft as CodeClass, factor });
  const joined = joinedInputs(flow);
  const draftOf = ({ rule, output, bounds }: Unit): Draft =>
    rule.range ? { observed: [], bounds, known: rule.range } : { observed: [output], bounds };
  for (const value of flow.entries) add(value, { observed: [value], bounds: unbounded });
  for (const unit of flow.coded) if (!joined.has(unit)) add(unit.output, draftOf(unit));
  for (const [unit, concat] of joined) {
    const shared = coded.get(concat.output)?.class as Draft;
    shared.bounds = unit.bounds;
    add(unit.output, shared);
  }
  for (const node of [...flow.moving, ...flow.rescaling].sort(byPlace(flow))) {
    const rescale = rescaleOf(node);
    const source = coded.get(rescale?.input ?? node.input(0)) as CodedValue;
    for (const value of node.outputs)
      if (value) coded.set(value, { value, class: source.class, factor: source.factor * (rescale?.factor ?? 1) });
  }
  return coded;
}

function byPlace(flow: Flow) {
  const graph = (flow.moving[0] ?? flow.rescaling[0])?.graph;
  const place = new Map(graph?.nodes.map((node, index) => [node, index]));
  return (a: object, b: object) => (place.get(a as never) ?? 0) - (place.get(b as never) ?? 0);
}

/** Units whose result only a Concat reads, with that Concat: they may as well have its codes from the start. */
function joinedInputs(flow: Flow): ReadonlyMap<Unit, Unit> {
  const byOutput = new Map([...flow.coded].map((unit) => [unit.output, unit]));
  const joined = new Map<Unit, Unit>();
  for (const concat of flow.coded) {
    if (!isConcat(concat) || concat.absorbed.length > 0) continue;
    const units = concat.node.inputs.map((value) => value && byOutput.get(value));
    const [first] = units;
    // What Relu or Clip cut is recognized by its range: mixed with others it would be lost.
    const isAlike = (unit: Unit | undefined): unit is Unit =>
      unit !== undefined &&
      !isConcat(unit) &&
      !unit.rule.range &&
      unit.bounds.min === first?.bounds.min &&
      unit.bounds.max === first.bounds.max &&
      unit.output.uses.size === 1 &&
      !unit.output.isOutput;
    if (units.every(isAlike)) for (const unit of units) joined.set(unit, concat);
  }
  return joined;
}

function isConcat({ node }: Unit): boolean {
  return opKey(node) === "Concat";
}
