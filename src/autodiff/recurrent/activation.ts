/** @file Activation functions of recurrent layers, with their slopes. */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { TersorError } from "../../util/errors.ts";
import type { Emitter } from "../emitter.ts";

/** y = f(z) and dy/dz, of one shape. */
export interface Activated {
  readonly value: Value;
  readonly slope: Value;
}

export interface Activation {
  /** Of `z`, the sum that enters it. */
  readonly of: (op: Emitter, z: Value) => Activated;
  /** The slope, from the value alone; undefined where that does not tell. */
  readonly slopeAt: ((op: Emitter, y: Value) => Value) | undefined;
}

interface Family {
  /** Defaults of alpha and beta; a function without one takes none from the node's lists. */
  readonly alpha?: number;
  readonly beta?: number;
  readonly apply: (op: Emitter, z: Value, alpha: number, beta: number) => Activated;
  readonly slopeAt?: (op: Emitter, y: Value) => Value;
}

function isPositive(op: Emitter, z: Value): Value {
  return op.mask(op.Greater(z, 0), z);
}

const sigmoidSlope = (op: Emitter, y: Value) => op.Sub(y, op.Mul(y, y));
const tanhSlope = (op: Emitter, y: Value) => op.Sub(op.like(y, 1), op.Mul(y, y));

const families: Readonly<Record<string, Family>> = {
  sigmoid: {
    apply: (op, z) => {
      const value = op.Sigmoid(z);
      return { value, slope: sigmoidSlope(op, value) };
    },
    slopeAt: sigmoidSlope,
  },
  tanh: {
    apply: (op, z) => {
      const value = op.Tanh(z);
      return { value, slope: tanhSlope(op, value) };
    },
    slopeAt: tanhSlope,
  },
  relu: { apply: (op, z) => ({ value: op.Relu(z), slope: isPositive(op, z) }) },
  leakyrelu: {
    alpha: 0.01,
    apply: (op, z, alpha) => {
      const slope = op.Where(op.Greater(z, 0), op.like(z, 1), op.like(z, alpha));
      return { value: op.Mul(z, slope), slope };
    },
  },
  thresholdedrelu: {
    alpha: 1,
    apply: (op, z, alpha) => {
      const slope = op.mask(op.Greater(z, alpha), z);
      return { value: op.Mul(z, slope), slope };
    },
  },
  scaledtanh: {
    alpha: 1,
    beta: 1,
    apply: (op, z, alpha, beta) => {
      const y = op.Tanh(op.Mul(z, beta));
      return { value: op.Mul(y, alpha), slope: op.Mul(op.Sub(op.like(z, 1), op.Mul(y, y)), alpha * beta) };
    },
  },
  hardsigmoid: {
    alpha: 0.2,
    beta: 0.5,
    apply: (op, z, alpha, beta) => {
      const line = op.Add(op.Mul(z, alpha), beta);
      const y = op.Clip(line, 0, 1);
      return { value: y, slope: op.Mul(op.mask(op.Equal(line, y), z), alpha) };
    },
  },
  affine: {
    alpha: 1,
    beta: 0,
    apply: (op, z, alpha, beta) => ({
      value: op.Add(op.Mul(z, alpha), beta),
      slope: op.Expand(op.like(z, alpha), op.shape(z)),
    }),
  },
  elu: {
    alpha: 1,
    apply: (op, z, alpha) => {
      const exponential = op.Mul(op.Exp(op.Clip(z, undefined, 0)), alpha);
      const above = op.Greater(z, 0);
      return {
        value: op.Where(above, z, op.Sub(exponential, alpha)),
        slope: op.Where(above, op.like(z, 1), exponential),
      };
    },
  },
  softsign: {
    apply: (op, z) => {
      const inverse = op.Reciprocal(op.Add(op.Abs(z), 1));
      return { value: op.Mul(z, inverse), slope: op.Mul(inverse, inverse) };
    },
  },
  softplus: { apply: (op, z) => ({ value: op.Softplus(z), slope: op.Sigmoid(z) }) },
};

/**
 * The functions of a recurrent node, `defaults.length` for each direction, its clip applied to what enters them, but for an LSTM's
 * cell state: ONNX Runtime does not clip that. Alphas and betas go to the functions that take one, in order.
 * @throws unsupported-op for a function that ONNX does not list
 */
export function activationsOf(node: Node, defaults: readonly string[], directions: number): Activation[] {
  const decoder = new TextDecoder();
  const given = node.get("activations", "strings")?.map((text) => decoder.decode(text));
  const names = given ?? Array.from({ length: directions }, () => defaults).flat();
  const alphas = [...(node.get("activation_alpha", "floats") ?? [])];
  const betas = [...(node.get("activation_beta", "floats") ?? [])];
  const clip = node.float("clip", 0);
  return names.map((name, at) => {
    const family = families[name.toLowerCase()];
    if (!family)
      throw new TersorError(
        "unsupported-op",
        `${node}: activation: expected one of ${Object.keys(families).join(", ")}, got "${name}". Its slope is not known.`,
      );
    const alpha = family.alpha === undefined ? 0 : (alphas.shift() ?? family.alpha);
    const beta = family.beta === undefined ? 0 : (betas.shift() ?? family.beta);
    if (clip <= 0 || at % defaults.length === 2)
      return { of: (op, z) => family.apply(op, z, alpha, beta), slopeAt: family.slopeAt };
    const clipped = (op: Emitter, z: Value) => {
      const inside = op.Clip(z, -clip, clip);
      const { value, slope } = family.apply(op, inside, alpha, beta);
      return { value, slope: op.Mul(slope, op.mask(op.Equal(z, inside), z)) };
    };
    return { of: clipped, slopeAt: undefined };
  });
}

/** What of an activation a step has to keep: its slope too, where the value does not tell. */
export function keptOf({ slopeAt }: Activation, { value, slope }: Activated): readonly Value[] {
  return slopeAt ? [value] : [value, slope];
}

/** Takes from the front of a list what {@link keptOf} put there. */
export function takeKept(op: Emitter, { slopeAt }: Activation, kept: Value[]): Activated {
  const value = kept.shift() as Value;
  return { value, slope: slopeAt ? slopeAt(op, value) : (kept.shift() as Value) };
}
