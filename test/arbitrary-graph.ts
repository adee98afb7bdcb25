/**
 * @file Random valid models for property tests: images through Conv, pooling, residuals, Concat, If and Loop, or rows
 * through Gemm and MatMul, with odd names here and there. ONNX Runtime runs every one of them.
 */
import fc from "fast-check";
import { type Attribute, attr } from "../src/ir/attribute.ts";
import { Graph } from "../src/ir/graph.ts";
import { Model } from "../src/ir/model.ts";
import { print } from "../src/ir/text/index.ts";
import { tensorType } from "../src/ir/types.ts";
import type { Value } from "../src/ir/value.ts";
import { float32, fromNumbers, int64, type Tensor } from "../src/tensor/tensor.ts";
import { Rng } from "../src/util/rng.ts";

export interface ArbitraryModelOptions {
  /** Most operations in the main graph. Default 8. */
  readonly maxSteps?: number;
  /** Whether the batch dim may be the symbol "N". Default true. */
  readonly symbolicBatch?: boolean;
  /** Whether If and Loop may occur. Default true. */
  readonly subgraphs?: boolean;
}

/** What is left to chance in one operation: which, on which value, and two choices of its own. */
interface Step {
  readonly op: number;
  readonly on: number;
  readonly a: number;
  readonly b: number;
}

/** A value computed so far and its shape without the batch: [channels, height, width] or [features]. */
interface Known {
  readonly value: Value;
  readonly shape: readonly number[];
}

const pick = fc.nat({ max: 999 });
const stepArbitrary: fc.Arbitrary<Step> = fc.record({ op: pick, on: pick, a: pick, b: pick });

/**
 * Models with the input "x" (float, [batch, 1 to 4, 2 to 6, 2 to 6]) and one or two float outputs; opset 21. Finite for
 * inputs in [-1, 1]. Shrinks towards fewer operations; a counterexample is shown as text.
 */
export function arbitraryModel(options: ArbitraryModelOptions = {}): fc.Arbitrary<Model> {
  const { maxSteps = 8, symbolicBatch = true, subgraphs = true } = options;
  return fc
    .record({
      batch: symbolicBatch ? fc.constantFrom<string | number>("N", 1, 2) : fc.constantFrom<string | number>(1, 2),
      shape: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 2, max: 6 }), fc.integer({ min: 2, max: 6 })),
      seed: fc.nat({ max: 1 << 20 }),
      steps: fc.array(stepArbitrary, { minLength: 1, maxLength: maxSteps }),
      twoOutputs: fc.boolean(),
    })
    .map(({ batch, shape, seed, steps, twoOutputs }) => {
      const builder = new Builder(seed, batch, shape);
      const ops = subgraphs ? [...plainOps, ...controlFlow] : plainOps;
      for (const step of steps) builder.apply(step, ops);
      const model = builder.finish(twoOutputs);
      return Object.assign(model, { [fc.toStringMethod]: () => print(model) });
    });
}

/** Values for the input of a model made by {@link arbitraryModel}, uniform in [-1, 1); a symbolic batch is 2. */
export function arbitraryInput(model: Model, seed = 1): Tensor {
  const type = model.graph.inputs[0]?.type;
  if (type?.kind !== "tensor" || !type.shape) throw new Error("not a model of arbitraryModel");
  const dims = type.shape.map((dim) => (typeof dim === "number" ? dim : 2));
  const rng = new Rng(seed, "input");
  const size = dims.reduce((product, dim) => product * dim, 1);
  return float32(
    dims,
    Float32Array.from({ length: size }, () => rng.uniform() * 2 - 1),
  );
}

const oddNames = ["", "layer1/block.0:0", "float", "a name", 'q"\\', "naïve"];

class Builder {
  readonly graph = new Graph("random");
  readonly rng: Rng;
  readonly #batch: number | string;
  readonly #known: Known[];

  constructor(seed: number, batch: number | string, shape: readonly number[]) {
    this.rng = new Rng(seed, "arbitrary-graph");
    this.#batch = batch;
    const x = this.graph.declare("x", tensorType("float32", [batch, ...shape]));
    this.graph.addInput(x);
    this.#known = [{ value: x, shape }];
  }

  apply(step: Step, ops: readonly Op[]): void {
    const on = this.#known[this.#known.length - 1 - (step.on % Math.min(3, this.#known.length))] as Known;
    const fitting = ops.filter((op) => op.rank === undefined || op.rank === on.shape.length);
    const op = fitting[step.op % fitting.length] as Op;
    this.#known.push(op.build(this, on, step));
  }

  finish(twoOutputs: boolean): Model {
    const { graph } = this;
    const last = this.#known.slice(1).slice(twoOutputs ? -2 : -1);
    for (const { value, shape } of last) {
      value.type = tensorType("float32", [this.#batch, ...shape]);
      graph.addOutput(value);
    }
    const model = new Model(graph);
    model.opsetImports = new Map([["", 21]]);
    model.producerName = "arbitrary-graph";
    return model;
  }

  /** A constant of uniform values whose magnitude keeps a sum over `fan` inputs near 1. */
  weight(dims: readonly number[], fan = 1): Value {
    const size = dims.reduce((product, dim) => product * dim, 1);
    const scale = 1 / Math.sqrt(fan);
    return this.constant(
      "weight",
      float32(
        dims,
        Float32Array.from({ length: size }, () => (this.rng.uniform() * 2 - 1) * scale),
      ),
    );
  }

  constant(hint: string, tensor: Tensor): Value {
    return this.graph.addInitializer(this.#name(hint), tensor);
  }

  node(opType: string, inputs: readonly Value[], attributes: Readonly<Record<string, Attribute>> = {}): Value {
    // ONNX Runtime refuses two nodes of one name, but not nodes without.
    const count = this.graph.nodes.length;
    const name = this.rng.int(4) === 0 ? "" : `${this.#name(opType)}/${count}`;
    return this.graph.addNode({ opType, name, inputs, outputs: [this.#name(opType)], attributes }).output();
  }

  /** Another known value of the same shape, else the same one. */
  peer({ shape, value }: Known, choice: number): Value {
    const peers = this.#known.filter((other) => `${other.shape}` === `${shape}`);
    return peers[choice % peers.length]?.value ?? value;
  }

  #name(hint: string): string {
    return oddNames[this.rng.int(oddNames.length * 4)] || hint;
  }
}

interface Op {
  /** Rank without the batch that it needs. */
  readonly rank?: number;
  build(builder: Builder, on: Known, step: Step): Known;
}

const unaryOps = ["Relu", "Sigmoid", "Tanh", "Neg", "Abs", "Softsign", "Identity"];
const oneOf = <T>(items: readonly T[], choice: number): T => items[choice % items.length] as T;

const unary: Op = {
  build: (b, on, step) => ({ ...on, value: b.node(oneOf(unaryOps, step.a), [on.value]) }),
};

const residual: Op = {
  build: (b, on, step) => {
    const sum = b.node(oneOf(["Add", "Sub"], step.a), [on.value, b.peer(on, step.b)]);
    return { ...on, value: b.node("Tanh", [sum]) };
  },
};

/** With a constant of one element, of one per channel, or of the whole shape. */
const affine: Op = {
  build: (b, on, step) => {
    const perChannel = [on.shape[0] as number, ...on.shape.slice(1).map(() => 1)];
    const dims = oneOf([[], perChannel, [1, ...on.shape]], step.b);
    return { ...on, value: b.node(oneOf(["Mul", "Add"], step.a), [on.value, b.weight(dims)]) };
  },
};

const conv: Op = {
  rank: 3,
  build: (b, { value, shape }, step) => {
    const [c, h, w] = shape as [number, number, number];
    const isDepthwise = step.a % 4 === 0;
    const size = step.a % 3 === 0 ? 1 : 3;
    const out = isDepthwise ? c : 1 + (step.b % 6);
    const weight = b.weight([out, isDepthwise ? 1 : c, size, size], (isDepthwise ? 1 : c) * size * size);
    const bias = step.b % 2 === 0 ? [b.weight([out])] : [];
    const pad = (size - 1) / 2;
    const attributes = {
      kernel_shape: attr.ints([size, size]),
      pads: attr.ints([pad, pad, pad, pad]),
      group: attr.int(isDepthwise ? c : 1),
    };
    return { value: b.node("Conv", [value, weight, ...bias], attributes), shape: [out, h, w] };
  },
};

const pool: Op = {
  rank: 3,
  build: (b, { value, shape }, step) => {
    const [c, h, w] = shape as [number, number, number];
    if (step.b % 3 === 0) return { value: b.node("GlobalAveragePool", [value]), shape: [c, 1, 1] };
    if (h < 2 || w < 2) return { value: b.node("Relu", [value]), shape };
    const attributes = { kernel_shape: attr.ints([2, 2]), strides: attr.ints([2, 2]) };
    const pooled = b.node(oneOf(["MaxPool", "AveragePool"], step.a), [value], attributes);
    return { value: pooled, shape: [c, Math.floor(h / 2), Math.floor(w / 2)] };
  },
};

const concat: Op = {
  build: (b, on, step) => {
    const [first, ...rest] = on.shape as [number, ...number[]];
    if (first > 32) return { ...on, value: b.node("Neg", [on.value]) };
    const value = b.node("Concat", [on.value, b.peer(on, step.a)], { axis: attr.int(1) });
    return { value, shape: [2 * first, ...rest] };
  },
};

const flatten: Op = {
  rank: 3,
  build: (b, { value, shape }, step) => {
    const features = shape.reduce((product, dim) => product * dim, 1);
    const flat =
      step.a % 2 === 0
        ? b.node("Flatten", [value], { axis: attr.int(1) })
        : b.node("Reshape", [value, b.constant("shape", int64([2], [0, -1]))]);
    return { value: flat, shape: [features] };
  },
};

const unflatten: Op = {
  rank: 1,
  build: (b, { value, shape }) => {
    const [features] = shape as [number];
    const channels = features % 4 === 0 ? 4 : features;
    const to = b.constant("shape", int64([4], [0, channels, features / channels, 1]));
    return { value: b.node("Reshape", [value, to]), shape: [channels, features / channels, 1] };
  },
};

const linear: Op = {
  rank: 1,
  build: (b, { value, shape }, step) => {
    const [inputs] = shape as [number];
    const out = 1 + (step.b % 8);
    if (step.a % 3 === 0) return { value: b.node("MatMul", [value, b.weight([inputs, out], inputs)]), shape: [out] };
    const transB = step.a % 3 === 1;
    const weight = b.weight(transB ? [out, inputs] : [inputs, out], inputs);
    const bias = step.b % 2 === 0 ? [b.weight([out])] : [];
    const gemm = b.node("Gemm", [value, weight, ...bias], transB ? { transB: attr.int(1) } : {});
    return { value: gemm, shape: [out] };
  },
};

const softmax: Op = {
  rank: 1,
  build: (b, on) => ({ ...on, value: b.node("Softmax", [on.value], { axis: attr.int(-1) }) }),
};

/** Both branches read a value of the graph around; the condition is a constant. */
const conditional: Op = {
  build: (b, on, step) => {
    const branch = (name: string, opType: string): Attribute => {
      const graph = new Graph(name, b.graph);
      const [out] = graph.addNode({ opType, inputs: [on.value, b.weight([])], outputs: [`${name}_out`] }).outputs;
      if (out) graph.addOutput(out);
      return attr.graph(graph);
    };
    const condition = b.constant("condition", fromNumbers("bool", [], [step.a % 2]));
    const attributes = { then_branch: branch("then", "Add"), else_branch: branch("else", "Mul") };
    return { ...on, value: b.node("If", [condition], attributes) };
  },
};

/** Two rounds of tanh(state + value of the graph around). */
const loop: Op = {
  build: (b, on) => {
    const body = new Graph("body", b.graph);
    const round = body.addValue("round", tensorType("int64", []));
    const going = body.addValue("going", tensorType("bool", []));
    const state = body.addValue("state", tensorType("float32"));
    for (const input of [round, going, state]) body.addInput(input);
    const sum = body.addNode({ opType: "Add", inputs: [state, on.value], outputs: ["sum"] }).output();
    const next = body.addNode({ opType: "Tanh", inputs: [sum], outputs: ["next"] }).output();
    body.addOutput(body.addNode({ opType: "Identity", inputs: [going], outputs: ["go_on"] }).output());
    body.addOutput(next);
    const rounds = b.constant("rounds", int64([], [2]));
    const always = b.constant("always", fromNumbers("bool", [], [1]));
    return { ...on, value: b.node("Loop", [rounds, always, on.value], { body: attr.graph(body) }) };
  },
};

const plainOps: readonly Op[] = [unary, residual, affine, conv, pool, concat, flatten, unflatten, linear, softmax];
const controlFlow: readonly Op[] = [conditional, loop];
