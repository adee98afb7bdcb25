/**
 * @file Random convolutional networks with inner channels, for tests of pruning: residuals, joined and split channels, shuffles, groups,
 * slices, padding, gates and recurrent heads. The last layer is linear, so that everything before it may be cut.
 */
import fc from "fast-check";
import { type Attribute, attr } from "../src/ir/attribute.ts";
import { Graph } from "../src/ir/graph.ts";
import { Model } from "../src/ir/model.ts";
import { print } from "../src/ir/text/index.ts";
import { tensorType } from "../src/ir/types.ts";
import type { Value } from "../src/ir/value.ts";
import { float32, int64 } from "../src/tensor/tensor.ts";
import { Rng } from "../src/util/rng.ts";

const SIDE = 4;

interface Known {
  readonly value: Value;
  readonly channels: number;
}

interface Choice {
  readonly op: number;
  readonly on: number;
  readonly a: number;
}

/** Models with the input "x" float [1, 3, 4, 4] and the output "y" [1, 3]; opset 21. */
export function prunableModel(maxSteps = 8): fc.Arbitrary<Model> {
  const pick = fc.nat({ max: 999 });
  return fc
    .record({
      seed: fc.nat({ max: 1 << 20 }),
      steps: fc.array(fc.record({ op: pick, on: pick, a: pick }), { minLength: 2, maxLength: maxSteps }),
    })
    .map(({ seed, steps }) => {
      const model = new Builder(seed).build(steps);
      return Object.assign(model, { [fc.toStringMethod]: () => print(model) });
    });
}

class Builder {
  readonly graph = new Graph("prunable");
  readonly #rng: Rng;
  readonly #known: Known[] = [];

  constructor(seed: number) {
    this.#rng = new Rng(seed, "prunable-graph");
  }

  build(steps: readonly Choice[]): Model {
    const { graph } = this;
    const x = graph.declare("x", tensorType("float32", [1, 3, SIDE, SIDE]));
    graph.addInput(x);
    this.#known.push(this.conv({ value: x, channels: 3 }, 8));
    for (const { op, on, a } of steps) {
      const from = this.#known[this.#known.length - 1 - (on % Math.min(3, this.#known.length))] as Known;
      this.#known.push((ops[op % ops.length] as Op)(this, from, a));
    }
    const last = this.#known.at(-1) as Known;
    const flat = this.node("Flatten", [this.node("GlobalAveragePool", [last.value])]);
    const y = this.node(
      "Gemm",
      [flat, this.weight([3, last.channels]), this.weight([3])],
      { transB: attr.int(1) },
      "y",
    );
    y.type = tensorType("float32", [1, 3]);
    graph.addOutput(y);
    const model = new Model(graph);
    model.opsetImports = new Map([["", 21]]);
    return model;
  }

  weight(dims: readonly number[]): Value {
    const size = dims.reduce((product, dim) => product * dim, 1);
    const scale = 1 / Math.sqrt(Math.max(1, size / (dims[0] ?? 1)));
    const data = Float32Array.from({ length: size }, () => (this.#rng.uniform() * 2 - 1) * scale);
    return this.graph.addInitializer("w", float32(dims, data));
  }

  ints(values: readonly number[]): Value {
    return this.graph.addInitializer("ints", int64([values.length], values));
  }

  node(
    opType: string,
    inputs: readonly Value[],
    attributes: Readonly<Record<string, Attribute>> = {},
    name = "v",
  ): Value {
    return this.graph
      .addNode({ opType, name: `n${this.graph.nodes.length}`, inputs, outputs: [name], attributes })
      .output();
  }

  split(value: Value, sizes: readonly number[]): Value[] {
    const outputs = sizes.map(() => "part");
    const node = this.graph.addNode({
      opType: "Split",
      name: `n${this.graph.nodes.length}`,
      inputs: [value, this.ints(sizes)],
      outputs,
      attributes: { axis: attr.int(1) },
    });
    return node.outputs.map((output) => output as Value);
  }

  conv({ value, channels }: Known, out: number, group = 1, size = 3): Known {
    const pad = (size - 1) / 2;
    const weight = this.weight([out, channels / group, size, size]);
    const attributes = { pads: attr.ints([pad, pad, pad, pad]), group: attr.int(group) };
    return { value: this.node("Conv", [value, weight, this.weight([out])], attributes), channels: out };
  }

  peer({ value, channels }: Known, choice: number): Known {
    const peers = this.#known.filter((other) => other.channels === channels && other.value !== value);
    return peers.length > 0 ? (peers[choice % peers.length] as Known) : this.conv({ value, channels }, channels, 1, 1);
  }
}

type Op = (b: Builder, on: Known, a: number) => Known;

const one = (value: Value, { channels }: Known): Known => ({ value, channels });
const grouped = (channels: number): number => [4, 3, 2].find((g) => channels % g === 0) ?? 1;

const ops: readonly Op[] = [
  (b, on, a) => one(b.node(["Relu", "Sigmoid", "HardSwish", "Tanh"][a % 4] as string, [on.value]), on),
  (b, on, a) => b.conv(on, [4, 6, 8][a % 3] as number, 1, a % 2 === 0 ? 1 : 3),
  (b, on) => b.conv(on, on.channels, on.channels),
  (b, on) => b.conv(on, on.channels * 2, on.channels),
  (b, on) => b.conv(on, 2 * grouped(on.channels), grouped(on.channels)),
  (b, on, a) => one(b.node("Add", [on.value, b.peer(on, a).value]), on),
  (b, on, a) => one(b.node("Mul", [on.value, b.node("Sigmoid", [b.peer(on, a).value])]), on),
  (b, on, a) => {
    const other = b.peer(on, a);
    const value = b.node("Concat", [on.value, other.value], { axis: attr.int(1) });
    return b.conv({ value, channels: on.channels * 2 }, 6, 1, 1);
  },
  (b, on) => {
    // Both halves change places.
    const first = Math.ceil(on.channels / 2);
    const [left, right] = b.split(on.value, [first, on.channels - first]);
    return one(b.node("Concat", [right as Value, left as Value], { axis: attr.int(1) }), on);
  },
  (b, on) => {
    // A gate: one half times the other.
    const half = Math.floor(on.channels / 2);
    const parts = b.split(on.value, [half, half, ...(on.channels % 2 ? [1] : [])]);
    return { value: b.node("Mul", parts.slice(0, 2)), channels: half };
  },
  (b, on) => {
    // Parameter-free shortcut: fewer pixels, and zeros beside the channels.
    const at = b.node("Slice", [on.value, b.ints([0, 0]), b.ints([SIDE, SIDE]), b.ints([2, 3])]);
    const padded = b.node("Pad", [at, b.ints([0, 1, 0, 0, 0, 2, 0, 0])]);
    return b.conv({ value: padded, channels: on.channels + 3 }, on.channels, 1, 1);
  },
  (b, on, a) => {
    const take = Math.max(1, on.channels - 1 - (a % 2));
    return {
      value: b.node("Slice", [on.value, b.ints([1]), b.ints([1 + take]), b.ints([1])]),
      channels: Math.min(take, on.channels - 1),
    };
  },
  (b, on) => {
    // Channel shuffle.
    const g = grouped(on.channels);
    const wide = b.node("Reshape", [on.value, b.ints([0, g, on.channels / g, SIDE, SIDE])]);
    const turned = b.node("Transpose", [wide], { perm: attr.ints([0, 2, 1, 3, 4]) });
    return one(b.node("Reshape", [turned, b.ints([0, -1, SIDE, SIDE])]), on);
  },
  (b, on) => {
    // Squeeze and excitation.
    const mean = b.node("ReduceMean", [on.value, b.ints([2, 3])]);
    const gate = b.conv(b.conv({ value: mean, channels: on.channels }, 4, 1, 1), on.channels, 1, 1);
    return one(b.node("Mul", [on.value, b.node("Sigmoid", [gate.value])]), on);
  },
  (b, on) => {
    const parameters = [0, 1, 2].map(() => b.weight([on.channels]));
    const variance = b.graph.addInitializer("v", float32([on.channels], new Float32Array(on.channels).fill(1.5)));
    return one(b.node("BatchNormalization", [on.value, ...parameters, variance]), on);
  },
  (b, on) => one(b.node("PRelu", [on.value, b.weight([on.channels, 1, 1])]), on),
  (b, on) => {
    const weight = b.weight([on.channels, 5, 3, 3]);
    const pads = attr.ints([1, 1, 1, 1]);
    return { value: b.node("ConvTranspose", [on.value, weight, b.weight([5])], { pads }), channels: 5 };
  },
  (b, on) => {
    // Channels last, a matrix product, and back.
    const last = b.node("Transpose", [on.value], { perm: attr.ints([0, 2, 3, 1]) });
    const product = b.node("Add", [b.node("MatMul", [last, b.weight([on.channels, 7])]), b.weight([7])]);
    return { value: b.node("Transpose", [product], { perm: attr.ints([0, 3, 1, 2]) }), channels: 7 };
  },
  (b, on) => {
    // Self-attention of two heads over pixels.
    const tokens = b.node("Transpose", [b.node("Reshape", [on.value, b.ints([0, 0, SIDE * SIDE])])], {
      perm: attr.ints([0, 2, 1]),
    });
    const heads = (perm: readonly number[]) => {
      const projected = b.node("MatMul", [tokens, b.weight([on.channels, 6])]);
      return b.node("Transpose", [b.node("Reshape", [projected, b.ints([0, 0, 2, 3])])], { perm: attr.ints(perm) });
    };
    const weights = b.node("Softmax", [b.node("MatMul", [heads([0, 2, 1, 3]), heads([0, 2, 3, 1])])]);
    const mixed = b.node("Transpose", [b.node("MatMul", [weights, heads([0, 2, 1, 3])])], {
      perm: attr.ints([0, 2, 1, 3]),
    });
    const out = b.node("MatMul", [b.node("Reshape", [mixed, b.ints([0, 0, 6])]), b.weight([6, on.channels])]);
    const image = b.node("Transpose", [out], { perm: attr.ints([0, 2, 1]) });
    return one(b.node("Add", [on.value, b.node("Reshape", [image, b.ints([0, 0, SIDE, SIDE])])]), on);
  },
  (b, on) => {
    // Recurrence over pixels.
    const steps = b.node("Transpose", [b.node("Reshape", [on.value, b.ints([0, 0, SIDE * SIDE])])], {
      perm: attr.ints([2, 0, 1]),
    });
    const [w, r, bias] = [b.weight([2, 20, on.channels]), b.weight([2, 20, 5]), b.weight([2, 40])];
    const attributes = { hidden_size: attr.int(5), direction: attr.string("bidirectional") };
    const states = b.node("LSTM", [steps, w, r, bias], attributes);
    const rows = b.node("Reshape", [
      b.node("Transpose", [states], { perm: attr.ints([2, 1, 3, 0]) }),
      b.ints([1, 10, SIDE, SIDE]),
    ]);
    return { value: rows, channels: 10 };
  },
  (b, on) => {
    const wide = b.conv(on, 8, 1, 1);
    const deep = b.node("DepthToSpace", [wide.value], { blocksize: attr.int(2) });
    return {
      value: b.node("MaxPool", [deep], { kernel_shape: attr.ints([2, 2]), strides: attr.ints([2, 2]) }),
      channels: 2,
    };
  },
  (b, on) => {
    const sum = b.node("Einsum", [on.value, b.weight([on.channels, 5])], { equation: attr.string("nchw,cd->ndhw") });
    return { value: sum, channels: 5 };
  },
  (b, on) =>
    one(
      b.node("GroupNormalization", [on.value, b.weight([on.channels]), b.weight([on.channels])], {
        num_groups: attr.int(grouped(on.channels)),
      }),
      on,
    ),
  (b, on) => {
    const backwards = b.ints(Array.from({ length: on.channels }, (_, i) => on.channels - 1 - i));
    return one(b.node("Gather", [on.value, backwards], { axis: attr.int(1) }), on);
  },
];
