/**
 * @file How far each layer of a changed model is from the original: by itself, and with everything before it changed too.
 * Both models run as one graph that sums up the differences inside, so one pass over the data serves all layers and no
 * activation is kept.
 */

import type { Batch } from "../data/batch.ts";
import { attr } from "../ir/attribute.ts";
import { cloneAttribute, type Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { Shape, TensorType, ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { convertOpset } from "../passes/convert-opset/convert-opset.ts";
import { exposeWeights } from "../passes/expose-weights.ts";
import { inferTypes } from "../passes/infer-shapes.ts";
import { callsLeft } from "../passes/inline-functions.ts";
import type { Outputs } from "../runtime/io.ts";
import type { Session } from "../runtime/runtime.ts";
import { dtypeInfo } from "../tensor/dtype.ts";
import { float32, int64 } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { followsMask, maskInput } from "./fidelity-padding.ts";

export interface LayerFidelity {
  /** The node of the changed model that computes the value. */
  readonly name: string;
  readonly opType: string;
  readonly value: string;
  /** SQNR of the output in dB with only this layer changed; Infinity where nothing differs. */
  readonly own: number;
  /** The same with every layer before it changed as well. */
  readonly accumulated: number;
}

interface Watched {
  readonly node: Node;
  readonly value: string;
  /** Outputs with the sums of squares: of the original, of the layer's own error, of the accumulated one. */
  readonly outputs: readonly [signal: string, own: string, accumulated: string];
}

/** Both models in one graph, and the outputs that tell what became of each layer. */
export interface LayerComparison {
  readonly model: Model;
  readonly watched: readonly Watched[];
}

/**
 * Joins two models with equal inputs. Layers are matched by the names of their outputs, among the float32 values of the main
 * graph that a node with constants computes.
 * @throws bad-model where the models have no layer in common, or functions that can't be inlined
 */
export function joinModels(original: Model, changed: Model): LayerComparison {
  const opset = Math.max(original.opset, changed.opset);
  const joined = exposeWeights(convertOpset(original, opset).model).model.clone();
  const other = exposeWeights(convertOpset(changed, opset).model).model;
  const [call] = [joined, other].flatMap(callsLeft);
  if (call)
    throw new TersorError(
      "bad-model",
      `layer by layer: the models can't be joined: ${call.node} is ${call.reason}. Compare without it.`,
    );
  for (const [domain, version] of other.opsetImports)
    if (!joined.opsetImports.has(domain)) joined.opsetImports.set(domain, version);
  joined.irVersion = Math.max(joined.irVersion, other.irVersion);
  const types = inferTypes(joined);
  const { graph } = joined;
  const isFloat = (value: Value) => {
    const type = types.get(value) ?? value.type;
    return type?.kind === "tensor" && type.dtype === "float32";
  };
  const layers = [...graph.values].filter((value) => {
    const twin = value.producer && isFloat(value) && other.graph.find(value.name)?.producer;
    return twin && (twin.inputs.some(reachesConstant) || isIntegerLayer(twin));
  });
  const otherTypes = inferTypes(other);
  /** Values of the changed model that are float16: what they are compared with, or take the place of, is float32. */
  const isHalf = (value: Value) => {
    const type = value.tensor ? undefined : (otherTypes.get(value) ?? value.type);
    return type?.kind === "tensor" && type.dtype === "float16";
  };
  const cast = (value: Value, dtype: "float16" | "float32") => {
    const attributes = { to: attr.int(dtypeInfo(dtype).code) };
    return graph.addNode({ opType: "Cast", inputs: [value], outputs: [`${value.name}_${dtype}`], attributes }).output();
  };
  const halves = new Map<Value, Value>();
  /** A value of the original in the place of one of the changed model, in the type that it has there. */
  const standIn = (value: Value, own: Value | undefined): Value | undefined => {
    if (!own || !isHalf(value)) return own;
    const half = halves.get(own) ?? cast(own, "float16");
    halves.set(own, half);
    return half;
  };
  const floats = (value: Value, built: Value) => (isHalf(value) ? cast(built, "float32") : built);
  const twins = new Map<Value, Value>();
  for (const input of other.graph.inputs) {
    const own = graph.find(input.name);
    if (own && !input.isConstant) twins.set(input, own);
  }
  /** Copies what computes a value of the changed model; values that `stop` knows are taken from there. */
  const build = (value: Value, stop: (value: Value) => Value | undefined, known: Map<Value, Value>): Value => {
    const found = known.get(value) ?? twins.get(value) ?? stop(value);
    if (found) return found;
    if (value.tensor) {
      const constant = graph.addInitializer(`changed_${value.name}`, value.tensor);
      twins.set(value, constant);
      return constant;
    }
    const node = value.producer as Node;
    const inputs = node.inputs.map((input) => input && build(input, stop, known));
    const map = new Map([...twins, ...known]);
    const attributes = new Map([...node.attributes].map(([name, each]) => [name, cloneAttribute(each, graph, map)]));
    const outputs = node.outputs.map((output) => output && `changed_${output.name}`);
    const { opType, domain, overload } = node;
    const copy = graph.addNode({ opType, domain, overload, inputs, outputs, attributes });
    node.outputs.forEach((output, i) => {
      if (output) known.set(output, copy.outputs[i] as Value);
    });
    return known.get(value) as Value;
  };
  const mask = maskInput(graph);
  const masks = new Map<string, Value>();
  /** What an attention mask marks as padding is zero among values that follow it: it counts for nothing. */
  const counted = (value: Value) => {
    const shape = (types.get(value) as TensorType | undefined)?.shape;
    const follows = mask && shape && followsMask(types.get(value), types.get(mask));
    if (!mask || !shape || opset < 9 || !(follows ?? sameSizes(shape, types.get(mask)))) return (each: Value) => each;
    const isJoined = follows === "joined";
    const key = `${isJoined} ${shape.length}`;
    const real = masks.get(key) ?? realPositions(mask, shape.length, isJoined);
    masks.set(key, real);
    return (each: Value) =>
      graph.addNode({ opType: "Where", inputs: [real, each, zero()], outputs: [`${each.name}_counted`] }).output();
  };
  const everything = new Map<Value, Value>();
  for (const node of other.graph.nodes)
    for (const output of node.outputs)
      if (output && !node.subgraphs().length) build(output, () => undefined, everything);
  const watched = layers.map((value): Watched => {
    const last = other.graph.find(value.name) as Value;
    const own = build(
      last,
      (each) => (each === last ? undefined : standIn(each, floatOf(graph.find(each.name)))),
      new Map(),
    );
    const all = everything.get(last) as Value;
    const counting = counted(value);
    const differences = [own, all].map((each) => square(counting(minus(value, floats(last, each))))) as [Value, Value];
    const outputs = [square(counting(value)), ...differences] as const;
    return {
      node: last.producer as Node,
      value: value.name,
      outputs: [outputs[0].name, outputs[1].name, outputs[2].name],
    };
  });
  if (watched.length === 0)
    throw new TersorError(
      "bad-model",
      "layer by layer: the models share no layer: expected one to be made from the other.",
    );
  const kept = new Set(watched.flatMap(({ outputs }) => outputs));
  for (const name of kept) graph.addOutput(graph.find(name) as Value);
  return { model: joined, watched };

  function floatOf(value: Value | undefined): Value | undefined {
    return value?.producer && isFloat(value) ? value : undefined;
  }
  function zero(): Value {
    return graph.find("padding_zero") ?? graph.addInitializer("padding_zero", float32([], [0]));
  }
  /** The mask as truths [batch, sequence, 1, …], or [batch · sequence, 1, …]. */
  function realPositions(input: Value, rank: number, isJoined: boolean): Value {
    const to = { to: attr.int(dtypeInfo("bool").code) };
    const real = graph.addNode({ opType: "Cast", inputs: [input], outputs: ["padding_mask"], attributes: to }).output();
    // 0 copies a size.
    const shape = [...(isJoined ? [-1] : [0, 0]), ...Array<number>(rank - (isJoined ? 1 : 2)).fill(1)];
    const sizes = graph.addInitializer("padding_shape", int64([rank], shape));
    return graph.addNode({ opType: "Reshape", inputs: [real, sizes], outputs: [`padding_mask_${rank}`] }).output();
  }
  function minus(a: Value, b: Value): Value {
    return graph.addNode({ opType: "Sub", inputs: [a, b], outputs: [`${a.name}_difference`] }).output();
  }
  function square(value: Value): Value {
    const node = { opType: "ReduceSumSquare", inputs: [value], outputs: [`${value.name}_energy`] };
    return graph.addNode({ ...node, attributes: { keepdims: attr.int(0) } }).output();
  }
}

/** Whether sizes alone say that a value is [batch, sequence, …]: those of two axes do not, they may be equal by chance. */
function sameSizes(shape: Shape, mask: ValueType | undefined): boolean {
  const of = mask?.kind === "tensor" ? mask.shape : undefined;
  return (
    shape.length >= 3 && of !== undefined && typeof shape[1] === "number" && shape[1] === of[1] && shape[0] === of[0]
  );
}

/** Whether it ends what an integer operator with a constant weight begins: its sums as floats, scaled, a constant bias added. */
function isIntegerLayer({ opType, inputs }: Node): boolean {
  if (opType === "Add") return inputs.some((input) => input?.tensor) && inputs.some(isScaledSum);
  return opType === "Mul" && inputs.some(isSum);
}

function isScaledSum(value: Value | undefined): boolean {
  return value?.producer?.opType === "Mul" && value.producer.inputs.some(isSum);
}

function isSum(value: Value | undefined): boolean {
  const sums = value?.producer?.opType === "Cast" ? value.producer.inputs[0]?.producer : undefined;
  return (sums?.opType === "MatMulInteger" || sums?.opType === "ConvInteger") && Boolean(sums.inputs[1]?.tensor);
}

function reachesConstant(value: Value | undefined): boolean {
  if (!value) return false;
  if (value.tensor) return value.tensor.dims.length > 1;
  const producer = value.producer;
  return producer?.opType === "DequantizeLinear" && reachesConstant(producer.inputs[0]);
}

/** Runs the joined model on all batches and sums up. The session is of {@link LayerComparison.model}. */
export async function measureLayers(
  { watched }: LayerComparison,
  session: Session,
  batches: AsyncIterable<Batch>,
): Promise<LayerFidelity[]> {
  const sums = new Map(watched.flatMap(({ outputs }) => outputs).map((name) => [name, 0]));
  for await (const { inputs } of batches) {
    const outputs: Outputs = await session.run(inputs, [...sums.keys()]);
    for (const [name, sum] of sums) sums.set(name, sum + Number(outputs[name]?.data[0]));
  }
  const decibels = (signal: string, noise: string) => {
    const [s = 0, n = 0] = [sums.get(signal), sums.get(noise)];
    return n === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(s / n);
  };
  return watched.map(({ node, value, outputs: [signal, own, accumulated] }) => ({
    name: node.name || value,
    opType: node.opType,
    value,
    own: decibels(signal, own),
    accumulated: decibels(signal, accumulated),
  }));
}
