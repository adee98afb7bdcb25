/** @file What a content rule is: the elements of a node's outputs from those of its inputs. */
import type { DType } from "../../tensor/dtype.ts";
import type { Call, Contents } from "../shapes/call.ts";

/** Type of an output: `dims` where all are numbers. */
export interface OutputType {
  readonly dtype: DType;
  readonly dims?: readonly number[] | undefined;
}

/** Contents of the outputs, in order; a shorter list, or undefined, where nothing is known. Pure. */
export type ContentRule = (
  call: Call,
  outputs: readonly (OutputType | undefined)[],
) => readonly (Contents | undefined)[];
export type ContentRules = Readonly<Record<string, ContentRule>>;
