/** @file Which arguments of a node can be float16: what its schema says, and the few things that a schema can't. */
import { type Attribute, attr } from "../../ir/attribute.ts";
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import { formalAt, type OpSchema, schemaOf } from "../../ops/schema.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import { fromNumbers } from "../../tensor/tensor.ts";
import { own } from "../../util/own.ts";
import { opKey } from "../layers/sites.ts";
import { halfConstant } from "./constants.ts";

/** Inputs that kernels read as float32 although the schema allows float16. */
const pinnedInputs: Readonly<Record<string, readonly number[]>> = { Resize: [1, 2] };

/** Nodes whose subgraphs may hand on float16. */
export const halfBodies: ReadonlySet<string> = new Set(["If", "Loop", "Scan"]);

/** Operators that take either type as it comes: their outputs do not depend on it. */
export const indifferent: ReadonlySet<string> = new Set(["Cast", "Shape", "Size"]);

const halfCode: Attribute = attr.int(dtypeInfo("float16").code);
const zero = fromNumbers("float16", [1], [0]);

/** The attribute that says an output is float16, where no input does. */
const typeAttributes: Readonly<Record<string, { readonly name: string; value(node: Node): Attribute }>> = {
  Cast: { name: "to", value: () => halfCode },
  ConstantOfShape: {
    name: "value",
    value: (node) => {
      const tensor = node.tensor("value");
      return attr.tensor(tensor ? halfConstant("value", tensor, { clamp: true, measure: false }).tensor : zero);
    },
  },
  DequantizeLinear: { name: "output_dtype", value: () => halfCode },
  HannWindow: { name: "output_datatype", value: () => halfCode },
  HammingWindow: { name: "output_datatype", value: () => halfCode },
  BlackmanWindow: { name: "output_datatype", value: () => halfCode },
  EyeLike: { name: "dtype", value: () => halfCode },
  Bernoulli: { name: "dtype", value: () => halfCode },
};

/** Operators that are refused in float16 although their schema has it: without a float input there is nothing that a runtime could cast. */
export const noHalfKernel: ReadonlySet<string> = new Set([
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
]);

/** What is known of a node's arguments. */
export interface NodeTypes {
  /** Absent for operators without a schema: nothing of them can be float16. */
  readonly schema: OpSchema | undefined;
  /** Whether the argument at a position may be float16. */
  input(index: number): boolean;
  output(index: number): boolean;
  /** Whether an output's type follows from that of an input. */
  isBound(index: number, inputs: readonly number[]): boolean;
}

export function nodeTypes(model: Model, node: Node): NodeTypes {
  const { domain, opType, overload } = node;
  const isCall = model.functions.some((fn) => fn.domain === domain && fn.name === opType && fn.overload === overload);
  const schema = isCall ? undefined : schemaOf(domain, opType, model.opsetImports.get(domain) ?? 1);
  const pinned = own(pinnedInputs, opKey(node)) ?? [];
  const allows = (formals: OpSchema["inputs"] | undefined, index: number) =>
    formals ? (formalAt(formals, index)?.dtypes.has("float16") ?? false) : false;
  return {
    schema,
    input: (index) => allows(schema?.inputs, index) && !pinned.includes(index),
    output: (index) => allows(schema?.outputs, index),
    isBound(index, inputs) {
      const parameter = schema && formalAt(schema.outputs, index)?.typeParameter;
      return inputs.some((input) => schema && formalAt(schema.inputs, input)?.typeParameter === parameter);
    },
  };
}

/** Whether an attribute can make the node's outputs float16. */
export function hasTypeAttribute(node: Node): boolean {
  return Object.hasOwn(typeAttributes, opKey(node));
}

/** Lets the attribute say float16. */
export function setTypeAttribute(node: Node): void {
  const row = own(typeAttributes, opKey(node));
  if (row) node.attributes.set(row.name, row.value(node));
}
