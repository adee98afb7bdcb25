/** @file Tests of tensors in files: every element type in every form that ONNX stores it in, and what doesn't fit. */
import { describe, expect, it } from "vitest";
import { encodeProto, fileOf, throughIr, varint, wire } from "../../../test/wire.ts";
import { decodeMessage } from "../../proto/decode.ts";
import type { TensorProto } from "../../proto/messages.ts";
import { byteSize, type DType, dtypeInfo, dtypes } from "../../tensor/dtype.ts";
import { MemorySource } from "../../util/bytes.ts";
import { decodeTensor } from "./decode-tensor.ts";

const noFiles = (): never => {
  throw new Error("no external data here");
};
const tensorOf = (...fields: (readonly number[])[]) =>
  decodeTensor(
    decodeMessage(new MemorySource(Uint8Array.from(fields.flat())), "TensorProto") as TensorProto,
    'initializer "w"',
    noFiles,
  );
const header = (dtype: DType, dims: readonly number[]) => [
  ...dims.flatMap((dim) => wire.varint(1, dim)),
  ...wire.varint(2, dtypeInfo(dtype).code),
];
const bytesIn = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
/** Bytes 1, 2, 3 …: every element differs. */
const counting = (length: number) => Uint8Array.from({ length }, (_, i) => i + 1);
const plain = dtypes.filter((info) => info.kind !== "string").map((info) => info.name);

describe("raw_data", () => {
  it.each(plain)("%s", (dtype) => {
    const raw = counting(byteSize(dtype, 5));
    const tensor = tensorOf(header(dtype, [5]), wire.bytes(9, raw));
    expect([tensor.dtype, tensor.dims, tensor.bytes.read(0, raw.length)]).toEqual([dtype, [5], raw]);
    const file = fileOf({
      initializer: [{ name: "w", dims: [5n], dataType: dtypeInfo(dtype).code, rawData: new MemorySource(raw) }],
    });
    expect(throughIr(file).graph?.initializer).toEqual([
      { name: "w", dims: [5n], dataType: dtypeInfo(dtype).code, rawData: new MemorySource(raw) },
    ]);
  });
});

describe("typed data", () => {
  const ints = [1, 200, 3];
  const int32 = [dtypes.filter((info) => [8, 16].includes(info.bits)).map((info) => info.name), "int32"].flat();
  it.each(int32 as DType[])("int32_data holds %s, one element each", (dtype) => {
    const expected = Uint8Array.from(ints.flatMap((x) => [x, 0, 0, 0].slice(0, dtypeInfo(dtype).bits / 8)));
    const single = ints.map((x) => wire.varint(5, x));
    for (const data of [
      [
        wire.bytes(
          5,
          ints.flatMap((x) => varint(x)),
        ),
      ],
      single,
    ])
      expect(tensorOf(header(dtype, [3]), ...data).bytes.read(0, expected.length)).toEqual(expected);
  });

  it("int32_data holds negative numbers as ten-byte varints", () => {
    const data = (dtype: DType) => tensorOf(header(dtype, [2]), wire.varint(5, -1), wire.varint(5, -128)).toNumbers();
    for (const dtype of ["int8", "int16", "int32"] as const) expect([...data(dtype)]).toEqual([-1, -128]);
  });

  it.each(["int4", "uint4", "float4e2m1"] as const)("int32_data holds %s, two elements each", (dtype) => {
    const tensor = tensorOf(header(dtype, [3]), wire.varint(5, 0x72), wire.varint(5, 0x01));
    expect(tensor.bytes.read(0, 2)).toEqual(Uint8Array.of(0x72, 0x01));
  });

  it.each(["int2", "uint2"] as const)("int32_data holds %s, four elements each", (dtype) => {
    const tensor = tensorOf(header(dtype, [5]), wire.varint(5, 0xe4), wire.varint(5, 0x01));
    expect(tensor.bytes.read(0, 2)).toEqual(Uint8Array.of(0xe4, 0x01));
  });

  const others: [DType, number, Iterable<number>, ArrayBufferView][] = [
    ["float32", 4, bytesIn(Float32Array.of(0.5, -7)), Float32Array.of(0.5, -7)],
    ["complex64", 4, bytesIn(Float32Array.of(1, 2, 3, 4)), Float32Array.of(1, 2, 3, 4)],
    ["float64", 10, bytesIn(Float64Array.of(1e300, -7)), Float64Array.of(1e300, -7)],
    ["complex128", 10, bytesIn(Float64Array.of(1, 2, 3, 4)), Float64Array.of(1, 2, 3, 4)],
    ["int64", 7, [...varint(-(2n ** 63n)), ...varint(2n ** 63n - 1n)], BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n)],
    ["uint64", 11, [...varint(2n ** 64n - 1n), 5], BigUint64Array.of(2n ** 64n - 1n, 5n)],
    ["uint32", 11, [...varint(2 ** 32 - 1), 5], Uint32Array.of(2 ** 32 - 1, 5)],
  ];
  it.each(others)("of %s", (dtype, field, data, expected) => {
    const tensor = tensorOf(header(dtype, [2]), wire.bytes(field, data));
    expect(tensor.bytes.read(0, tensor.byteLength)).toEqual(bytesIn(expected));
  });

  it("is used when raw_data is there but empty", () => {
    expect([
      ...tensorOf(header("float32", [1]), wire.bytes(9, []), wire.fixed32(4, [0, 0, 0, 64])).toNumbers(),
    ]).toEqual([2]);
  });

  it("of strings keeps their bytes", () => {
    const strings = [Uint8Array.of(0xff, 0xfe), new Uint8Array(0)];
    const tensor = tensorOf(header("string", [2]), ...strings.map((bytes) => wire.bytes(6, bytes)));
    expect(tensor.strings).toEqual(strings);
    const initializer = [{ name: "s", dims: [2n], dataType: 8, stringData: strings }];
    expect(throughIr(fileOf({ initializer })).graph?.initializer).toEqual(initializer);
  });

  it("may be missing of a tensor without elements", () => {
    for (const { name } of dtypes) expect(tensorOf(header(name, [2, 0])).size).toBe(0);
  });
});

describe("a tensor that can't be is refused", () => {
  const raw = (length: number) => wire.bytes(9, new Uint8Array(length));
  const int64 = header("int64", []);
  const cases: [string, readonly number[][], string, string][] = [
    ["too few bytes", [header("float32", [2, 3]), raw(20)], "bad-model", "expected 24 bytes for float32 [2,3], got 20"],
    ["too many bytes", [header("int4", [3]), raw(3)], "bad-model", "expected 2 bytes for int4 [3], got 3"],
    ["no bytes", [header("float32", [])], "bad-model", "expected 4 bytes for float32 [], got 0"],
    ["data in the wrong field", [int64, wire.fixed32(4, [0, 0, 0, 0])], "bad-model", "expected 8 bytes"],
    ["too few strings", [header("string", [2]), wire.text(6, "a")], "bad-model", "expected 2 strings"],
    ["no type", [raw(4)], "bad-model", "code from 1 to 26, got 0"],
    ["an unknown type", [wire.varint(2, 99), raw(4)], "bad-model", "got 99. The file is damaged or newer"],
    ["a negative dim", [header("float32", [2]), wire.varint(1, -1), raw(4)], "bad-model", "0 or more, got [2,-1]"],
    ["dims beyond 2^53", [header("uint8", [2 ** 40, 2 ** 40]), raw(4)], "limit-exceeded", "2^53 elements"],
    ["a dim beyond 2^53", [header("uint8", [0]), wire.varint(1, 2n ** 62n)], "limit-exceeded", "2^53 elements"],
    ["dims beyond a double", [header("uint8", [...new Array(60).fill(2 ** 52), 0])], "limit-exceeded", "2^53"],
    ["too many dims", [header("uint8", new Array(65).fill(1)), raw(1)], "limit-exceeded", "rank 65 is above 64"],
  ];
  it.each(cases)("%s", (_, fields, code, message) => {
    const decode = () => tensorOf(...fields);
    expect(decode).toThrow(expect.objectContaining({ code }));
    expect(decode).toThrow(message);
    expect(decode).toThrow('initializer "w": ');
  });
});

describe("sparse initializers", () => {
  const tensor = (name: string, dtype: DType, dims: number[], data: ArrayBufferView): TensorProto => ({
    dims: dims.map(BigInt),
    dataType: dtypeInfo(dtype).code,
    ...(name && { name }),
    rawData: new MemorySource(bytesIn(data)),
  });
  const values = tensor("w", "float32", [2], Float32Array.of(1, 2));

  it("are kept, in both forms of indices", () => {
    for (const indices of [
      tensor("", "int64", [2], BigInt64Array.of(0n, 5n)),
      tensor("", "int64", [2, 2], BigInt64Array.of(0n, 0n, 1n, 2n)),
    ]) {
      const sparse = { values, indices, dims: [2n, 3n] };
      const { graph } = throughIr(fileOf({ sparseInitializer: [sparse] }));
      expect(graph?.sparseInitializer).toEqual([sparse]);
    }
  });

  it("are refused with indices that don't fit", () => {
    const indices = tensor("", "int64", [3], BigInt64Array.of(0n, 5n, 6n));
    expect(() => throughIr(fileOf({ sparseInitializer: [{ values, indices, dims: [9n] }] }))).toThrow(
      'initializer "w": expected sparse indices int64 [2] or [2,1], got int64 [3]',
    );
    expect(() => throughIr(fileOf({ sparseInitializer: [{ values, dims: [9n] }] }))).toThrow("values and indices");
  });
});

describe("beside its data", () => {
  it("an initializer keeps doc string, metadata and unknown fields", () => {
    const initializer = {
      name: "w",
      dims: [1n],
      dataType: 2,
      rawData: new MemorySource(Uint8Array.of(7)),
      docString: "doc",
      metadataProps: [{ key: "k", value: "v" }],
      unknown: Uint8Array.from(wire.varint(900, 5)),
    };
    expect(throughIr(fileOf({ initializer: [initializer] })).graph?.initializer).toEqual([initializer]);
    expect(encodeProto(initializer, "TensorProto").length).toBeGreaterThan(20);
  });
});
