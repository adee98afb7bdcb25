/** @file Gradients as numbers of channels: of the weights that make them, and of gates in front of what reads them. */
import type { Emitter } from "../../../autodiff/emitter.ts";
import type { Value } from "../../../ir/value.ts";
import { fromNumbers } from "../../../tensor/tensor.ts";
import type { MeasureContext, Measured } from "../../criteria/criterion.ts";
import type { Analysis, PortRow } from "../../graph/analysis.ts";
import { maskSums } from "../../graph/cut.ts";
import { addByAtom, byAtom } from "../../graph/per-atom.ts";
import { type GradientPass, type GradientPassOptions, gradientPass } from "./gradient-pass.ts";

/** Sums over all axes but one. */
export function sumOthers(op: Emitter, value: Value, axis: number): Value {
  const others = Array.from({ length: op.rank(value) }, (_, i) => i).filter((i) => i !== axis);
  return others.length === 0 ? value : op.ReduceSum(value, others, { keepdims: 0 });
}

/**
 * The mean over batches of what `join` makes of Σ `emit(w, g)`, summed over the weights of a channel, for every layer of the main graph that makes channels.
 */
export async function weightGradients(
  context: MeasureContext,
  objective: GradientPassOptions["objective"],
  emit: (op: Emitter, w: Value, g: Value) => Value,
  join: (sum: number) => number,
): Promise<Measured> {
  const { analysis, data, seed } = context;
  const ports = [...new Set(analysis.made.map(({ port }) => port))].filter(
    ({ value }) => value.tensor?.dtype === "float32" && analysis.model.graph.find(value.name) === value,
  );
  const sums = new Map<PortRow, Float64Array>();
  const probes = ports.map(({ value, axis }) => ({
    of: value.name,
    emit: (op: Emitter, w: Value, g: Value) => sumOthers(op, emit(op, w, g), axis),
  }));
  const add = (seen: readonly (Float32Array | undefined)[]) =>
    ports.forEach((port, at) => {
      const numbers = seen[at];
      if (!numbers) return;
      const own = sums.get(port) ?? new Float64Array(port.size);
      sums.set(port, own);
      numbers.forEach((x, i) => {
        own[i] = (own[i] as number) + join(x);
      });
    });
  const pass = await gradientPass(analysis.model, probes, { data, objective, seed, add });
  return {
    of: (port) => sums.get(port)?.map((x) => x / pass.batches),
    note: describe(pass),
  };
}

/**
 * The mean over batches of the squared gradient of an atom's gate: a factor of 1 in front of everything that sums over its indices, wherever
 * they are. Setting it to 0 is to remove the atom.
 */
export async function gateGradients(context: MeasureContext): Promise<Measured> {
  const { data, seed, objective } = context;
  const gated = context.fresh();
  const gates = maskSums(gated, ({ size }, dtype, dims) =>
    dtype === "float32" ? fromNumbers(dtype, dims, new Float32Array(size).fill(1)) : undefined,
  ).filter(({ mask }) => gated.model.graph.find(mask.name) === mask);
  const sums = new Map<number, number>();
  const probes = gates.map(({ mask, port }) => ({
    of: mask.name,
    emit: (op: Emitter, _: Value, g: Value) => op.reshape(g, [port.size]),
  }));
  const add = (seen: readonly (Float32Array | undefined)[]) => {
    const batch = new Map<number, number>();
    gates.forEach(({ port }, at) => {
      const numbers = seen[at];
      if (numbers) addByAtom(gated, port, numbers, batch);
    });
    for (const [atom, x] of batch) sums.set(atom, (sums.get(atom) ?? 0) + x * x);
  };
  const pass = await gradientPass(gated.model, probes, { data, objective, seed, add });
  for (const [atom, x] of sums) sums.set(atom, x / pass.batches);
  // Atoms have the same numbers in both analyses.
  return { of: (port: PortRow) => byAtom(context.analysis as Analysis, port, sums), note: describe(pass) };
}

const named: Readonly<Record<GradientPass["objective"], string>> = {
  labels: "the cross-entropy on labels",
  outputs: "the model's own outputs",
  curvature: "the curvature of cross-entropy",
};

/** What was differentiated, in a sentence. */
export function describe({ objective, samples, batches }: GradientPass): string {
  const each = samples > batches ? `, ${batches} batches` : "";
  return `gradients of ${named[objective]}: ${samples} samples${each}`;
}
