/** @file Tests of the protobuf codec: what is encoded is decoded, whatever the source; damage has a clear error. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeProto, varint, wire } from "../../test/wire.ts";
import { type ByteSource, MemorySource, SliceSource } from "../util/bytes.ts";
import { TersorError } from "../util/errors.ts";
import { decodeMessage } from "./decode.ts";
import { encodeMessage } from "./encode.ts";
import { type FieldSpec, fieldsOf, isMessage, type MessageName, type TensorProto } from "./messages.ts";

const encodable = (kind: FieldSpec["kind"]): boolean => !/^(floats|int|uint)\d+s|^floats/.test(kind);

const scalarArbitraries: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  int32: fc.integer(),
  float: fc.float(),
  string: fc.string({ unit: "grapheme", maxLength: 8 }),
  bytes: fc.uint8Array({ maxLength: 8 }),
  lazy: fc.uint8Array({ maxLength: 5000, size: "medium" }).map((bytes) => new MemorySource(bytes)),
};

function messageArbitrary(name: MessageName, depth: number): fc.Arbitrary<object> {
  const model: Record<string, fc.Arbitrary<unknown>> = {
    unknown: fc.nat().map((value) => Uint8Array.from(wire.varint(1000, value))),
  };
  for (const field of fieldsOf(name).values()) {
    if (!encodable(field.kind) || (isMessage(field.kind) && depth === 0)) continue;
    const one = isMessage(field.kind) ? messageArbitrary(field.kind, depth - 1) : scalarArbitraries[field.kind];
    if (one) model[field.name] = field.repeated ? fc.array(one, { minLength: 1, maxLength: 3 }) : one;
  }
  return fc.record(model, { requiredKeys: [] });
}

/** The same bytes as a source that has to be read through a window. */
function windowed(bytes: Uint8Array): ByteSource {
  const padded = new Uint8Array(bytes.length + 3);
  padded.set(bytes, 3);
  return new SliceSource(new MemorySource(padded), 3, bytes.length);
}

const names: MessageName[] = ["ModelProto", "GraphProto", "NodeProto", "AttributeProto", "TensorProto", "TypeProto"];

describe("decode(encode(message)) = message", () => {
  it.each(names)("%s, with any fields", (name) => {
    fc.assert(
      fc.property(messageArbitrary(name, 2), (message) => {
        const bytes = encodeProto(message, name);
        const decoded = decodeMessage(new MemorySource(bytes), name);
        expect(decoded).toEqual(message);
        expect(decodeMessage(windowed(bytes), name)).toEqual(decoded);
      }),
      { numRuns: 40, seed: 1 },
    );
  });

  it("across the borders of the window", () => {
    for (const size of [65_500, 65_530, 65_536, 65_540, 200_000]) {
      const tensor = {
        dims: [1n, 2n ** 40n],
        name: "x".repeat(300),
        rawData: new MemorySource(new Uint8Array(size).fill(7)),
        docString: "d".repeat(70_000),
      };
      const bytes = encodeProto({ initializer: [tensor, tensor, tensor] }, "GraphProto");
      const graph = decodeMessage(windowed(bytes), "GraphProto") as { initializer: TensorProto[] };
      for (const { rawData, ...rest } of graph.initializer) {
        expect(rest).toEqual({ dims: tensor.dims, name: tensor.name, docString: tensor.docString });
        expect(Buffer.compare(rawData?.read(0, size) as Uint8Array, tensor.rawData.bytes)).toBe(0);
      }
    }
  });

  it("keeps a byte order mark and a NUL in a name", () => {
    const bytes = encodeProto({ name: "\ufeffa\0b" }, "NodeProto");
    expect(decodeMessage(new MemorySource(bytes), "NodeProto")).toEqual({ name: "\ufeffa\0b" });
  });

  it("knows sizes before it reads", () => {
    const rawData: ByteSource = {
      byteLength: 2 ** 33,
      read: () => {
        throw new Error("read too early");
      },
    };
    const encoded = encodeMessage({ rawData }, "TensorProto");
    expect(encoded.byteLength).toBe(1 + varint(2 ** 33).length + 2 ** 33);
    expect(encoded.parts[1]).toBe(rawData);
  });
});

describe("repeated numbers", () => {
  const floats = new Uint8Array(Float32Array.of(1.5, -2, 3).buffer);
  const decodeTensor = (...bytes: number[][]) =>
    decodeMessage(new MemorySource(Uint8Array.from(bytes.flat())), "TensorProto") as TensorProto;

  it("may be packed, single, or both", () => {
    const single = [0, 4, 8].map((at) => wire.fixed32(4, floats.subarray(at, at + 4)));
    for (const parts of [
      [wire.bytes(4, floats)],
      single,
      [wire.bytes(4, floats.subarray(0, 8)), single[2] as number[]],
      [single[0] as number[], wire.bytes(4, []), wire.bytes(4, floats.subarray(4))],
    ])
      expect(decodeTensor(...parts).floatData?.read(0, 12)).toEqual(floats);
    expect(decodeTensor(wire.varint(7, -1), wire.bytes(7, [...varint(5), ...varint(-(2n ** 63n))])).int64Data).toEqual(
      BigInt64Array.of(-1n, 5n, -(2n ** 63n)),
    );
    expect(decodeTensor(wire.varint(1, 2), wire.bytes(1, [3, 4])).dims).toEqual([2n, 3n, 4n]);
  });

  it("are absent when the packed field is empty", () => {
    const empty = [1, 4, 5, 7, 10, 11].map((field) => wire.bytes(field, []));
    expect(decodeTensor(...empty)).toEqual({});
  });

  it("sign-extend and truncate int32 as protobuf does", () => {
    expect(decodeTensor(wire.varint(5, -1), wire.varint(5, 2n ** 32n + 7n)).int32Data).toEqual(Int32Array.of(-1, 7));
    expect(decodeTensor(wire.varint(11, 2n ** 64n - 1n)).uint64Data).toEqual(BigUint64Array.of(2n ** 64n - 1n));
  });
});

describe("a damaged message is refused with the byte", () => {
  const nested = (depth: number) => {
    // TypeProto in SequenceTypeProto in TypeProto …, from the inside out.
    let bytes: number[] = [];
    for (let i = 0; i < depth; i++) bytes = wire.bytes(i % 2 ? 1 : 4, bytes);
    return bytes;
  };
  const cases: [string, MessageName, number[], string][] = [
    ["a length beyond the end", "GraphProto", [0x12, 5, 65], "byte 2: expected 5 bytes, got 1 before the end"],
    ["a length bomb", "GraphProto", [0x12, ...varint(2 ** 40)], "byte 7: expected 1099511627776 bytes, got 0"],
    ["a length of 2^64 − 1", "GraphProto", [0x12, ...varint(-1)], "expected a number below 2^53"],
    ["a varint bomb", "ModelProto", new Array(100).fill(0xff), "byte 0: expected a varint of at most 10 bytes"],
    ["a varint that is cut short", "ModelProto", [8, 0x80], "byte 2: expected more bytes"],
    ["a float that is cut short", "AttributeProto", [0x15, 0, 0], "byte 1: expected 4 bytes, got 2"],
    ["a group", "ModelProto", wire.varint(40, 0).with(0, 0xc3), "expected wire type 0, 1, 2 or 5, got 3"],
    ["a wrong wire type", "ModelProto", wire.text(1, "x"), "ModelProto.irVersion: expected wire type 0, got 2"],
    ["a text as number", "ModelProto", wire.varint(7, 1), "ModelProto.graph: expected wire type 2, got 0"],
    ["field number 0", "ModelProto", [0, 0], "byte 0: expected a field number, got 0"],
    ["half a float", "TensorProto", wire.bytes(4, [1, 2, 3]), "floatData: expected a multiple of 4 bytes, got 3"],
    [
      "a second graph",
      "ModelProto",
      [...wire.bytes(7, []), ...wire.bytes(7, [])],
      "graph: expected once, got a second",
    ],
    ["a packed varint over the border", "TensorProto", [0x3a, 1, 0x80, 1], "byte 3: expected more bytes"],
    ["a message longer than its field", "ModelProto", [0x3a, 2, 0x12, 5, 0, 0, 0, 0, 0], "expected 5 bytes, got 0"],
  ];
  it.each(cases)("%s", (_, name, bytes, message) => {
    for (const source of [new MemorySource(Uint8Array.from(bytes)), windowed(Uint8Array.from(bytes))]) {
      const decode = () => decodeMessage(source, name);
      expect(decode).toThrow(TersorError);
      expect(decode).toThrow(message);
    }
  });

  it("nesting: 99 levels pass, a thousand are limit-exceeded rather than a stack overflow", () => {
    const decode = (depth: number) => decodeMessage(new MemorySource(Uint8Array.from(nested(depth))), "TypeProto");
    expect(decode(99)).toBeTypeOf("object");
    expect(() => decode(1001)).toThrow(expect.objectContaining({ code: "limit-exceeded" }));
  });

  it("a few bytes per message: the memory for millions of them is limit-exceeded", () => {
    const nodes = new Uint8Array(2_400_000);
    for (let i = 0; i < nodes.length; i += 2) nodes[i] = 0x0a;
    expect(() => decodeMessage(new MemorySource(nodes), "GraphProto")).toThrow(
      expect.objectContaining({ code: "limit-exceeded" }),
    );
  });
});
