/**
 * @file What a quantized model holds that is still float, and what else of it was rewritten. It is looked up in the model as it will be
 * written, not in what was planned: an operator that no table knows can't fall through.
 */
import { isReference } from "../../ir/attribute.ts";
import { type Model, nestedGraphs } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { type DType, dtypeInfo } from "../../tensor/dtype.ts";
import { elementCount, type Tensor } from "../../tensor/tensor.ts";
import { floatReason } from "./float-reasons.ts";
import type { LayerReport } from "./report.ts";
import { nodeName, opKey } from "./sites.ts";

/** Constants with fewer elements are not listed, where no option says otherwise. */
export const MIN_ELEMENTS = 256;

export interface ConstantReader {
  readonly name: string;
  readonly opType: string;
}

/** A constant that stays float. */
export interface LeftConstant {
  /** Name of the initializer; for a constant that is an attribute, that of its node and the attribute: `trees.nodes_values`. */
  readonly weight: string;
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly bytes: number;
  readonly readers: readonly ConstantReader[];
  readonly reason: string;
}

/** A constant that is no layer's weight and is not in the file as it was. */
export interface RewrittenConstant {
  readonly weight: string;
  readonly dims: readonly number[];
  /** Type that its numbers have now; absent where it is in the file no more. */
  readonly as?: DType;
}

/** Float constants of a model before it was quantized: type and dims by name. */
export type FloatConstants = ReadonlyMap<string, Pick<Tensor, "dtype" | "dims">>;

interface Found {
  readonly weight: string;
  readonly tensor: Pick<Tensor, "dtype" | "dims">;
  readonly uses: readonly { readonly node: Node; readonly index: number }[];
  /** Where the place itself says why. */
  readonly reason?: string;
}

export function floatConstants(model: Model): FloatConstants {
  return new Map(foundIn(model).map(({ weight, tensor }) => [weight, tensor]));
}

export interface LeftOptions {
  readonly minElements?: number;
  /** Why an input of a node is read as floats. */
  readonly reasonOf?: (node: Node, input: number) => string;
}

/**
 * Everything of `minElements` and more that is float in `written` and was so `before`, with who reads it and why.
 * @param layers what the method says of the weights it knows
 */
export function leftFloat(
  written: Model,
  before: FloatConstants,
  layers: readonly LayerReport[],
  { minElements = MIN_ELEMENTS, reasonOf = floatReason }: LeftOptions = {},
): LeftConstant[] {
  const kept = new Map(
    layers.flatMap(({ status, weight, reason }) => (status === "kept" && reason ? [[weight, reason]] : [])),
  );
  return foundIn(written).flatMap(({ weight, tensor, uses, reason }) => {
    const { dtype, dims } = tensor;
    if (elementCount(dims) < minElements || before.get(weight)?.dtype !== dtype) return [];
    const reasons = uses.map(({ node, index }) => reasonOf(node, index));
    return {
      weight,
      dtype,
      dims,
      bytes: (elementCount(dims) * dtypeInfo(dtype).bits) / 8,
      readers: uses.map(({ node }) => ({ name: nodeName(node), opType: opKey(node) })),
      reason: kept.get(weight) ?? reason ?? ([...new Set(reasons)].join("; ") || "nothing reads it"),
    };
  });
}

/** Constants that were float before and are something else now, weights of quantized layers apart. */
export function rewrittenConstants(
  written: Model,
  before: FloatConstants,
  layers: readonly LayerReport[],
): RewrittenConstant[] {
  const claimed = new Set(layers.flatMap(({ status, weight }) => (status === "quantized" ? [weight] : [])));
  const still = floatConstants(written);
  const now = new Map(
    nestedGraphs(written.graph).flatMap((graph) => graph.initializers.map(({ name, tensor }) => [name, tensor?.dtype])),
  );
  return [...before].flatMap(([weight, { dtype, dims }]) => {
    if (claimed.has(weight) || still.get(weight)?.dtype === dtype) return [];
    const as =
      now.get(weight) ??
      [`${weight}_quantized`, `${weight}_float16`, `${weight}_channels`]
        .map((name) => now.get(name))
        .find((each) => each);
    return { weight, dims, ...(as && { as }) };
  });
}

function foundIn(model: Model): Found[] {
  const inBodies = model.functions.flatMap((fn) =>
    nestedGraphs(fn.graph).flatMap((graph) =>
      foundInGraph(graph.nodes, graph.initializers, `${fn.name}/`, `in function "${fn.name}", which is not inlined`),
    ),
  );
  return [
    ...nestedGraphs(model.graph).flatMap((graph) => foundInGraph(graph.nodes, graph.initializers, "")),
    ...inBodies,
  ];
}

function foundInGraph(nodes: readonly Node[], constants: readonly Value[], prefix: string, reason?: string): Found[] {
  const why = reason === undefined ? {} : { reason };
  const values = constants.flatMap((value): Found[] => {
    const weight = prefix + value.name;
    const uses = [...value.uses];
    if (value.sparse)
      return isFloat(value.sparse.values.dtype)
        ? [
            {
              weight,
              tensor: { dtype: value.sparse.values.dtype, dims: value.sparse.dims },
              uses,
              reason: "it is stored sparsely",
            },
          ]
        : [];
    return value.tensor && isFloat(value.tensor.dtype) ? [{ weight, tensor: value.tensor, uses, ...why }] : [];
  });
  return [...values, ...nodes.flatMap((node) => foundInAttributes(node, prefix, reason))];
}

/** Trees, classifiers and vectorizers have their numbers in attributes; a body of a function has its constants there. */
function foundInAttributes(node: Node, prefix: string, reason = "the operator has its numbers as attributes"): Found[] {
  return [...node.attributes].flatMap(([name, attribute]): Found[] => {
    if (isReference(attribute)) return [];
    const weight = `${prefix}${nodeName(node)}.${name}`;
    const uses = [{ node, index: -1 }];
    if (attribute.type === "floats")
      return [{ weight, tensor: { dtype: "float32", dims: [attribute.value.length] }, uses, reason }];
    if (attribute.type !== "tensor" || !isFloat(attribute.value.dtype)) return [];
    return [{ weight, tensor: attribute.value, uses, reason }];
  });
}

function isFloat(dtype: DType): boolean {
  return dtypeInfo(dtype).kind === "float";
}
