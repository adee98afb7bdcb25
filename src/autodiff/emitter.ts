/** @file Emitter: adds operators to a graph, follows their types, and never computes the same twice. */
import type { AttributeValue } from "../ir/attribute.ts";
import { attr } from "../ir/attribute.ts";
import type { Graph } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { type Shape, staticShape, type TensorType, typeToString, type ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { contentsOfTensor } from "../ops/contents/tensor.ts";
import { schemaOf } from "../ops/schema.ts";
import { Call, type Contents } from "../ops/shapes/call.ts";
import { shapeRule } from "../ops/shapes/index.ts";
import { sameDim } from "../ops/symbolic/dim.ts";
import { type DType, dtypeInfo } from "../tensor/dtype.ts";
import { fromNumbers, int64 } from "../tensor/tensor.ts";
import { invariant, TersorError } from "../util/errors.ts";
import { type Attributes, type Operand, type OperatorName, type Operators, operatorNames } from "./operators.ts";

/** What is known of the values of a graph: {@link Emitter} adds what it emits. */
export interface Knowledge {
  readonly types: ReadonlyMap<Value, ValueType>;
  readonly contents: ReadonlyMap<Value, Contents>;
}

/** `op.Mul(a, b)`, `op.ReduceSum(x, [0, 1], { keepdims: 0 })`: every operator of {@link operatorNames} is a method. */
export type Emitter = EmitterCore & Operators;

/** An emitter that appends to `graph`, after all that is there; `opset` is the model's. */
export function makeEmitter(graph: Graph, opset: number, known: Knowledge): Emitter {
  const core = new EmitterCore(graph, opset, known);
  const methods = operatorNames.map((name: OperatorName) => [
    name,
    (...operands: (Operand | Attributes)[]) => core.emit(name, operands)[0],
  ]);
  return Object.assign(core, Object.fromEntries(methods)) as Emitter;
}

/** Use {@link makeEmitter}. */
export class EmitterCore {
  /** Emitted values are named after this one. */
  subject = "";
  readonly graph: Graph;
  readonly #opset: number;
  readonly #types: Map<Value, ValueType>;
  readonly #contents: Map<Value, Contents>;
  readonly #constants = new Map<string, Value>();
  /** Outputs by operator, inputs and attributes. */
  readonly #emitted = new Map<string, readonly Value[]>();
  readonly #ids = new Map<Value, number>();

  constructor(graph: Graph, opset: number, { types, contents }: Knowledge) {
    this.graph = graph;
    this.#opset = opset;
    this.#types = new Map(types);
    this.#contents = new Map(contents);
  }

  /**
   * Adds a node, or finds the same one emitted before, and gives its outputs. Operands: values; a number, which becomes a scalar
   * of the first value's dtype; a list, which becomes an int64 vector; undefined for an optional input left out. A last operand
   * that is an object holds attributes; they get the types that the operator's schema says.
   * @throws shape-mismatch when the operands do not fit: a rule is wrong.
   */
  emit(opType: string, operands: readonly (Operand | Attributes)[], count = 1): readonly Value[] {
    const last = operands.at(-1);
    const attributes = isAttributes(last) ? last : {};
    const inputs = this.#inputsOf((isAttributes(last) ? operands.slice(0, -1) : operands) as readonly Operand[]);
    const key = JSON.stringify([opType, count, inputs.map((value) => this.#idOf(value)), attributes]);
    const same = this.#emitted.get(key);
    if (same?.every((value) => value.producer)) return same;
    const hint = `${this.subject}.${opType.toLowerCase()}`;
    const schema = schemaOf("", opType, this.#opset);
    const typed = Object.entries(attributes).map(([name, value]) => {
      const type = schema?.attributes.get(name)?.type;
      return [name, attributeOf(type, value, `${opType}.${name}`)] as const;
    });
    const node = this.graph.addNode({
      opType,
      inputs,
      outputs: Array.from({ length: count }, () => hint),
      attributes: Object.fromEntries(typed),
    });
    this.#infer(node);
    const outputs = Array.from({ length: count }, (_, i) => node.output(i));
    this.#emitted.set(key, outputs);
    return outputs;
  }

  /** A constant of these elements, one value for all that are equal. */
  constant(dtype: DType, dims: readonly number[], data: readonly number[]): Value {
    const key = `${dtype}[${dims}]${data.map((x) => (Object.is(x, -0) ? "-0" : x))}`;
    let value = this.#constants.get(key);
    if (!value) {
      const tensor = dtype === "int64" ? int64(dims, data) : fromNumbers(dtype, dims, data);
      value = this.graph.addInitializer(`${dtype}_${data.length === 1 ? data[0] : "constant"}`, tensor);
      this.declare(value, value.type);
      const contents = contentsOfTensor(tensor);
      if (contents) this.#contents.set(value, contents);
      this.#constants.set(key, value);
    }
    return value;
  }

  /** A scalar of a value's dtype. */
  like(value: Value | undefined, number: number): Value {
    return this.constant(this.dtype(value), [], [number]);
  }

  /** Says the type of a value that was added to the graph without the emitter. */
  declare(value: Value, type: ValueType | undefined): void {
    if (type) this.#types.set(value, type);
  }

  /** An emitter for a graph inside of this one: it knows what is known here. */
  inside(graph: Graph): Emitter {
    return makeEmitter(graph, this.#opset, { types: this.#types, contents: this.#contents });
  }

  /** An output of a forward node; one that the node leaves out is added to it. */
  output(node: Node, index: number): Value {
    const present = node.outputs[index];
    if (present) return present;
    const added = node.graph.addNodeOutput(node, index, `${node.outputs.find((output) => output)?.name}.${index}`);
    this.#infer(node);
    return added;
  }

  /** What is known of a value's type; undefined for sequences and the like too. */
  typeOf(value: Value | undefined): TensorType | undefined {
    const type = value && (this.#types.get(value) ?? value.type);
    return type?.kind === "tensor" ? type : undefined;
  }

  /** @throws unsupported-op when the element type is not known. */
  dtype(value: Value | undefined): DType {
    return this.typeOf(value)?.dtype ?? this.#unknown(value, "element type");
  }

  /** @throws unsupported-op when the rank is not known. */
  rank(value: Value | undefined): number {
    return this.symbolicShape(value).length;
  }

  /** Dims, symbols included. @throws unsupported-op when the rank is not known. */
  symbolicShape(value: Value | undefined): Shape {
    return this.typeOf(value)?.shape ?? this.#unknown(value, "rank");
  }

  /** Dims, all known. @throws unsupported-op when one is not: it asks for `shapes`. */
  shape(value: Value | undefined): readonly number[] {
    return staticShape(this.typeOf(value)) ?? this.#unknown(value, "shape");
  }

  /** An axis counted from the front. */
  axis(value: Value | undefined, axis: number): number {
    return axis < 0 ? axis + this.rank(value) : axis;
  }

  /** Elements of an integer tensor that are known before the model runs. @throws unsupported-op when they are not. */
  integers(value: Value | undefined): readonly number[] {
    return this.known(value) ?? this.#unknown(value, "elements");
  }

  /** The elements of a small constant, where they are known. */
  known(value: Value | undefined): readonly number[] | undefined {
    const values = value && this.#contents.get(value)?.values;
    return values?.every((x) => typeof x === "number") ? values : undefined;
  }

  /** The value in another dtype; itself where it has it already. */
  cast(value: Value | undefined, dtype: DType): Value {
    invariant(value, "cast of nothing");
    return this.dtype(value) === dtype ? value : this.#one("Cast", value, { to: dtypeInfo(dtype).code });
  }

  /** A condition as 0 or 1 in the dtype of `like`. */
  mask(condition: Value, like: Value | undefined): Value {
    return this.cast(condition, this.dtype(like));
  }

  /** `value` with these dims, at no cost where it has them. */
  reshape(value: Value | undefined, dims: readonly number[]): Value {
    invariant(value, "reshape of nothing");
    return sameShape(this.typeOf(value)?.shape, dims) ? value : this.#one("Reshape", value, dims);
  }

  /** Transposed; itself where `perm` changes nothing. */
  transpose(value: Value | undefined, perm: readonly number[]): Value {
    invariant(value, "transpose of nothing");
    return perm.every((axis, i) => axis === i) ? value : this.#one("Transpose", value, { perm });
  }

  /**
   * Values before and after along one axis, zeros without `fill`. Written for all axes: ONNX Runtime moves a Transpose past a Pad as if it
   * never named any.
   */
  pad(value: Value, axis: number, before: number, after: number, fill?: Value): Value {
    if (before === 0 && after === 0) return value;
    const rank = this.rank(value);
    const pads = Array.from({ length: 2 * rank }, () => 0);
    const at = this.axis(value, axis);
    pads[at] = before;
    pads[rank + at] = after;
    return this.#one("Pad", value, pads, ...(fill ? [fill] : []));
  }

  /** The sum of values of one shape. */
  sum(values: readonly Value[]): Value {
    const [first] = values;
    invariant(first, "sum of nothing");
    return values.length === 1 ? first : this.#one(values.length === 2 ? "Add" : "Sum", ...values);
  }

  /** A gradient in the shape of `target`: summed over what `target` was broadcast along, expanded where it is smaller. */
  fit(gradient: Value, target: Value): Value {
    const from = this.symbolicShape(gradient);
    const to = this.symbolicShape(target);
    if (sameShape(from, to)) return gradient;
    const lead = from.length - to.length;
    const summed = from.flatMap((dim, i) => (i < lead || (to[i - lead] === 1 && dim !== 1) ? [i] : []));
    let fitted = gradient;
    if (summed.length > 0) {
      const keepdims = summed.some((axis) => axis >= lead);
      fitted = this.#one("ReduceSum", gradient, summed, { keepdims: Number(keepdims) });
      if (keepdims && lead > 0)
        fitted = this.#one(
          "Squeeze",
          fitted,
          Array.from({ length: lead }, (_, i) => i),
        );
    }
    if (sameShape(this.symbolicShape(fitted), to)) return fitted;
    const shape = staticShape(this.typeOf(target));
    return this.#one("Expand", fitted, shape ?? this.#one("Shape", target));
  }

  #one(opType: string, ...operands: (Operand | Attributes)[]): Value {
    return this.emit(opType, operands)[0] as Value;
  }

  #idOf(value: Value | undefined): number {
    if (!value) return -1;
    const id = this.#ids.get(value) ?? this.#ids.size;
    this.#ids.set(value, id);
    return id;
  }

  #inputsOf(operands: readonly Operand[]): (Value | undefined)[] {
    const first = operands.find((operand) => typeof operand === "object" && !isList(operand)) as Value | undefined;
    return operands.map((operand) => {
      if (typeof operand === "number") return this.like(first, operand);
      return isList(operand) ? this.constant("int64", [operand.length], operand) : operand;
    });
  }

  #infer(node: Node): void {
    const rule = shapeRule("", node.opType);
    invariant(rule, `gradients emit ${node.opType}, which has no shape rule`);
    const inputs = node.inputs.map((value) => ({
      type: value && (this.#types.get(value) ?? value.type),
      contents: value && this.#contents.get(value),
    }));
    const body = () => {
      throw new TersorError("internal", `internal: ${node} has a graph: declare() its outputs.`);
    };
    const types = rule(new Call(node, this.#opset, inputs, schemaOf("", node.opType, this.#opset), body));
    node.outputs.forEach((output, i) => {
      if (output) this.declare(output, types[i]);
    });
  }

  #unknown(value: Value | undefined, what: string): never {
    throw new TersorError(
      "unsupported-op",
      `gradient: value "${value?.name ?? ""}" ${typeToString(this.typeOf(value))}: its ${what} must be known before the model runs. Give the sizes of the model's inputs with "shapes".`,
    );
  }
}

function isList(operand: unknown): operand is readonly number[] {
  return Array.isArray(operand);
}

function isAttributes(operand: Operand | Attributes): operand is Attributes {
  return typeof operand === "object" && Object.getPrototypeOf(operand) === Object.prototype;
}

function attributeOf(type: string | undefined, value: Attributes[string], subject: string): AttributeValue {
  if (typeof value === "string") return attr.string(value);
  if (typeof value === "number") return type === "float" ? attr.float(value) : attr.int(value);
  invariant(type === "ints" || type === "floats", `${subject}: a list for an attribute of type ${type}`);
  return type === "ints" ? attr.ints(value) : attr.floats(value);
}

/** Whether two shapes are the same in every run. */
function sameShape(a: Shape | undefined, b: Shape): boolean {
  return a?.length === b.length && a.every((dim, i) => dim !== null && sameDim(dim, b[i] ?? null));
}
