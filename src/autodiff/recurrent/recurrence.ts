/** @file A recurrence over time steps, as a Scan: as fast as steps written out one by one, in a graph that does not grow with them. */
import { attr } from "../../ir/attribute.ts";
import { Graph } from "../../ir/graph.ts";
import { tensorType } from "../../ir/types.ts";
import type { Value } from "../../ir/value.ts";
import type { Emitter } from "../emitter.ts";

export interface Recurrence {
  readonly count: number;
  /** Whether the last step comes first. */
  readonly reverse: boolean;
  /** What is carried from step to step, as it enters the first one: [batch, …]. */
  readonly carries: readonly Value[];
  /** What each step reads: [count · batch, …], of which it gets [batch, …]. */
  readonly reads: readonly Value[];
  /** One step: what it carries on, and what it gives, [batch, …] each. */
  readonly step: (op: Emitter, carries: readonly Value[], reads: readonly Value[]) => Step;
}

export interface Step {
  readonly carries: readonly Value[];
  readonly gives: readonly Value[];
}

/** Emits all steps: what the last one carries on, and what all give, [count · batch, …] in the order of time. */
export function recurrence(op: Emitter, spec: Recurrence): Step {
  const { carries, gives } = stackedSteps(op, spec);
  return {
    carries,
    gives: gives.map((value) => {
      const [count = 0, batch = 0, ...rest] = op.shape(value);
      return op.reshape(value, [count * batch, ...rest]);
    }),
  };
}

/** As {@link recurrence}, but what the steps give is stacked: [count, batch, …]. */
export function stackedSteps(op: Emitter, { count, reverse, carries, reads, step }: Recurrence): Step {
  const body = new Graph(`${op.subject}.step`, op.graph);
  const inner = op.inside(body);
  inner.subject = `${op.subject}.step`;
  const enter = (hint: string, like: Value, dims: readonly number[]) => {
    const value = body.addValue(`${inner.subject}.${hint}`, tensorType(op.dtype(like), dims));
    body.addInput(value);
    inner.declare(value, value.type);
    return value;
  };
  const batches = reads.map((value) => {
    const [rows = 0, ...rest] = op.shape(value);
    return [rows / count, ...rest];
  });
  const state = carries.map((value) => enter("carry", value, op.shape(value)));
  const now = reads.map((value, i) => enter("read", value, batches[i] as number[]));
  const result = step(inner, state, now);
  const sources = [...result.carries, ...result.gives];
  // An output of a body must be computed in it, and once.
  const own = sources.map((value, i, list) =>
    value.producer && list.indexOf(value) === i
      ? value
      : body.addNode({ opType: "Identity", inputs: [value] }).output(),
  );
  own.forEach((value, i) => {
    value.type = inner.typeOf(sources[i]);
    body.addOutput(value);
  });
  const direction = (length: number) => attr.ints(Array.from({ length }, () => Number(reverse)));
  const node = op.graph.addNode({
    opType: "Scan",
    inputs: [...carries, ...reads.map((value, i) => op.reshape(value, [count, ...(batches[i] as number[])]))],
    outputs: own.map(() => `${op.subject}.scan`),
    attributes: {
      body: attr.graph(body),
      num_scan_inputs: attr.int(reads.length),
      scan_input_directions: direction(reads.length),
      scan_output_directions: direction(result.gives.length),
    },
  });
  const outputs = own.map((_, i) => {
    const type = inner.typeOf(sources[i]);
    const output = node.output(i);
    const dims = type?.shape as readonly number[];
    op.declare(output, type && tensorType(type.dtype, i < carries.length ? dims : [count, ...dims]));
    return output;
  });
  return { carries: outputs.slice(0, carries.length), gives: outputs.slice(carries.length) };
}
