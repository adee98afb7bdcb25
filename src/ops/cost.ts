/** @file What a node costs: multiply-accumulates, parameters, bytes of constants. */
import type { Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import type { Dim, ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { dtypeInfo } from "../tensor/dtype.ts";
import { elementCount, type Tensor } from "../tensor/tensor.ts";
import { macRules, type ShapeLookup } from "./macs.ts";
import { formalAt, schemaVersions } from "./schema.ts";
import { shapeRule } from "./shapes/index.ts";
import { bindDim, dimSymbols } from "./symbolic/dim.ts";

export interface Cost {
  /**
   * Multiply-accumulates of matrix products, convolutions, recurrent layers and attention. Elementwise operators,
   * normalization, pooling and activations count 0: they are no products summed over. Undefined where a shape is not
   * known, or how the operator works is not.
   */
  readonly macs: number | undefined;
  /** Numbers that the model learned: constants of a float type or quantized, without scales, zero points, sizes and axes. */
  readonly params: number;
  /** Bytes of all constants that the node reads. */
  readonly weightBytes: number;
}

/** Sizes of symbols; a symbol without one counts as 1, so that MACs are those of one sample where only the batch is open. */
export type SymbolSizes = Readonly<Record<string, number>>;

export interface ModelCost extends Cost {
  readonly nodes: number;
  /** Nodes whose MACs are not known; `macs` is the sum of the others. */
  readonly unknown: readonly Node[];
}

/** The cost of one node. A subgraph counts its nodes: the dearer known branch of an If, a Loop's or Scan's body times its rounds where they are known. */
export function costOf(node: Node, types: ReadonlyMap<Value, ValueType>, sizes: SymbolSizes = {}): Cost {
  const constants = constantsOfNode(node);
  return {
    macs: macsOf(node, lookupOf(types, sizes)),
    params: constants.reduce((sum, constant) => sum + constant.params, 0),
    weightBytes: constants.reduce((sum, constant) => sum + constant.tensor.byteLength, 0),
  };
}

/** The multiply-accumulates of one node, as in {@link costOf}. */
export function macsOfNode(node: Node, types: ReadonlyMap<Value, ValueType>): number | undefined {
  return macsOf(node, lookupOf(types, {}));
}

/** The cost of a model: a constant that several nodes share counts once. Functions are not looked into. */
export function modelCost(model: Model, types: ReadonlyMap<Value, ValueType>, sizes: SymbolSizes = {}): ModelCost {
  const shapeOf = lookupOf(types, sizes);
  const seen = new Map<Value, { tensor: Tensor; params: number }>();
  const unknown: Node[] = [];
  let macs = 0;
  for (const node of model.graph.nodes) {
    const own = macsOf(node, shapeOf);
    if (own === undefined) unknown.push(node);
    macs += own ?? 0;
  }
  let nodes = 0;
  for (const graph of model.graphs())
    for (const node of graph.nodes) {
      nodes++;
      for (const constant of constantsOfNode(node)) {
        const old = seen.get(constant.value);
        // What is a parameter to one of its readers is one.
        if (!old || old.params < constant.params) seen.set(constant.value, constant);
      }
    }
  const constants = [...seen.values()];
  return {
    macs,
    params: constants.reduce((sum, constant) => sum + constant.params, 0),
    weightBytes: constants.reduce((sum, constant) => sum + constant.tensor.byteLength, 0),
    nodes,
    unknown,
  };
}

function lookupOf(types: ReadonlyMap<Value, ValueType>, sizes: SymbolSizes): ShapeLookup {
  const bindings = new Map(Object.entries(sizes));
  const sizeOf = (dim: Dim): number | undefined => {
    if (typeof dim === "number") return dim;
    const ones = [...dimSymbols(dim)].map((name): [string, number] => [name, 1]);
    const size = bindDim(dim, new Map([...ones, ...bindings]));
    return typeof size === "number" ? Math.max(0, size) : undefined;
  };
  return (value) => {
    const type = value && (types.get(value) ?? value.type);
    if (type?.kind !== "tensor") return undefined;
    const dims = type.shape?.map(sizeOf);
    return dims?.every((dim) => dim !== undefined) ? dims : undefined;
  };
}

function macsOf(node: Node, shapeOf: ShapeLookup): number | undefined {
  const rule = macRules.get(node.domain)?.get(node.opType);
  if (rule) return rule(node, shapeOf, (inner) => macsOf(inner, shapeOf));
  return shapeRule(node.domain, node.opType) ? 0 : undefined;
}

/** Names of formal inputs that say how numbers are stored, or where. */
const storage = /_scale$|_zero_point$|^scales$|^zero_points$|^absmax$|^g_idx$|^roi$/;

/** The constants that a node reads, each once; `params`: how many numbers the model learned are in it. */
export function constantsOfNode(node: Node): { value: Value; tensor: Tensor; params: number }[] {
  const formals = schemaVersions(node.domain, node.opType).at(-1)?.inputs ?? [];
  return [...new Set(node.inputs)].flatMap((value) => {
    const tensor = value?.tensor ?? constantTensor(value?.producer);
    if (!value || !tensor) return [];
    const name = formalAt(formals, node.inputs.indexOf(value))?.name ?? "";
    const learned = !storage.test(name) && isLearned(node, tensor);
    return [{ value, tensor, params: learned ? paramCount(node, tensor, name) : 0 }];
  });
}

function constantTensor(node: Node | undefined): Tensor | undefined {
  return node?.opType === "Constant" && node.domain === "" ? node.tensor("value") : undefined;
}

/** Operators that take biases as int32. */
const int32Biases = new Set(["QLinearConv", "QGemm", "DequantizeLinear", "ConvInteger"]);

/** Integers of 32 bits and more are sizes and indices, save for the biases of quantized layers. */
function isLearned(node: Node, tensor: Tensor): boolean {
  const { kind, bits } = dtypeInfo(tensor.dtype);
  if (kind === "float") return true;
  if (kind !== "int" && kind !== "uint") return false;
  return bits <= 16 || (tensor.dtype === "int32" && int32Biases.has(node.opType));
}

/** Codes of less than a byte lie packed in uint8 tensors. */
function paramCount(node: Node, tensor: Tensor, name: string): number {
  const [n, k] = [node.int("N"), node.int("K")];
  if (node.domain === "com.microsoft" && name === "B" && n !== undefined && k !== undefined) return n * k;
  if (node.opType === "GatherBlockQuantized" && name === "data" && tensor.dtype === "uint8")
    return tensor.size * (8 / node.int("bits", 4));
  return elementCount(tensor.dims);
}
