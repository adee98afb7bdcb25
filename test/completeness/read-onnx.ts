/** @file A reader of ONNX files that shares nothing with the one under test: the wire format of protobuf, and the few messages a checker looks into. */
import { readFileSync } from "node:fs";

/** Names of TensorProto.DataType, with the bits of one element. */
const dtypes: Readonly<Record<number, readonly [name: string, bits: number]>> = {
  1: ["float32", 32],
  2: ["uint8", 8],
  3: ["int8", 8],
  4: ["uint16", 16],
  5: ["int16", 16],
  6: ["int32", 32],
  7: ["int64", 64],
  9: ["bool", 8],
  10: ["float16", 16],
  11: ["float64", 64],
  12: ["uint32", 32],
  13: ["uint64", 64],
  16: ["bfloat16", 16],
  21: ["uint4", 4],
  22: ["int4", 4],
  25: ["uint2", 2],
  26: ["int2", 2],
};

export interface FileTensor {
  readonly name: string;
  readonly dtype: string;
  readonly bits: number;
  readonly dims: readonly number[];
  /** Little-endian, as raw_data has it. */
  readonly raw: Uint8Array;
}

export interface FileNode {
  readonly name: string;
  readonly opType: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly ints: ReadonlyMap<string, number>;
  readonly lists: ReadonlyMap<string, readonly number[]>;
  readonly floats: ReadonlyMap<string, number>;
  readonly graph: FileGraph;
}

export interface FileGraph {
  readonly parent: FileGraph | undefined;
  readonly nodes: FileNode[];
  /** Initializers, and what Constant nodes hold by the names of their outputs. */
  readonly constants: Map<string, FileTensor>;
  readonly sparse: Map<string, { readonly values: FileTensor; readonly indices: FileTensor; readonly dims: number[] }>;
}

export interface OnnxFile {
  readonly path: string;
  readonly opset: number;
  readonly graphs: readonly FileGraph[];
}

interface Field {
  readonly field: number;
  readonly number: bigint;
  readonly bytes: Uint8Array;
  readonly isNumber: boolean;
}

const text = new TextDecoder();

/** The fields of one message in order; a number for varints and fixed ones, else bytes. */
function fieldsOf(bytes: Uint8Array): Field[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fields: Field[] = [];
  const none = new Uint8Array(0);
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("the file ends within a number");
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const [field, type] = [key >> 3, key & 7];
    if (type === 0) fields.push({ field, number: varint(), bytes: none, isNumber: true });
    else if (type === 2) {
      const length = Number(varint());
      fields.push({ field, number: 0n, bytes: bytes.subarray(at, at + length), isNumber: false });
      at += length;
    } else if (type === 5 || type === 1) {
      const size = type === 5 ? 4 : 8;
      const number = type === 5 ? BigInt(view.getUint32(at, true)) : view.getBigUint64(at, true);
      fields.push({ field, number, bytes: bytes.subarray(at, at + size), isNumber: false });
      at += size;
    } else throw new Error(`wire type ${type}`);
  }
  return fields;
}

const signed = (number: bigint) => Number(BigInt.asIntN(64, number));

/** A repeated number, packed or not. */
function numbersIn(fields: readonly Field[], field: number): number[] {
  return fields
    .filter((each) => each.field === field)
    .flatMap(({ number, bytes, isNumber }) => {
      if (isNumber) return [signed(number)];
      const values: number[] = [];
      let [value, shift] = [0n, 0n];
      for (const byte of bytes) {
        value |= BigInt(byte & 127) << shift;
        shift += 7n;
        if (byte >= 128) continue;
        values.push(signed(value));
        [value, shift] = [0n, 0n];
      }
      return values;
    });
}

function bytesIn(fields: readonly Field[], field: number): Uint8Array | undefined {
  return fields.findLast((each) => each.field === field)?.bytes;
}

const textIn = (fields: readonly Field[], field: number) => text.decode(bytesIn(fields, field) ?? new Uint8Array(0));
const messagesIn = (fields: readonly Field[], field: number) =>
  fields.filter((each) => each.field === field).map(({ bytes }) => fieldsOf(bytes));

/** Undefined for what holds no numbers. */
function tensorOf(fields: readonly Field[], name = textIn(fields, 8)): FileTensor | undefined {
  const code = Number(fields.findLast(({ field }) => field === 2)?.number ?? 0n);
  const known = dtypes[code];
  if (!known) return undefined;
  if (fields.some(({ field }) => field === 13)) throw new Error(`"${name}" lies in another file`);
  const [dtype, bits] = known;
  const dims = numbersIn(fields, 1);
  const raw = bytesIn(fields, 9);
  if (raw) return { name, dtype, bits, dims, raw };
  const joined = (field: number) => Buffer.concat(fields.flatMap((each) => (each.field === field ? [each.bytes] : [])));
  if (dtype === "float32") return { name, dtype, bits, dims, raw: joined(4) };
  if (dtype === "float64") return { name, dtype, bits, dims, raw: joined(10) };
  const values = numbersIn(fields, dtype === "int64" ? 7 : dtype.startsWith("uint64") || dtype === "uint32" ? 11 : 5);
  const size = bits / 8;
  const out = new Uint8Array(Math.ceil(values.length * size));
  values.forEach((value, i) => {
    for (let b = 0; b < size; b++) out[i * size + b] = Number((BigInt(value) >> BigInt(8 * b)) & 255n);
  });
  return { name, dtype, bits, dims, raw: out };
}

function readGraph(fields: readonly Field[], parent: FileGraph | undefined, all: FileGraph[]): void {
  const graph: FileGraph = { parent, nodes: [], constants: new Map(), sparse: new Map() };
  all.push(graph);
  for (const each of messagesIn(fields, 5)) {
    const tensor = tensorOf(each);
    if (tensor) graph.constants.set(tensor.name, tensor);
  }
  for (const each of messagesIn(fields, 15)) {
    const [values, indices] = [1, 2].map((field) => tensorOf(fieldsOf(bytesIn(each, field) ?? new Uint8Array(0))));
    if (values && indices) graph.sparse.set(values.name, { values, indices, dims: numbersIn(each, 3) });
  }
  for (const each of messagesIn(fields, 1)) {
    const strings = (field: number) => each.flatMap((one) => (one.field === field ? [text.decode(one.bytes)] : []));
    const attributes = messagesIn(each, 5).map((own) => ({ key: textIn(own, 1), own }));
    const named = <T>(field: number, read: (field: Field) => T) =>
      new Map(
        attributes.flatMap(({ key, own }) => {
          const found = own.find((one) => one.field === field);
          return found ? [[key, read(found)] as const] : [];
        }),
      );
    const outputs = strings(2);
    graph.nodes.push({
      name: textIn(each, 3),
      opType: textIn(each, 4),
      domain: textIn(each, 7).replace(/^ai\.onnx$/, ""),
      inputs: strings(1),
      outputs,
      ints: named(3, ({ number }) => signed(number)),
      floats: named(2, ({ bytes }) => new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true)),
      lists: new Map(attributes.map(({ key, own }) => [key, numbersIn(own, 8)])),
      graph,
    });
    for (const { key, own } of attributes) {
      const tensor = textIn(each, 4) === "Constant" && key === "value" ? bytesIn(own, 5) : undefined;
      const constant = tensor && tensorOf(fieldsOf(tensor), outputs[0]);
      if (constant) graph.constants.set(constant.name, constant);
      for (const inner of [...messagesIn(own, 6), ...messagesIn(own, 11)]) readGraph(inner, graph, all);
    }
  }
}

export function readOnnx(path: string): OnnxFile {
  const model = fieldsOf(readFileSync(path));
  const graphs: FileGraph[] = [];
  readGraph(fieldsOf(bytesIn(model, 7) ?? new Uint8Array(0)), undefined, graphs);
  const opsets = messagesIn(model, 8).map((each) => [textIn(each, 1), numbersIn(each, 2)[0] ?? 0] as const);
  const opset = opsets.find(([domain]) => domain === "" || domain === "ai.onnx")?.[1] ?? 0;
  return { path, opset, graphs };
}

/** All constants, in the order of the graphs; a name that several graphs have is there several times. */
export function constantsOf({ graphs }: OnnxFile): FileTensor[] {
  return graphs.flatMap(({ constants }) => [...constants.values()]);
}

export function sizeOf(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

export function isFloat({ dtype }: FileTensor): boolean {
  return dtype.includes("float");
}

/** A float16 by its definition: sign, 5 bits of exponent, 10 of fraction. */
function half(code: number): number {
  const [exponent, fraction] = [(code >> 10) & 31, code & 1023];
  const magnitude =
    exponent === 31
      ? fraction
        ? Number.NaN
        : Number.POSITIVE_INFINITY
      : exponent === 0
        ? fraction * 2 ** -24
        : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return code >> 15 ? -magnitude : magnitude;
}

/** The numbers of a tensor. */
export function numbersOf({ dtype, bits, dims, raw }: FileTensor): Float64Array {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const scratch = new DataView(new ArrayBuffer(4));
  const bfloat = (at: number) => {
    scratch.setUint32(0, view.getUint16(at, true) << 16);
    return scratch.getFloat32(0);
  };
  const byDType: Readonly<Record<string, (i: number) => number>> = {
    float32: (i) => view.getFloat32(4 * i, true),
    float64: (i) => view.getFloat64(8 * i, true),
    float16: (i) => half(view.getUint16(2 * i, true)),
    bfloat16: (i) => bfloat(2 * i),
    uint8: (i) => view.getUint8(i),
    bool: (i) => view.getUint8(i),
    int8: (i) => view.getInt8(i),
    uint16: (i) => view.getUint16(2 * i, true),
    int16: (i) => view.getInt16(2 * i, true),
    int32: (i) => view.getInt32(4 * i, true),
    uint32: (i) => view.getUint32(4 * i, true),
    int64: (i) => Number(view.getBigInt64(8 * i, true)),
    uint64: (i) => Number(view.getBigUint64(8 * i, true)),
  };
  const packed = (i: number) => {
    const code = ((raw[(i * bits) >> 3] as number) >> ((i * bits) & 7)) & (2 ** bits - 1);
    return dtype.startsWith("int") && code >= 2 ** (bits - 1) ? code - 2 ** bits : code;
  };
  const read = bits < 8 ? packed : byDType[dtype];
  if (!read) throw new Error(`no numbers of type ${dtype}`);
  return Float64Array.from({ length: sizeOf(dims) }, (_, i) => read(i));
}

export function isSame(a: FileTensor, b: FileTensor): boolean {
  return a.dtype === b.dtype && a.dims.join() === b.dims.join() && Buffer.compare(a.raw, b.raw) === 0;
}
