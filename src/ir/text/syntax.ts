/** @file The syntax tree of the textual format: what the parser read, before names are resolved. */

import type { Tensor } from "../../tensor/tensor.ts";
import type { Attribute, AttributeReference, AttributeValue, SparseTensor } from "../attribute.ts";
import type { ValueType } from "../types.ts";

/** A name and where it stands; "" for a missing input or output. */
export interface Name {
  readonly text: string;
  readonly at: number;
}

/** What may be said of any graph, node or value beside its structure. */
export interface Notes {
  readonly docString: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly unknown: Uint8Array | undefined;
}

export interface ValueSyntax extends Notes {
  readonly name: Name;
  readonly type: ValueType | undefined;
  readonly tensor: Tensor | undefined;
  readonly sparse: SparseTensor | undefined;
}

export type GraphAttributeSyntax =
  | { readonly type: "graph"; readonly value: GraphSyntax }
  | { readonly type: "graphs"; readonly value: readonly GraphSyntax[] };

/** An attribute whose graphs, if it has any, are not built yet. */
export type AttributeSyntax =
  | GraphAttributeSyntax
  | AttributeReference
  | Exclude<AttributeValue, { type: "graph" | "graphs" }>;

export interface NodeSyntax extends Notes {
  readonly name: string;
  readonly opType: string;
  readonly domain: string;
  readonly overload: string;
  readonly inputs: readonly Name[];
  readonly outputs: readonly Name[];
  readonly attributes: ReadonlyMap<string, AttributeSyntax>;
}

export interface GraphSyntax extends Notes {
  readonly name: string;
  readonly inputs: readonly ValueSyntax[];
  readonly outputs: readonly ValueSyntax[];
  /** Initializers, and types of values between nodes. */
  readonly values: readonly ValueSyntax[];
  readonly nodes: readonly NodeSyntax[];
}

/** The fields of a model's or function's header, those that were given. */
export interface HeaderSyntax {
  irVersion?: number;
  opsetImports?: ReadonlyMap<string, number>;
  producerName?: string;
  producerVersion?: string;
  domain?: string;
  overload?: string;
  modelVersion?: bigint;
  docString?: string;
  metadata?: ReadonlyMap<string, string>;
  unknown?: Uint8Array;
}

export interface FunctionSyntax {
  readonly header: HeaderSyntax;
  readonly attributes: readonly string[];
  readonly defaults: ReadonlyMap<string, Attribute>;
  readonly graph: GraphSyntax;
}

export interface ModelSyntax {
  readonly header: HeaderSyntax;
  readonly graph: GraphSyntax;
  readonly functions: readonly FunctionSyntax[];
}
