/** @file Layers over steps, [N, steps, features]: LSTM, GRU, attention, transformer blocks, positions. */
import { tensorType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { type ActivationName, activation, dropout, layerNorm, linear } from "./basic.ts";
import { residual } from "./compose.ts";
import type { Layer } from "./layer.ts";

const FORM = ["[N, steps, features]"];
const ADVICE = "Put an embedding() in front of integers; a line [N, C, L] must be given as [N, L, C].";

export interface RecurrentOptions {
  /** Also from the last step to the first: twice the features. */
  readonly bidirectional?: boolean;
  /** All steps (default), or the last alone: [N, features]. */
  readonly give?: "steps" | "last";
}

interface Cell {
  readonly opType: string;
  readonly gates: number;
  readonly attributes: Readonly<Record<string, number>>;
}

function recurrent(
  kind: string,
  cell: Cell,
  hidden: number,
  { bidirectional = false, give = "steps" }: RecurrentOptions,
): Layer {
  return {
    kind,
    build: (graph, x) => {
      graph.expectRank(x, FORM, ADVICE);
      const { op } = graph;
      const features = graph.size(x, -1);
      const directions = bidirectional ? 2 : 1;
      const rows = cell.gates * hidden;
      // PyTorch's: every weight and bias by the size of the state.
      const init = { bound: 1 / Math.sqrt(hidden) };
      const inputs = [
        op.transpose(x, [1, 0, 2]),
        graph.parameter("weight", [directions, rows, features], init),
        graph.parameter("recurrence", [directions, rows, hidden], init),
        graph.parameter("bias", [directions, 2 * rows], init),
      ];
      const direction = bidirectional ? "bidirectional" : "forward";
      const attributes = { hidden_size: hidden, direction, ...cell.attributes };
      const [all, last] = op.emit(cell.opType, [...inputs, attributes], give === "last" ? 2 : 1);
      if (!last) return op.reshape(op.transpose(all, [2, 0, 1, 3]), [0, 0, directions * hidden]);
      op.graph.dropOutput(all as Value);
      return op.reshape(op.transpose(last, [1, 0, 2]), [0, directions * hidden]);
    },
  };
}

/** Long short-term memory (Hochreiter and Schmidhuber 1997). Weight [directions, 4 · hidden, features], gates in ONNX' order: i, o, f, c. */
export function lstm(hidden: number, options: RecurrentOptions = {}): Layer {
  return recurrent("lstm", { opType: "LSTM", gates: 4, attributes: {} }, hidden, options);
}

/** Gated recurrent unit (Cho et al. 2014), reset as PyTorch and cuDNN do it. Weight [directions, 3 · hidden, features], gates z, r, h. */
export function gru(hidden: number, options: RecurrentOptions = {}): Layer {
  return recurrent("gru", { opType: "GRU", gates: 3, attributes: { linear_before_reset: 1 } }, hidden, options);
}

/** Adds a learned vector to each of at most `count` steps. */
export function positions(count: number): Layer {
  return {
    kind: "positions",
    build: (graph, x) => {
      graph.expectRank(x, FORM, ADVICE);
      const { op } = graph;
      const [, steps] = op.symbolicShape(x);
      if (typeof steps === "number" && steps > count)
        throw graph.misfit(x, `at most ${count} steps`, "Give positions() a larger count.");
      const w = graph.parameter("weight", [count, graph.size(x, -1)], { std: 0.02 });
      if (steps === count) return op.Add(x, w);
      const length = typeof steps === "number" ? [steps] : op.Shape(x, { start: 1, end: 2 });
      return op.Add(x, op.Slice(w, [0], length, [0]));
    },
  };
}

export interface AttentionOptions {
  /** Each step sees itself and those before it. */
  readonly causal?: boolean;
}

/** Self-attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762): `heads` divide the features. */
export function multiHeadAttention(heads: number, { causal = false }: AttentionOptions = {}): Layer {
  return {
    kind: "attention",
    build: (graph, x) => {
      graph.expectRank(x, FORM, ADVICE);
      const { op } = graph;
      const features = graph.size(x, -1);
      if (features % heads !== 0)
        throw graph.misfit(x, `features that ${heads} heads divide, got ${features}`, "Change heads or features.");
      const size = features / heads;
      // PyTorch holds the three in one [3 · features, features]: the same bound.
      const init = { bound: Math.sqrt(6 / (4 * features)) };
      const project = (name: string) => {
        op.subject = `${graph.path}.${name}`;
        const weight = graph.parameter(`${name}.weight`, [features, features], init);
        const bias = graph.parameter(`${name}.bias`, [features], "zeros");
        return op.reshape(op.Add(op.MatMul(x, weight), bias), [0, 0, heads, size]);
      };
      const query = op.transpose(project("query"), [0, 2, 1, 3]);
      const key = op.transpose(project("key"), [0, 2, 3, 1]);
      const value = op.transpose(project("value"), [0, 2, 1, 3]);
      op.subject = graph.path;
      let scores = op.Mul(op.MatMul(query, key), 1 / Math.sqrt(size));
      if (causal) {
        const steps = op.Shape(x, { start: 1, end: 2 });
        const low = op.Expand(op.like(x, -1e9), op.Concat(steps, steps, { axis: 0 }));
        const [, count = null] = op.symbolicShape(x);
        op.declare(low, tensorType(op.dtype(x), [count, count]));
        scores = op.Add(scores, op.Trilu(low, op.constant("int64", [], [1]), { upper: 1 }));
      }
      const mixed = op.MatMul(op.Softmax(scores, { axis: -1 }), value);
      const joined = op.reshape(op.transpose(mixed, [0, 2, 1, 3]), [0, 0, features]);
      return graph.add(linear(features, { biasInit: "zeros" }), joined);
    },
  };
}

export interface TransformerOptions extends AttentionOptions {
  readonly heads: number;
  /** Features within the feed-forward part; default four times those outside. */
  readonly hidden?: number;
  readonly activation?: ActivationName;
  readonly dropout?: number;
  /** Layer norm before each part (default: trains without warm-up), or after it, as first published. */
  readonly norm?: "before" | "after";
}

/** Attention, then a feed-forward part, each around a shortcut. */
export function transformerEncoderBlock({ heads, norm = "before", ...options }: TransformerOptions): Layer {
  const drop = options.dropout ?? 0;
  return {
    kind: "encoder",
    build: (graph, x) => {
      graph.expectRank(x, FORM, ADVICE);
      const features = graph.size(x, -1);
      const feed = [
        linear(options.hidden ?? 4 * features),
        activation(options.activation ?? "gelu"),
        dropout(drop),
        linear(features),
      ];
      const attend = [multiHeadAttention(heads, { causal: options.causal ?? false })];
      const parts = [attend, feed].flatMap((part) => {
        const inner = [...part, dropout(drop)];
        return norm === "before" ? [residual([layerNorm(), ...inner])] : [residual(inner), layerNorm()];
      });
      return graph.addAll(parts, x);
    },
  };
}

/** One vector of all steps: [N, steps, features] to [N, features]. */
export function poolSteps(take: "mean" | "max" | "first" | "last" = "mean"): Layer {
  return {
    kind: "poolsteps",
    build: (graph, x) => {
      graph.expectRank(x, FORM, ADVICE);
      const { op } = graph;
      if (take === "first" || take === "last")
        return op.Gather(x, op.constant("int64", [], [take === "first" ? 0 : -1]), { axis: 1 });
      const opType = take === "mean" ? "ReduceMean" : "ReduceMax";
      return op.emit(opType, [x, [1], { keepdims: 0 }])[0] as Value;
    },
  };
}
