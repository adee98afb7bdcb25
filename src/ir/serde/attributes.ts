/** @file Attributes between the IR and the file: one row per type. */
import type { AttributeProto, GraphProto, TensorProto } from "../../proto/messages.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import {
  type Attribute,
  type AttributeType,
  type AttributeValue,
  isReference,
  type SparseTensor,
} from "../attribute.ts";
import type { Graph } from "../graph.ts";
import type { ValueType } from "../types.ts";
import { decodeSparse, decodeTensor, type ExternalDataResolver } from "./decode-tensor.ts";
import { extraOf, withExtra } from "./extras.ts";
import { decodeType, encodeType } from "./types.ts";

export interface AttributeDecoding {
  readonly subject: string;
  readonly external: ExternalDataResolver;
  graph(proto: GraphProto): Graph;
}

export interface AttributeEncoding {
  tensor(tensor: Tensor): TensorProto;
  graph(graph: Graph): GraphProto;
}

interface Row {
  readonly type: AttributeType;
  /** AttributeProto.AttributeType. */
  readonly code: number;
  readonly field: keyof AttributeProto;
  decode(proto: AttributeProto, ctx: AttributeDecoding): unknown;
  encode(value: never, ctx: AttributeEncoding): AttributeProto;
}

function typeOf(proto: Parameters<typeof decodeType>[0], { subject }: AttributeDecoding): ValueType {
  const type = decodeType(proto, subject);
  if (type) return type;
  throw new TersorError("bad-model", `${subject}: a type attribute is empty. The file is damaged.`);
}

function encodeSparse(sparse: SparseTensor, ctx: AttributeEncoding) {
  return { values: ctx.tensor(sparse.values), indices: ctx.tensor(sparse.indices), dims: sparse.dims.map(BigInt) };
}

const rows: readonly Row[] = [
  { type: "float", code: 1, field: "f", decode: (p) => p.f ?? 0, encode: (f: number) => ({ f }) },
  { type: "int", code: 2, field: "i", decode: (p) => p.i ?? 0n, encode: (i: bigint) => ({ i }) },
  { type: "string", code: 3, field: "s", decode: (p) => p.s ?? new Uint8Array(0), encode: (s: Uint8Array) => ({ s }) },
  {
    type: "tensor",
    code: 4,
    field: "t",
    decode: (p, ctx) => decodeTensor(p.t ?? {}, ctx.subject, ctx.external),
    encode: (value: Tensor, ctx) => ({ t: ctx.tensor(value) }),
  },
  {
    type: "graph",
    code: 5,
    field: "g",
    decode: (p, ctx) => ctx.graph(p.g ?? {}),
    encode: (value: Graph, ctx) => ({ g: ctx.graph(value) }),
  },
  {
    type: "floats",
    code: 6,
    field: "floats",
    decode: (p) => p.floats ?? [],
    encode: (floats: number[]) => ({ floats }),
  },
  { type: "ints", code: 7, field: "ints", decode: (p) => p.ints ?? [], encode: (ints: bigint[]) => ({ ints }) },
  {
    type: "strings",
    code: 8,
    field: "strings",
    decode: (p) => p.strings ?? [],
    encode: (strings: Uint8Array[]) => ({ strings }),
  },
  {
    type: "tensors",
    code: 9,
    field: "tensors",
    decode: (p, ctx) => (p.tensors ?? []).map((t) => decodeTensor(t, ctx.subject, ctx.external)),
    encode: (value: readonly Tensor[], ctx) => ({ tensors: value.map((t) => ctx.tensor(t)) }),
  },
  {
    type: "graphs",
    code: 10,
    field: "graphs",
    decode: (p, ctx) => (p.graphs ?? []).map((g) => ctx.graph(g)),
    encode: (value: readonly Graph[], ctx) => ({ graphs: value.map((g) => ctx.graph(g)) }),
  },
  {
    type: "sparse-tensor",
    code: 11,
    field: "sparseTensor",
    decode: (p, ctx) => decodeSparse(p.sparseTensor ?? {}, ctx.subject, ctx.external),
    encode: (value: SparseTensor, ctx) => ({ sparseTensor: encodeSparse(value, ctx) }),
  },
  {
    type: "sparse-tensors",
    code: 12,
    field: "sparseTensors",
    decode: (p, ctx) => (p.sparseTensors ?? []).map((s) => decodeSparse(s, ctx.subject, ctx.external)),
    encode: (value: readonly SparseTensor[], ctx) => ({ sparseTensors: value.map((s) => encodeSparse(s, ctx)) }),
  },
  {
    type: "type",
    code: 13,
    field: "tp",
    decode: (p, ctx) => typeOf(p.tp, ctx),
    encode: (value: ValueType) => ({ tp: encodeType(value) }),
  },
  {
    type: "types",
    code: 14,
    field: "typeProtos",
    decode: (p, ctx) => (p.typeProtos ?? []).map((t) => typeOf(t, ctx)),
    encode: (value: readonly ValueType[]) => ({ typeProtos: value.map(encodeType) }),
  },
];

const byCode = new Map(rows.map((row) => [row.code, row]));
const byType = new Map(rows.map((row) => [row.type, row]));

/** Decodes one attribute. Files of IR version 1 leave the type out: then the field that is set decides. */
export function decodeAttribute(proto: AttributeProto, ctx: AttributeDecoding): Attribute {
  const row = proto.type ? byCode.get(proto.type) : rows.find(({ field }) => proto[field] !== undefined);
  if (!row)
    throw new TersorError(
      "bad-model",
      `${ctx.subject}: expected an attribute type from 1 to 14, got ${proto.type ?? "none"}. The file is damaged.`,
    );
  const { docString, unknown, refAttrName: reference } = proto;
  const attribute = reference
    ? { type: row.type, reference }
    : ({ type: row.type, value: row.decode(proto, ctx) } as AttributeValue);
  return withExtra(attribute, { docString, unknown });
}

export function encodeAttribute(name: string, attribute: Attribute, ctx: AttributeEncoding): AttributeProto {
  const row = byType.get(attribute.type) as Row;
  const value = isReference(attribute)
    ? { refAttrName: attribute.reference }
    : row.encode(attribute.value as never, ctx);
  return { name, ...value, type: row.code, ...extraOf<AttributeProto>(attribute) };
}
