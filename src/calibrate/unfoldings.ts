/** @file More ways to read a value: axis by axis as a matrix, and as the patches of a transposed convolution. */
import { attr } from "../ir/attribute.ts";
import type { Node } from "../ir/node.ts";
import type { Value } from "../ir/value.ts";
import { fromNumbers } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { builder, channelsOf, productOfPatches, type Unfolding, type Window } from "./gram.ts";
import type { ProbeContext } from "./probes.ts";

/** The value with its axes in this order, as [groups, rows, k]: groups first, then what is counted over, then what is summed over. */
export function arranged(perm: readonly number[], groups: number, k: number): Unfolding {
  return {
    key: `axes ${perm} as ${groups} x ${k}`,
    product(context, a, b) {
      const build = builder(context, "gram");
      const isMoved = perm.some((axis, i) => axis !== i);
      const unfold = (value: Value) => {
        const moved = isMoved ? build("Transpose", [value], { perm: attr.ints([...perm]) }) : value;
        return build("Reshape", [moved, build.ints([groups, -1, k])]);
      };
      const right = unfold(b);
      const turned = build("Transpose", [a === b ? right : unfold(a)], { perm: attr.ints([0, 2, 1]) });
      return build("MatMul", [turned, right]);
    },
  };
}

/**
 * What each output of a ConvTranspose is a sum over, [channels / groups · kernel] numbers in the order of its weight: zeros between the
 * elements of the input, then the patches of a convolution with the kernel turned around.
 * @throws unsupported-op where the padding depends on sizes that are not known
 */
export function transposedPatches(node: Node): Unfolding {
  const dims = node.inputs[1]?.type?.kind === "tensor" ? (node.inputs[1].type.shape ?? []) : [];
  const kernel = node.ints("kernel_shape") ?? dims.slice(2).map(Number);
  const ones = kernel.map(() => 1);
  const [strides, dilations] = [node.ints("strides") ?? ones, node.ints("dilations") ?? ones];
  const auto = node.string("auto_pad", "NOTSET");
  if (node.ints("output_shape") || (auto !== "NOTSET" && auto !== "VALID"))
    throw new TersorError("unsupported-op", `${node}: its padding depends on sizes (output_shape or auto_pad ${auto})`);
  const given = (auto === "NOTSET" && node.ints("pads")) || [...kernel, ...kernel].map(() => 0);
  const more = node.ints("output_padding") ?? kernel.map(() => 0);
  const reach = kernel.map((size, axis) => (size - 1) * (dilations[axis] as number));
  const spatial = kernel.length;
  const pads = [
    ...reach.map((far, axis) => far - (given[axis] as number)),
    ...reach.map((far, axis) => far - (given[spatial + axis] as number) + (more[axis] as number)),
  ];
  const shared = { groups: node.int("group", 1), kernel, strides: ones, dilations, pads, isTurned: true };
  const [channels] = dims;
  const window: Window = typeof channels === "number" ? { ...shared, channels } : shared;
  return {
    key: `transposed patches ${JSON.stringify({ ...window, upsampled: strides })}`,
    product(context, a, b) {
      const spread = (value: Value) => withZerosBetween(context, value, strides, window.channels);
      const left = spread(a);
      return productOfPatches(context, window, left, a === b ? left : spread(b));
    },
  };
}

/** A convolution transposed with a kernel of one 1 for each channel leaves zeros between the elements. */
function withZerosBetween(context: ProbeContext, value: Value, strides: readonly number[], known?: number): Value {
  if (strides.every((stride) => stride === 1)) return value;
  const build = builder(context, "spread");
  const channels = known ?? channelsOf(context.value);
  const dims = [channels, 1, ...strides.map(() => 1)];
  const one = context.graph.addInitializer(
    `${context.value.name}_one`,
    fromNumbers("float32", dims, new Float32Array(channels).fill(1)),
  );
  return build("ConvTranspose", [value, one], { group: attr.int(channels), strides: attr.ints([...strides]) });
}
