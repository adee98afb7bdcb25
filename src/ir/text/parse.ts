/** @file parse: text to model, as a function and as a template tag. */
import type { Tensor } from "../../tensor/tensor.ts";
import type { Model } from "../model.ts";
import { buildModel } from "./build.ts";
import { parseModel } from "./parser.ts";
import { Reader, type TensorSupplier } from "./reader.ts";

export interface ParseOptions {
  /** The tensor that a hash stands for where elements were left out (see hashTensor). Default: none, which is an error. */
  readonly tensors?: TensorSupplier;
}

/** What a template may contain: text, numbers, and tensors for their elements. */
export type ParseArgument = string | number | bigint | Tensor;

/**
 * Reads a model from text. As a template tag, text is taken raw (a backslash is a backslash), and a tensor in `${}` stands
 * for its elements with the braces: `` parse`(float[2] x) => (y) <float[2] w = ${tensor}> { y = Add(x, w) }` ``.
 * Without a header: IR version 10, opset 21, version 1 of other domains in use. Outputs need no type.
 * @throws bad-model with line and column; limit-exceeded when nested deeper than 64 levels.
 */
export function parse(text: string, options?: ParseOptions): Model;
export function parse(text: TemplateStringsArray, ...values: readonly ParseArgument[]): Model;
export function parse(text: string | TemplateStringsArray, ...rest: readonly unknown[]): Model {
  if (typeof text === "string") return read(text, (rest[0] as ParseOptions | undefined)?.tensors);
  const tensors = new Map<string, Tensor>();
  const parts = (rest as readonly ParseArgument[]).map((value) => {
    if (typeof value !== "object") return String(value);
    const key = `argument:${tensors.size}`;
    tensors.set(key, value);
    return `{…${key}}`;
  });
  return read(String.raw(text, ...parts), (hash) => tensors.get(hash));
}

function read(text: string, tensors: TensorSupplier = () => undefined): Model {
  const reader = new Reader(text, tensors);
  return buildModel(parseModel(reader), reader.lexer);
}
