/** @file What a shape rule is given: one node, what is known of its inputs, and the questions rules ask. */
import type { Node } from "../../ir/node.ts";
import type { Dim, Shape, TensorType, ValueType } from "../../ir/types.ts";
import { tensorType, typeToString } from "../../ir/types.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type ErrorCode, TersorError } from "../../util/errors.ts";
import { formalAt, type OpSchema } from "../schema.ts";
import { maxDim, sameDim } from "../symbolic/dim.ts";

/**
 * What is known of the elements of a small tensor, row-major: numbers, sizes that depend on symbols, or null. Booleans
 * are 0 and 1. Integers beyond ±(2^53 − 1) are saturated.
 */
export interface Contents {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly values: readonly Dim[];
}

export type MaybeType = ValueType | undefined;

/** What is known of a value that enters a subgraph. */
export interface BodyInput {
  readonly type: MaybeType;
  readonly contents?: Contents | undefined;
}

/** What inference found for the outputs of a subgraph. */
export type BodyOutput = BodyInput;

export interface BodyResult {
  readonly outputs: readonly BodyOutput[];
  /** Why the subgraph can't run on these inputs. Only branches of an If have it: others fail at once. */
  readonly misfit?: TersorError | undefined;
}

/** Types of a node's outputs, in order; undefined, or a shorter list, where nothing is known. Pure. */
export type ShapeRule = (call: Call) => readonly MaybeType[];
export type ShapeRules = Readonly<Record<string, ShapeRule>>;

/** Infers the subgraph in an attribute for inputs as given. */
export type BodyInference = (attribute: string, inputs: readonly BodyInput[]) => BodyResult;

/** One node under inference. */
export class Call {
  readonly node: Node;
  /** Version of the node's domain that the model imports. */
  readonly opset: number;
  readonly types: readonly MaybeType[];
  readonly contents: readonly (Contents | undefined)[];
  readonly schema: OpSchema | undefined;
  readonly body: BodyInference;

  constructor(
    node: Node,
    opset: number,
    inputs: readonly BodyInput[],
    schema: OpSchema | undefined,
    body: BodyInference,
  ) {
    this.node = node;
    this.opset = opset;
    this.types = inputs.map((input) => input.type);
    this.contents = inputs.map((input) => input.contents);
    this.schema = schema;
    this.body = body;
  }

  /** Whether an optional input is there. */
  has(index: number): boolean {
    return this.node.inputs[index] !== undefined;
  }

  /** The tensor type of an input, undefined when not known. @throws bad-model when it is a sequence, an optional or a map. */
  tensor(index: number): TensorType | undefined {
    const type = this.types[index];
    if (!type) return undefined;
    if (type.kind === "tensor" || type.kind === "sparse-tensor") return type;
    return this.fail(`input ${index}`, "a tensor", typeToString(type), "bad-model");
  }

  dtype(index: number): DType | undefined {
    return this.tensor(index)?.dtype;
  }

  shape(index: number): Shape | undefined {
    return this.tensor(index)?.shape;
  }

  rank(index: number): number | undefined {
    return this.shape(index)?.length;
  }

  /** The shape of an input that must have `rank` dims. @throws shape-mismatch */
  ranked(index: number, rank: number): Shape | undefined {
    const shape = this.shape(index);
    if (shape && shape.length !== rank) this.fail(`rank of input ${index}`, `${rank}`, `[${shape.join(",")}]`);
    return shape;
  }

  /** The elements of an input, when they are known at least in part. */
  values(index: number): readonly Dim[] | undefined {
    return this.contents[index]?.values;
  }

  /** The elements of an input, when all are numbers. */
  numbers(index: number): readonly number[] | undefined {
    const values = this.values(index);
    return values?.every((value) => typeof value === "number") ? values : undefined;
  }

  /** The first element of an input. */
  scalar(index: number): Dim {
    return this.values(index)?.[0] ?? null;
  }

  /**
   * Numbers that are an attribute in old opsets and an input in new ones. "absent" when neither is given, undefined when
   * the input is not known before the model runs.
   */
  numbersFrom(attribute: string, index: number): readonly number[] | "absent" | undefined {
    if (this.has(index)) return this.numbers(index);
    return this.node.ints(attribute) ?? "absent";
  }

  /** An integer attribute; `fallback` where it is left out. */
  int(name: string, fallback: number): number {
    return this.node.int(name, fallback);
  }

  flag(name: string, fallback = false): boolean {
    return this.node.int(name, fallback ? 1 : 0) !== 0;
  }

  /** An axis counted from the front. @throws shape-mismatch when it is outside of the rank (`extra`: axes one may insert). */
  axis(axis: number, rank: number, extra = 0): number {
    const at = axis < 0 ? axis + rank + extra : axis;
    if (at < 0 || at >= rank + extra) this.fail("axis", `${-rank - extra} to ${rank + extra - 1}`, `${axis}`);
    return at;
  }

  /** The element type that the operator's schema gives an output: that of an input with the same type parameter, or the only one allowed. */
  outputDtype(index: number): DType | undefined {
    const formal = this.schema && formalAt(this.schema.outputs, index);
    if (!formal || !this.schema) return undefined;
    if (formal.dtypes.size === 1 && formal.types.length === 1) return [...formal.dtypes][0];
    const { typeParameter } = formal;
    if (!typeParameter) return undefined;
    for (const [i, type] of this.types.entries()) {
      if (formalAt(this.schema.inputs, i)?.typeParameter !== typeParameter) continue;
      if (type?.kind === "tensor") return type.dtype;
    }
    return undefined;
  }

  /** Output `index` with this shape; its element type is the schema's unless given. */
  out(shape: Shape | undefined, dtype: DType | undefined = this.outputDtype(0)): MaybeType {
    return dtype && tensorType(dtype, shape);
  }

  /** Shapes of all outputs in order, element types from the schema; `null` leaves an output unknown. */
  outs(...shapes: readonly (Shape | undefined)[]): readonly MaybeType[] {
    return shapes.map((shape, i) => (this.node.outputs[i] ? this.out(shape, this.outputDtype(i)) : undefined));
  }

  /** The dim when two must be equal: the one that says more. @throws shape-mismatch */
  equal(what: string, a: Dim | undefined, b: Dim | undefined): Dim {
    if (typeof a === "number" && typeof b === "number" && a !== b) this.fail(what, `${a}`, `${b}`);
    if (typeof b === "number") return b;
    return a ?? b ?? null;
  }

  /** Sizes broadcast against each other as numpy does. Undefined when a rank is unknown. @throws shape-mismatch */
  broadcast(shapes: readonly (Shape | undefined)[]): Shape | undefined {
    const known = shapes.filter((shape) => shape !== undefined);
    if (known.length < shapes.length) return undefined;
    const rank = known.reduce((most, shape) => Math.max(most, shape.length), 0);
    return Array.from({ length: rank }, (_, i) =>
      known.reduce<Dim>((dim, shape) => {
        const at = i - rank + shape.length;
        return at < 0 ? dim : this.#broadcastDim(dim, shape[at] ?? null);
      }, 1),
    );
  }

  /** A fixed size other than 1 decides. Of two symbols one is 1 or they are equal: the larger one. */
  #broadcastDim(a: Dim, b: Dim): Dim {
    if (a === 1) return b;
    if (b === 1 || sameDim(a, b)) return a;
    if (typeof a === "number" && typeof b === "number")
      this.fail("shapes can't be broadcast together", `${a} or 1`, `${b}`);
    if (typeof a === "number") return a;
    return typeof b === "number" ? b : maxDim(a, b);
  }

  /** @throws the error that names the node. */
  fail(what: string, expected: string, got: string, code: ErrorCode = "shape-mismatch"): never {
    throw new TersorError(code, `${this.node}: ${what}: expected ${expected}, got ${got}. The model is not sound.`);
  }
}

/** Dims all unknown. */
export function unknownShape(rank: number): Shape {
  return Array.from({ length: rank }, () => null);
}

/** A copy of a shape with one dim replaced. */
export function withDim(shape: Shape, axis: number, dim: Dim): Shape {
  return shape.map((old, i) => (i === axis ? dim : old));
}
