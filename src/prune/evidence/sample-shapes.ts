/** @file Sizes that a model leaves open: those that it is used with, for counting MACs. */
import type { Model } from "../../ir/model.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { own } from "../../util/own.ts";
import type { ChannelData } from "./channel-data.ts";

/** What is given, else what the first sample has; undefined without either. */
export async function usedShapes(
  { graph }: Model,
  given: InputShapes | undefined,
  calibration: ChannelData | undefined,
): Promise<InputShapes | undefined> {
  if (given && Object.keys(given).length > 0) return given;
  for await (const { inputs } of calibration?.data ?? [])
    return Object.fromEntries(
      graph.inputs.flatMap(({ name, type }) => {
        const dims = own(inputs, name)?.dims;
        const shape = type?.kind === "tensor" ? type.shape : undefined;
        if (!dims || shape?.length !== dims.length) return [];
        return [[name, shape.map((dim, axis) => (typeof dim === "number" ? dim : (dims[axis] as number)))]];
      }),
    );
  return undefined;
}

/** Says that sizes behind the batch axis are counted as one, where nothing tells them. */
export function openSizes({ graph }: Model, used: InputShapes | undefined): string[] {
  if (used) return [];
  const open = graph.inputs.filter(
    ({ type, isConstant }) =>
      !isConstant && type?.kind === "tensor" && type.shape?.slice(1).some((dim) => typeof dim !== "number"),
  );
  if (open.length === 0) return [];
  return [
    `MACs are counted with 1 for the sizes that ${open.map(({ name }) => `"${name}"`).join(", ")} leaves open: give shapes or samples`,
  ];
}
