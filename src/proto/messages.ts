/** @file The messages of ONNX (onnx.proto, IR version 13): field numbers and types, one table. */
import type { ByteSource } from "../util/bytes.ts";

/**
 * `lazy` bytes stay in their source; `floats32`/`floats64` are repeated floats kept as little-endian bytes in their
 * source; `int32s`/`int64s`/`uint64s` are repeated varints decoded into typed arrays.
 */
export type ScalarKind =
  | "int64"
  | "int32"
  | "float"
  | "string"
  | "bytes"
  | "lazy"
  | "floats32"
  | "floats64"
  | "int32s"
  | "int64s"
  | "uint64s";

export interface FieldSpec {
  readonly number: number;
  readonly name: string;
  readonly kind: ScalarKind | MessageName;
  readonly repeated: boolean;
}

export interface StringStringEntryProto {
  key?: string;
  value?: string;
}

export interface OperatorSetIdProto {
  domain?: string;
  version?: bigint;
}

export interface DimensionProto {
  dimValue?: bigint;
  dimParam?: string;
  denotation?: string;
}

export interface TensorShapeProto {
  dim?: DimensionProto[];
}

export interface TensorTypeProto {
  elemType?: number;
  shape?: TensorShapeProto;
}

export interface ElementTypeProto {
  elemType?: TypeProto;
}

export interface MapTypeProto {
  keyType?: number;
  valueType?: TypeProto;
}

export interface TypeProto {
  tensorType?: TensorTypeProto;
  sequenceType?: ElementTypeProto;
  mapType?: MapTypeProto;
  sparseTensorType?: TensorTypeProto;
  optionalType?: ElementTypeProto;
  denotation?: string;
  unknown?: Uint8Array;
}

export interface ValueInfoProto {
  name?: string;
  type?: TypeProto;
  docString?: string;
  metadataProps?: StringStringEntryProto[];
  unknown?: Uint8Array;
}

export interface TensorProto {
  dims?: bigint[];
  dataType?: number;
  floatData?: ByteSource;
  int32Data?: Int32Array;
  stringData?: Uint8Array[];
  int64Data?: BigInt64Array;
  name?: string;
  rawData?: ByteSource;
  doubleData?: ByteSource;
  uint64Data?: BigUint64Array;
  docString?: string;
  externalData?: StringStringEntryProto[];
  dataLocation?: number;
  metadataProps?: StringStringEntryProto[];
  unknown?: Uint8Array;
}

export interface SparseTensorProto {
  values?: TensorProto;
  indices?: TensorProto;
  dims?: bigint[];
}

export interface AttributeProto {
  name?: string;
  f?: number;
  i?: bigint;
  s?: Uint8Array;
  t?: TensorProto;
  g?: GraphProto;
  floats?: number[];
  ints?: bigint[];
  strings?: Uint8Array[];
  tensors?: TensorProto[];
  graphs?: GraphProto[];
  docString?: string;
  tp?: TypeProto;
  typeProtos?: TypeProto[];
  type?: number;
  refAttrName?: string;
  sparseTensor?: SparseTensorProto;
  sparseTensors?: SparseTensorProto[];
  unknown?: Uint8Array;
}

export interface NodeProto {
  input?: string[];
  output?: string[];
  name?: string;
  opType?: string;
  attribute?: AttributeProto[];
  docString?: string;
  domain?: string;
  overload?: string;
  metadataProps?: StringStringEntryProto[];
  unknown?: Uint8Array;
}

export interface GraphProto {
  node?: NodeProto[];
  name?: string;
  initializer?: TensorProto[];
  docString?: string;
  input?: ValueInfoProto[];
  output?: ValueInfoProto[];
  valueInfo?: ValueInfoProto[];
  sparseInitializer?: SparseTensorProto[];
  metadataProps?: StringStringEntryProto[];
  unknown?: Uint8Array;
}

export interface FunctionProto {
  name?: string;
  input?: string[];
  output?: string[];
  attribute?: string[];
  node?: NodeProto[];
  docString?: string;
  opsetImport?: OperatorSetIdProto[];
  domain?: string;
  attributeProto?: AttributeProto[];
  valueInfo?: ValueInfoProto[];
  overload?: string;
  metadataProps?: StringStringEntryProto[];
  unknown?: Uint8Array;
}

export interface ModelProto {
  irVersion?: bigint;
  producerName?: string;
  producerVersion?: string;
  domain?: string;
  modelVersion?: bigint;
  docString?: string;
  graph?: GraphProto;
  opsetImport?: OperatorSetIdProto[];
  metadataProps?: StringStringEntryProto[];
  functions?: FunctionProto[];
  unknown?: Uint8Array;
}

/** What a decoded message looks like to the generic codec. */
export type Message = Record<string, unknown> & { unknown?: Uint8Array };

type Row = Readonly<Record<number, readonly [name: string, kind: string]>>;

/** Field number: name and kind; `*` marks repeated. Rows stand in the order in which they are written. */
const table = {
  ModelProto: {
    1: ["irVersion", "int64"],
    2: ["producerName", "string"],
    3: ["producerVersion", "string"],
    4: ["domain", "string"],
    5: ["modelVersion", "int64"],
    6: ["docString", "string"],
    7: ["graph", "GraphProto"],
    8: ["opsetImport", "OperatorSetIdProto*"],
    14: ["metadataProps", "StringStringEntryProto*"],
    25: ["functions", "FunctionProto*"],
  },
  GraphProto: {
    1: ["node", "NodeProto*"],
    2: ["name", "string"],
    5: ["initializer", "TensorProto*"],
    10: ["docString", "string"],
    11: ["input", "ValueInfoProto*"],
    12: ["output", "ValueInfoProto*"],
    13: ["valueInfo", "ValueInfoProto*"],
    15: ["sparseInitializer", "SparseTensorProto*"],
    16: ["metadataProps", "StringStringEntryProto*"],
  },
  NodeProto: {
    1: ["input", "string*"],
    2: ["output", "string*"],
    3: ["name", "string"],
    4: ["opType", "string"],
    5: ["attribute", "AttributeProto*"],
    6: ["docString", "string"],
    7: ["domain", "string"],
    8: ["overload", "string"],
    9: ["metadataProps", "StringStringEntryProto*"],
  },
  AttributeProto: {
    1: ["name", "string"],
    2: ["f", "float"],
    3: ["i", "int64"],
    4: ["s", "bytes"],
    5: ["t", "TensorProto"],
    6: ["g", "GraphProto"],
    7: ["floats", "float*"],
    8: ["ints", "int64*"],
    9: ["strings", "bytes*"],
    10: ["tensors", "TensorProto*"],
    11: ["graphs", "GraphProto*"],
    13: ["docString", "string"],
    14: ["tp", "TypeProto"],
    15: ["typeProtos", "TypeProto*"],
    20: ["type", "int32"],
    21: ["refAttrName", "string"],
    22: ["sparseTensor", "SparseTensorProto"],
    23: ["sparseTensors", "SparseTensorProto*"],
  },
  ValueInfoProto: {
    1: ["name", "string"],
    2: ["type", "TypeProto"],
    3: ["docString", "string"],
    4: ["metadataProps", "StringStringEntryProto*"],
  },
  TensorProto: {
    1: ["dims", "int64*"],
    2: ["dataType", "int32"],
    4: ["floatData", "floats32"],
    5: ["int32Data", "int32s"],
    6: ["stringData", "bytes*"],
    7: ["int64Data", "int64s"],
    8: ["name", "string"],
    9: ["rawData", "lazy"],
    10: ["doubleData", "floats64"],
    11: ["uint64Data", "uint64s"],
    12: ["docString", "string"],
    13: ["externalData", "StringStringEntryProto*"],
    14: ["dataLocation", "int32"],
    16: ["metadataProps", "StringStringEntryProto*"],
  },
  SparseTensorProto: {
    1: ["values", "TensorProto"],
    2: ["indices", "TensorProto"],
    3: ["dims", "int64*"],
  },
  TypeProto: {
    1: ["tensorType", "TensorTypeProto"],
    4: ["sequenceType", "ElementTypeProto"],
    5: ["mapType", "MapTypeProto"],
    6: ["denotation", "string"],
    8: ["sparseTensorType", "TensorTypeProto"],
    9: ["optionalType", "ElementTypeProto"],
  },
  TensorTypeProto: {
    1: ["elemType", "int32"],
    2: ["shape", "TensorShapeProto"],
  },
  ElementTypeProto: {
    1: ["elemType", "TypeProto"],
  },
  MapTypeProto: {
    1: ["keyType", "int32"],
    2: ["valueType", "TypeProto"],
  },
  TensorShapeProto: {
    1: ["dim", "DimensionProto*"],
  },
  DimensionProto: {
    1: ["dimValue", "int64"],
    2: ["dimParam", "string"],
    3: ["denotation", "string"],
  },
  OperatorSetIdProto: {
    1: ["domain", "string"],
    2: ["version", "int64"],
  },
  StringStringEntryProto: {
    1: ["key", "string"],
    2: ["value", "string"],
  },
  FunctionProto: {
    1: ["name", "string"],
    4: ["input", "string*"],
    5: ["output", "string*"],
    6: ["attribute", "string*"],
    7: ["node", "NodeProto*"],
    8: ["docString", "string"],
    9: ["opsetImport", "OperatorSetIdProto*"],
    10: ["domain", "string"],
    11: ["attributeProto", "AttributeProto*"],
    12: ["valueInfo", "ValueInfoProto*"],
    13: ["overload", "string"],
    14: ["metadataProps", "StringStringEntryProto*"],
  },
} as const satisfies Record<string, Row>;

export type MessageName = keyof typeof table;

const compiled = new Map<MessageName, ReadonlyMap<number, FieldSpec>>(
  Object.entries(table).map(([message, rows]) => [message as MessageName, compile(rows)]),
);

function compile(rows: Row): ReadonlyMap<number, FieldSpec> {
  return new Map(
    Object.entries(rows).map(([number, [name, text]]) => {
      const repeated = text.endsWith("*");
      const kind = text.replace("*", "") as FieldSpec["kind"];
      return [Number(number), { number: Number(number), name, kind, repeated }];
    }),
  );
}

/** The fields of a message by number. */
export function fieldsOf(message: MessageName): ReadonlyMap<number, FieldSpec> {
  return compiled.get(message) as ReadonlyMap<number, FieldSpec>;
}

/** Whether a kind names a message rather than a scalar. */
export function isMessage(kind: FieldSpec["kind"]): kind is MessageName {
  return compiled.has(kind as MessageName);
}
