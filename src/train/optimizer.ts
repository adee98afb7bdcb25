/** @file Optimizers, emitted as standard operators: a parameter, its gradient and its state in, the next ones out. */
import * as z from "zod";
import type { Emitter } from "../autodiff/emitter.ts";
import type { Value } from "../ir/value.ts";

export const optimizerOptions = z.strictObject({
  name: z
    .enum(["sgd", "momentum", "nesterov", "adam", "adamw"])
    .default("adamw")
    .describe("how gradients change weights"),
  momentum: z
    .number()
    .min(0)
    .lt(1)
    .default(0.9)
    .describe("momentum and nesterov: share of the last change that is kept"),
  beta1: z.number().min(0).lt(1).default(0.9).describe("adam, adamw: decay of the mean of gradients"),
  beta2: z.number().min(0).lt(1).default(0.999).describe("adam, adamw: decay of the mean of squared gradients"),
  epsilon: z.number().positive().default(1e-8).describe("adam, adamw: keeps the division finite"),
  weightDecay: z
    .number()
    .min(0)
    .default(0)
    .describe("pull of weights towards zero; not on vectors, such as biases and the scales of norms"),
});

export type OptimizerOptions = z.input<typeof optimizerOptions>;
export type OptimizerSettings = z.output<typeof optimizerOptions>;

/** Scalars that are fed at every step, by name. */
export type StepScalars = Readonly<Record<string, number>>;

interface Update {
  readonly op: Emitter;
  readonly w: Value;
  /** Gradient, with clipping applied. */
  readonly g: Value;
  readonly state: readonly Value[];
  /** What {@link OptimizerRule.scalars} said, as values. */
  readonly scalar: (name: string) => Value;
  readonly settings: OptimizerSettings;
  /** Weight decay of this parameter. */
  readonly decay: number;
}

export interface OptimizerRule {
  readonly summary: string;
  /** Names of the tensors kept for every parameter: of its shape, zero at first. */
  readonly state: readonly string[];
  /** @param step counted from 1 */
  scalars(step: number, rate: number, settings: OptimizerSettings): StepScalars;
  /** The next parameter, and its next state. */
  update(call: Update): readonly [w: Value, ...state: Value[]];
}

/** w' = w − rate · change */
const moved = ({ op, w, scalar }: Update, change: Value) => op.Sub(w, op.Mul(change, scalar("rate")));
/** g + decay · w: weight decay as a gradient, as SGD and Adam have it. */
const decayed = ({ op, w, g, decay }: Update) => (decay === 0 ? g : op.Add(g, op.Mul(w, decay)));

// v' = μ v + g
const velocity = (call: Update, g: Value) =>
  call.op.Add(call.op.Mul(call.state[0] as Value, call.settings.momentum), g);

/** Adam (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980): α = rate √(1 − β₂ᵗ) / (1 − β₁ᵗ), ε' = ε √(1 − β₂ᵗ). */
const adamScalars = (step: number, rate: number, { beta1, beta2, epsilon }: OptimizerSettings) => {
  const correction = Math.sqrt(1 - beta2 ** step);
  return { rate, alpha: (rate * correction) / (1 - beta1 ** step), epsilon: epsilon * correction };
};

// m' = β₁ m + (1 − β₁) g    v' = β₂ v + (1 − β₂) g²    change = α m' / (√v' + ε')
function adam({ op, state, scalar, settings: { beta1, beta2 } }: Update, g: Value) {
  const [m, v] = state as [Value, Value];
  const m2 = op.Add(op.Mul(m, beta1), op.Mul(g, 1 - beta1));
  const v2 = op.Add(op.Mul(v, beta2), op.Mul(op.Mul(g, g), 1 - beta2));
  const change = op.Mul(op.Div(m2, op.Add(op.Sqrt(v2), scalar("epsilon"))), scalar("alpha"));
  return { m2, v2, change };
}

/** Scalars that the learning rate is a factor of. */
export const rateScalars: ReadonlySet<string> = new Set(["rate", "alpha"]);

const rateOnly = (_: number, rate: number) => ({ rate });

export const optimizers: Readonly<Record<OptimizerSettings["name"], OptimizerRule>> = {
  sgd: {
    summary: "the gradient as it is",
    state: [],
    scalars: rateOnly,
    update: (call) => [moved(call, decayed(call))],
  },
  momentum: {
    summary: "a running sum of gradients: v' = μ v + g",
    state: ["velocity"],
    scalars: rateOnly,
    update: (call) => {
      const v = velocity(call, decayed(call));
      return [moved(call, v), v];
    },
  },
  // The look-ahead form of Sutskever et al. 2013 as frameworks write it: change = g + μ v'.
  nesterov: {
    summary: "the same, looking ahead: g + μ v'",
    state: ["velocity"],
    scalars: rateOnly,
    update: (call) => {
      const g = decayed(call);
      const v = velocity(call, g);
      return [moved(call, call.op.Add(g, call.op.Mul(v, call.settings.momentum))), v];
    },
  },
  adam: {
    summary: "each weight by the sizes of its own gradients (Kingma & Ba 2015); weight decay as a gradient",
    state: ["mean", "square"],
    scalars: adamScalars,
    update: (call) => {
      const { m2, v2, change } = adam(call, decayed(call));
      return [call.op.Sub(call.w, change), m2, v2];
    },
  },
  // Decoupled weight decay: w' = w (1 − rate · decay) − change. Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101
  adamw: {
    summary: "the same, with weight decay apart from the gradient (Loshchilov & Hutter 2019)",
    state: ["mean", "square"],
    scalars: adamScalars,
    update: (call) => {
      const { op, w, g, decay, scalar } = call;
      const { m2, v2, change } = adam(call, g);
      const kept = decay === 0 ? w : op.Sub(w, op.Mul(w, op.Mul(scalar("rate"), decay)));
      return [op.Sub(kept, change), m2, v2];
    },
  },
};
