/**
 * @file Gradient rule of Resize. Along each axis it is a product with a constant matrix, which ONNX Runtime computes itself, as
 * the same Resize of an identity matrix: every mode and coordinate transformation is met exactly.
 */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { TersorError } from "../../util/errors.ts";
import type { Emitter } from "../emitter.ts";
import type { GradientContext, GradientRules } from "../rule.ts";

/** One axis that is resized: from `size` to `resized`, by the `index`th of the given scales or sizes of `count` axes. */
interface ResizedAxis {
  readonly axis: number;
  readonly index: number;
  readonly count: number;
  readonly size: number;
  readonly resized: number;
  /** As the model gives it; undefined where it gives sizes. */
  readonly scale: number | undefined;
}

function axesOf({ op, node, x: [x, , scales, sizes], y: [y] }: GradientContext): ResizedAxis[] {
  const [from, to] = [op.shape(x), op.shape(y)];
  const axes = node.ints("axes")?.map((axis) => op.axis(x, axis)) ?? from.map((_, i) => i);
  const given = sizes ? undefined : op.integers(scales);
  const moves = node.string("coordinate_transformation_mode", "half_pixel") === "tf_crop_and_resize";
  const all = axes.map((axis, index) => ({
    axis,
    index,
    count: axes.length,
    size: from[axis] ?? 1,
    resized: to[axis] ?? 1,
    scale: given?.[index],
  }));
  return all.filter(({ size, resized, scale }) => moves || size !== resized || (scale !== undefined && scale !== 1));
}

/** How often each element is repeated, where all that Resize does is to repeat them; else undefined. */
function repeats(node: Node, { size, resized, scale }: ResizedAxis): number | undefined {
  const times = resized / size;
  if (node.string("mode", "nearest") !== "nearest" || !Number.isInteger(times) || (scale ?? times) !== times)
    return undefined;
  const coordinates = node.string("coordinate_transformation_mode", "half_pixel");
  const rounding = node.string("nearest_mode", "round_prefer_floor");
  const centred = ["half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"].includes(coordinates);
  const isRepeat =
    (centred && times > 1 && rounding.startsWith("round")) || (coordinates === "asymmetric" && rounding === "floor");
  return isRepeat ? times : undefined;
}

/** Attributes that say how elements are weighted. What lies outside weighs nothing here. */
function weighting(node: Node): Record<string, number | string> {
  const mode = node.string("mode", "nearest");
  const coordinates = node.string("coordinate_transformation_mode", "half_pixel");
  return {
    mode,
    coordinate_transformation_mode: coordinates,
    ...(mode === "nearest" && { nearest_mode: node.string("nearest_mode", "round_prefer_floor") }),
    ...(mode === "cubic" && { cubic_coeff_a: node.float("cubic_coeff_a", -0.75) }),
    antialias: node.int("antialias", 0),
    exclude_outside: node.int("exclude_outside", 0),
    extrapolation_value: 0,
  };
}

/** [size, resized]: how much of each element goes to each of the result. */
function weights({ op, node, x: [, roi, scales] }: GradientContext, resizedAxis: ResizedAxis): Value {
  const { index, count, size, resized, scale } = resizedAxis;
  const identity = op.EyeLike(op.Expand(op.constant("float32", [], [0]), [size, size]));
  const attributes = weighting(node);
  const pick = (value: Value | undefined, at: number) => op.Slice(value, [at], [at + 1], [0]);
  const ones = op.constant("float32", [3], [1, 1, 1]);
  const region =
    attributes.coordinate_transformation_mode === "tf_crop_and_resize"
      ? op.Concat(
          op.constant("float32", [3], [0, 0, 0]),
          op.cast(pick(roi, index), "float32"),
          ones,
          op.cast(pick(roi, index + count), "float32"),
          { axis: 0 },
        )
      : undefined;
  const image = op.reshape(identity, [1, 1, size, size]);
  const result =
    scale === undefined
      ? op.Resize(image, region, undefined, [1, 1, size, resized], attributes)
      : op.Resize(image, region, op.Concat(ones, pick(scales, index), { axis: 0 }), attributes);
  return op.reshape(result, [size, resized]);
}

/** A gradient [..., resized, ...] back to [..., size, ...]. */
function unresized(op: Emitter, dy: Value, { axis }: ResizedAxis, matrix: Value): Value {
  const rank = op.rank(dy);
  const factor = op.cast(matrix, op.dtype(dy));
  if (axis === rank - 2) return op.MatMul(factor, dy);
  const last = Array.from({ length: rank }, (_, i) => i)
    .filter((i) => i !== axis)
    .concat(axis);
  const product = op.MatMul(op.transpose(dy, last), op.transpose(factor, [1, 0]));
  return op.transpose(
    product,
    last.map((_, i) => last.indexOf(i)),
  );
}

// y = W x along each axis    dx = W' dy
function resize(context: GradientContext) {
  const {
    op,
    node,
    x: inputs,
    dy: [dy],
  } = context;
  const policy = node.string("keep_aspect_ratio_policy", "stretch");
  if (inputs[3] && policy !== "stretch")
    throw new TersorError(
      "unsupported-op",
      `${node}: no gradient for keep_aspect_ratio_policy: expected stretch, got ${policy}. Give the scales, or the sizes that come out.`,
    );
  const axes = axesOf(context);
  const times = new Map(axes.map((axis) => [axis, repeats(node, axis)]));
  const repeated = axes.filter((axis) => times.get(axis) !== undefined);
  let dx = dy as Value;
  for (const axis of axes) if (!repeated.includes(axis)) dx = unresized(op, dx, axis, weights(context, axis));
  if (repeated.length === 0) return [dx];
  const dims = op.shape(inputs[0]);
  const timesOf = (axis: number) => {
    const found = repeated.find((each) => each.axis === axis);
    return (found && times.get(found)) ?? 1;
  };
  const apart = op.reshape(
    dx,
    dims.flatMap((dim, i) => [dim, timesOf(i)]),
  );
  return [
    op.ReduceSum(
      apart,
      dims.map((_, i) => 2 * i + 1),
      { keepdims: 0 },
    ),
  ];
}

export const resizes = { Resize: resize } satisfies GradientRules;
