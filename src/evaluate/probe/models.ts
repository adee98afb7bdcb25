/** @file The layers whose kernels are timed: the same arithmetic in float32 and as a quantized file has it. Weights are noise. */
import type { Model } from "../../ir/model.ts";
import { type ParseArgument, parse } from "../../ir/text/index.ts";
import type { DType } from "../../tensor/dtype.ts";
import { elementCount, fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";

/** A layer of a chain: `text` is the operator with its attributes, applied to an activation and the weight. */
export interface ChainLayer {
  readonly text: string;
  readonly dims: readonly number[];
  /** The axis of the weight's output channels. */
  readonly axis: number;
  /** Stays float32 between Q/DQ. */
  readonly isFloat?: boolean;
}

export function normal(dims: readonly number[], dtype: DType = "float32"): Tensor {
  const rng = new Rng(2, dims.join());
  return fromNumbers(
    dtype,
    dims,
    Array.from({ length: elementCount(dims) }, () => rng.normal() * 0.05),
  );
}

/** Integers from `low` to `high`, both of them included. */
export function integers(dtype: DType, dims: readonly number[], low: number, high: number): Tensor {
  const rng = new Rng(3, dims.join());
  const span = high - low + 1;
  return fromNumbers(
    dtype,
    dims,
    Array.from({ length: elementCount(dims) }, () => low + Math.floor(rng.uniform() * span)),
  );
}

/** Text and tensors of a model, put together as the parts of a template. */
class Text {
  readonly #parts: string[] = [""];
  readonly #values: ParseArgument[] = [];

  add(text: string, tensor?: Tensor): this {
    this.#parts[this.#parts.length - 1] += text;
    if (tensor) {
      this.#parts.push("");
      this.#values.push(tensor);
    }
    return this;
  }

  model(): Model {
    return parse(Object.assign([...this.#parts], { raw: this.#parts }), ...this.#values);
  }
}

/** Layers one after another, in float32 or in `dtype` between Casts. */
export function floatChain(dims: readonly number[], layers: readonly ChainLayer[], dtype: "float" | "float16"): Model {
  const text = new Text().add(`(float[${dims.join()}] x) => (y) <`);
  layers.forEach(({ dims: size }, i) => {
    text.add(
      `${i > 0 ? ", " : ""}${dtype}[${size.join()}] w${i} = `,
      normal(size, dtype === "float" ? "float32" : dtype),
    );
  });
  const last = layers.length;
  text.add(dtype === "float" ? "> { a0 = Identity(x) " : "> { a0 = Cast <to = 10> (x) ");
  layers.forEach(({ text: op }, i) => void text.add(`a${i + 1} = ${op} (a${i}, w${i}) `));
  return text.add(dtype === "float" ? `y = Identity(a${last}) }` : `y = Cast <to = 1> (a${last}) }`).model();
}

/** The codes of a target's integer layers. */
export interface WeightCodes {
  readonly dtype: "int8" | "uint8";
  readonly bits: 7 | 8;
}

/** Layers one after another, with QuantizeLinear and DequantizeLinear around each and a scale per output channel. */
export function quantizedChain(
  dims: readonly number[],
  layers: readonly ChainLayer[],
  { dtype, bits }: WeightCodes,
): Model {
  const text = new Text().add(`(float[${dims.join()}] x) => (y) <float s = {0.02}, uint8 z = {128}`);
  const zero = dtype === "uint8" ? 128 : 0;
  const limit = bits === 8 ? 127 : 63;
  for (const [i, { dims: size, axis, isFloat }] of layers.entries()) {
    if (isFloat) {
      text.add(`, float[${size.join()}] w${i} = `, normal(size));
      continue;
    }
    const channels = [size[axis] as number];
    text.add(`, ${dtype}[${size.join()}] c${i} = `, integers(dtype, size, zero - limit, zero + limit));
    text.add(
      `, float[${channels}] s${i} = `,
      fromNumbers("float32", channels, new Float64Array(channels[0] as number).fill(0.001)),
    );
    text.add(
      `, ${dtype}[${channels}] z${i} = `,
      fromNumbers(dtype, channels, new Float64Array(channels[0] as number).fill(zero)),
    );
  }
  text.add("> { q0 = QuantizeLinear(x, s, z) d0 = DequantizeLinear(q0, s, z) ");
  for (const [i, { text: op, axis, isFloat }] of layers.entries()) {
    if (!isFloat) text.add(`w${i} = DequantizeLinear <axis = ${axis}> (c${i}, s${i}, z${i}) `);
    // Without something else in between, ONNX Runtime would quantize the weights of a float layer by itself.
    const result = isFloat
      ? `b${i} = ${op} (d${i}, w${i}) a${i} = LeakyRelu <alpha = 1.0> (b${i})`
      : `a${i} = ${op} (d${i}, w${i})`;
    text.add(`${result} q${i + 1} = QuantizeLinear(a${i}, s, z) `);
    text.add(`${i === layers.length - 1 ? "y" : `d${i + 1}`} = DequantizeLinear(q${i + 1}, s, z) `);
  }
  return text.add("}").model();
}
