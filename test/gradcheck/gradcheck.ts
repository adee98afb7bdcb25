/** @file Compares the gradients that `gradient` emits with central differences. */
import { type GradientOptions, gradient } from "../../src/autodiff/gradient.ts";
import { attr } from "../../src/ir/attribute.ts";
import type { Model } from "../../src/ir/model.ts";
import { parse, print } from "../../src/ir/text/index.ts";
import type { Value } from "../../src/ir/value.ts";
import { inferTypes } from "../../src/passes/infer-shapes.ts";
import type { Feeds, Outputs } from "../../src/runtime/io.ts";
import { type HostTensor, hostTensor, numbersOf } from "../../src/tensor/host-tensor.ts";
import { elementCount, fromNumbers } from "../../src/tensor/tensor.ts";
import { Rng } from "../../src/util/rng.ts";
import { withSession } from "../run-model.ts";

export interface GradcheckOptions {
  /** What `T` stands for in the text. Default "double". */
  readonly dtype?: "float" | "double";
  /** Range of the random inputs. Default [-1, 1]. */
  readonly range?: readonly [number, number];
  /** Step of the central differences; by default what suits the dtype. Larger for functions that are linear in each input. */
  readonly step?: number;
  readonly shapes?: GradientOptions["shapes"];
  /** The largest relative difference that passes; by default 1e-6 in double, 1e-3 in float. */
  readonly tolerance?: number;
  /** Inputs that are not moved, of float type. */
  readonly fixed?: readonly string[];
  /** Inputs by value, instead of random ones. */
  readonly feeds?: Readonly<Record<string, readonly number[]>>;
}

/** A model in the textual format, in which `T` stands for float64, or for float32 where ONNX Runtime computes the operator in nothing else. */
export interface Case extends GradcheckOptions {
  readonly text: string;
}

/** Cases by operator. */
export type Cases = Readonly<Record<string, readonly (string | Case)[]>>;

/**
 * Draws inputs, a weight for every element of the float outputs and a direction in each float input; compares the derivative of the
 * weighted sum along the direction, from the emitted gradient, with central differences. Gives the largest difference over the
 * inputs, relative to the sum of the magnitudes that either is made of.
 */
export async function gradcheck(source: string | Model, options: GradcheckOptions = {}): Promise<number> {
  const { dtype = "double", range = [-1, 1], step = dtype === "double" ? 1e-5 : 1e-2 } = options;
  const model = typeof source === "string" ? parse(source.replaceAll(/\bT\b/g, dtype)) : source;
  const types = inferTypes(model, options.shapes ? { inputShapes: options.shapes } : {});
  const shapeOf = (value: Value) => {
    const type = types.get(value);
    if (type?.kind !== "tensor" || !type.shape?.every((dim) => typeof dim === "number"))
      throw new Error(`${print(model)}: the shape of "${value.name}" is not known`);
    return { dtype: type.dtype, dims: type.shape as readonly number[], isFloat: type.dtype.startsWith("float") };
  };
  const draw = (name: string, count: number, [low, high]: readonly [number, number]) => {
    const rng = new Rng(7, name);
    return Float64Array.from({ length: count }, () => low + (high - low) * rng.uniform());
  };
  const inputs = model.graph.inputs.filter((value) => !value.isConstant);
  const wanted = inputs.filter((value) => shapeOf(value).isFloat && !options.fixed?.includes(value.name));
  const feeds: Record<string, HostTensor> = {};
  for (const input of inputs) {
    const { dtype, dims, isFloat } = shapeOf(input);
    const drawn = options.feeds?.[input.name] ?? draw(input.name, elementCount(dims), range);
    feeds[input.name] = hostTensor(dtype, dims, isFloat ? drawn : drawn.map(Math.floor));
  }
  const weights = new Map<string, Float64Array>();
  for (const output of model.graph.outputs) {
    const { dims, isFloat } = shapeOf(output);
    if (isFloat) weights.set(output.name, draw(`weight of ${output.name}`, elementCount(dims), [-1, 1]));
  }

  const emitted = await withGradients(model, weights, wanted, feeds, shapeOf, options);
  const weighted = (outputs: Outputs) => {
    let sum = 0;
    for (const [name, weight] of weights) {
      const data = numbersOf(outputs[name] as HostTensor, name);
      weight.forEach((w, i) => {
        sum += w * (data[i] as number);
      });
    }
    return sum;
  };
  return withSession(model, async (session) => {
    let worst = 0;
    for (const input of wanted) {
      const { dims } = shapeOf(input);
      const x = feeds[input.name] as HostTensor;
      const values = Float64Array.from(numbersOf(x, input.name));
      const direction = draw(`direction of ${input.name}`, values.length, [-1, 1]);
      const at = async (sign: number) => {
        const moved = hostTensor(
          x.dtype,
          dims,
          values.map((value, i) => value + sign * step * (direction[i] as number)),
        );
        const moves = numbersOf(moved, input.name);
        return { sum: weighted(await session.run({ ...feeds, [input.name]: moved })), moves };
      };
      const [plus, minus] = [await at(1), await at(-1)];
      const gradientOf = emitted.get(input.name);
      let analytic = 0;
      let scale = 0.1;
      values.forEach((_, i) => {
        const term = (gradientOf?.[i] ?? 0) * ((plus.moves[i] as number) - (minus.moves[i] as number));
        analytic += term / (2 * step);
        scale += Math.abs(term / (2 * step));
      });
      const numeric = (plus.sum - minus.sum) / (2 * step);
      worst = Math.max(worst, Math.abs(analytic - numeric) / scale);
    }
    return worst;
  });
}

/** The gradients of the weighted sum of the outputs, by input. */
async function withGradients(
  model: Model,
  weights: ReadonlyMap<string, Float64Array>,
  wanted: readonly Value[],
  feeds: Feeds,
  shapeOf: (value: Value) => { dtype: HostTensor["dtype"]; dims: readonly number[] },
  { shapes }: GradcheckOptions,
): Promise<ReadonlyMap<string, ArrayLike<number>>> {
  const copy = model.clone();
  const { graph } = copy;
  const sums = [...weights].map(([name, data]) => {
    const output = graph.find(name) as Value;
    const original = model.graph.find(name) as Value;
    const { dtype, dims } = shapeOf(original);
    const weight = graph.addInitializer(`weight of ${name}`, fromNumbers(dtype, dims, data));
    const product = graph.addNode({ opType: "Mul", inputs: [output, weight] }).output();
    return graph.addNode({ opType: "ReduceSum", inputs: [product], attributes: { keepdims: attr.int(0) } }).output();
  });
  const loss = graph.addNode({ opType: "Sum", inputs: sums, outputs: ["loss"] }).output();
  const names = wanted.map((value) => value.name);
  const result = gradient(copy, { of: loss.name, with: names, ...(shapes && { shapes }) });
  const outputs = await withSession(result.model, (session) => session.run(feeds));
  return new Map(
    [...result.gradients].map(([name, output]) => {
      const { dtype, dims } = shapeOf(model.graph.find(name) as Value);
      const found = outputs[output] as HostTensor;
      if (found.dtype !== dtype || found.dims.join() !== dims.join())
        throw new Error(`gradient of "${name}": expected ${dtype}[${dims}], got ${found.dtype}[${found.dims}]`);
      return [name, Float64Array.from(numbersOf(found, name))] as const;
    }),
  );
}
