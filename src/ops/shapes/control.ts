/** @file Shape rules: operators with subgraphs. */
import type { Dim, Shape } from "../../ir/types.ts";
import { tensorType } from "../../ir/types.ts";
import type { BodyInput, BodyOutput, BodyResult, Call, MaybeType, ShapeRule, ShapeRules } from "./call.ts";
import { eitherType } from "./merge.ts";

/** Rounds after which loop-carried values count as unknown; a type can only lose dims, its rank, then itself. */
const ROUND_LIMIT = 4;

/**
 * The branch that a known condition picks, or that alone fits its inputs; else what holds for both.
 * @throws the misfit of the branch that is taken.
 */
export function takenBranch(call: Call, then: BodyResult, otherwise: BodyResult): BodyResult | undefined {
  const condition = call.scalar(0);
  const taken =
    condition !== null
      ? condition !== 0
        ? then
        : otherwise
      : then.misfit
        ? otherwise
        : otherwise.misfit
          ? then
          : undefined;
  if (taken?.misfit) throw taken.misfit;
  return taken;
}

const conditional: ShapeRule = (call) => {
  const then = call.body("then_branch", []);
  const otherwise = call.body("else_branch", []);
  const taken = takenBranch(call, then, otherwise);
  return call.node.outputs.map((_, i) =>
    taken ? taken.outputs[i]?.type : eitherType(then.outputs[i]?.type, otherwise.outputs[i]?.type),
  );
};

/**
 * Runs a body until the types of what it carries from one round to the next are stable: a dim that changes is unknown.
 * Carried values stand from `from` on among the body's outputs.
 */
function stable(
  call: Call,
  carried: readonly MaybeType[],
  inputs: (carried: readonly MaybeType[]) => readonly BodyInput[],
  from: number,
): { readonly carried: readonly MaybeType[]; readonly outputs: readonly BodyOutput[] } {
  let types = carried;
  for (let round = 0; ; round++) {
    const { outputs, misfit } = call.body("body", inputs(types));
    if (misfit) throw misfit;
    const next = types.map((type, i) => eitherType(type, outputs[from + i]?.type));
    const settled = next.every((type, i) => equalTypes(type, types[i]));
    if (settled) return { carried: types, outputs };
    types = round < ROUND_LIMIT ? next : next.map(() => undefined);
  }
}

function equalTypes(a: MaybeType, b: MaybeType): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Inputs: trip count, condition, carried …; body: iteration, condition, carried … → condition, carried …, scanned …. */
const loop: ShapeRule = (call) => {
  const carried = call.node.inputs.slice(2).map((_, i) => call.types[i + 2]);
  const iteration: BodyInput = { type: tensorType("int64", []) };
  // Inside the body the condition has been found true.
  const condition: BodyInput = { type: tensorType("bool", []), contents: { dtype: "bool", dims: [], values: [1] } };
  const enter = (types: readonly MaybeType[]) => [iteration, condition, ...types.map((type) => ({ type }))];
  const { carried: final, outputs } = stable(call, carried, enter, 1);
  const always = outputs[0]?.contents?.values[0] === 1 && (!call.has(1) || call.scalar(1) === 1);
  const trips: Dim = always && call.has(0) ? call.scalar(0) : null;
  const count = typeof trips === "number" ? Math.max(0, trips) : trips;
  const scanned = outputs.slice(1 + carried.length).map(({ type }) => stacked(type, count, 0));
  return [...final, ...scanned];
};

/** One more dim: `count` slices of a type one after another. */
function stacked(type: MaybeType, count: Dim, axis: number): MaybeType {
  if (type?.kind !== "tensor") return undefined;
  if (!type.shape) return tensorType(type.dtype);
  return tensorType(type.dtype, [...type.shape.slice(0, axis), count, ...type.shape.slice(axis)]);
}

/** States and slices of the scanned inputs go in; states and slices of the scanned outputs come out. */
const scan: ShapeRule = (call) => (call.opset < 9 ? scanBatched(call) : scanFlat(call));

function scanFlat(call: Call): readonly MaybeType[] {
  const count = call.int("num_scan_inputs", 0);
  const states = call.types.slice(0, call.types.length - count);
  const scanned = call.types.slice(states.length);
  const axes = call.node.ints("scan_input_axes") ?? [];
  let length: Dim = null;
  const slices = scanned.map((type, i): BodyInput => {
    const shape = call.shape(states.length + i);
    if (type?.kind !== "tensor" || !shape)
      return { type: type?.kind === "tensor" ? tensorType(type.dtype) : undefined };
    const axis = call.axis(axes[i] ?? 0, shape.length);
    length = call.equal("scanned length", length, shape[axis]);
    return {
      type: tensorType(
        type.dtype,
        shape.filter((_, at) => at !== axis),
      ),
    };
  });
  const enter = (types: readonly MaybeType[]) => [...types.map((type) => ({ type })), ...slices];
  const { carried, outputs } = stable(call, states, enter, 0);
  const outAxes = call.node.ints("scan_output_axes") ?? [];
  return outputs.map(({ type }, i) => {
    if (i < states.length) return carried[i];
    const rank = type?.kind === "tensor" ? type.shape?.length : undefined;
    const axis = rank === undefined ? 0 : call.axis(outAxes[i - states.length] ?? 0, rank, 1);
    return stacked(type, length, axis);
  });
}

/** Opset 8: the first input gives sequence lengths; states are [batch, …], scanned inputs [batch, length, …]. */
function scanBatched(call: Call): readonly MaybeType[] {
  const types = call.types.slice(1);
  const count = call.int("num_scan_inputs", 0);
  const states = types.slice(0, types.length - count).map((type) => without(type, 1));
  const slices = types.slice(states.length).map((type): BodyInput => ({ type: without(type, 2) }));
  const { outputs } = stable(call, states, (carried) => [...carried.map((type) => ({ type })), ...slices], 0);
  const first = call.shape(1 + states.length) ?? call.shape(1);
  const batch = first?.[0] ?? null;
  const length = call.shape(1 + states.length)?.[1] ?? null;
  return outputs.map(({ type }, i) => stacked(i < states.length ? type : stacked(type, length, 0), batch, 0));
}

/** A tensor type without its first `count` dims. */
function without(type: MaybeType, count: number): MaybeType {
  if (type?.kind !== "tensor") return undefined;
  const shape: Shape | undefined = type.shape?.slice(count);
  return tensorType(type.dtype, shape);
}

/** The body maps elements of the sequences (and whole tensors) to elements. */
const sequenceMap: ShapeRule = (call) => {
  const inputs = call.types.map((type): BodyInput => ({ type: type?.kind === "sequence" ? type.element : type }));
  const { outputs, misfit } = call.body("body", inputs);
  if (misfit) throw misfit;
  return outputs.map(({ type }): MaybeType => type && { kind: "sequence", element: type });
};

export const control: ShapeRules = { If: conditional, Loop: loop, Scan: scan, SequenceMap: sequenceMap };

/** Token generation: decoders are custom subgraphs that are left alone; [batch, (returned,) max length]. */
const generated =
  (returned: boolean): ShapeRule =>
  (call) => {
    const batch = call.shape(0)?.[0] ?? null;
    const length = call.scalar(1);
    return [tensorType("int32", returned ? [batch, call.scalar(4), length] : [batch, length])];
  };

export const contribControl: ShapeRules = {
  BeamSearch: generated(true),
  WhisperBeamSearch: generated(true),
  GreedySearch: generated(false),
  Sampling: generated(false),
};
