import fc from "fast-check";
import { zipSync } from "fflate";
import { describe, expect, it } from "vitest";
import type { DType } from "../tensor/dtype.ts";
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { elementCount } from "../tensor/tensor.ts";
import { decodeNpy, decodeNpyHeader, decodeNpz, encodeNpy, encodeNpz } from "./npy.ts";

const types: readonly DType[] = [
  "bool",
  "int8",
  "int16",
  "int32",
  "int64",
  "uint8",
  "uint16",
  "uint32",
  "uint64",
  "float16",
  "float32",
  "float64",
];

const tensors = fc
  .record({ dtype: fc.constantFrom(...types), dims: fc.array(fc.nat(4), { maxLength: 4 }), start: fc.nat(20) })
  .map(({ dtype, dims, start }) =>
    hostTensor(
      dtype,
      dims,
      Array.from({ length: elementCount(dims) }, (_, i) => start + i),
    ),
  );

/** A .npy file written by hand. */
function file(version: number, dict: string, data: ArrayLike<number>): Uint8Array {
  const text = new TextEncoder().encode(dict);
  const length = version === 1 ? [text.length, 0] : [text.length, 0, 0, 0];
  return Uint8Array.from([
    0x93,
    ...new TextEncoder().encode("NUMPY"),
    version,
    0,
    ...length,
    ...text,
    ...Array.from(data),
  ]);
}

const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

describe("npy", () => {
  it("reads what it writes, whatever the type and shape", () => {
    fc.assert(
      fc.property(tensors, (tensor) => {
        expect(decodeNpy(encodeNpy(tensor), "x")).toEqual(tensor);
      }),
      { seed: 1 },
    );
  });

  it("aligns the data to 64 bytes, as NumPy does", () => {
    const bytes = encodeNpy(hostTensor("float32", [2], [1, 2]));
    expect(decodeNpyHeader(bytes, "x")).toMatchObject({ dtype: "float32", dims: [2], offset: 128 });
    expect(bytes.length).toBe(136);
  });

  it.each([1, 2, 3])("reads format version %i", (version) => {
    const dict = "{'descr': '<i2', 'fortran_order': False, 'shape': (3,), }\n";
    const read = decodeNpy(file(version, dict, bytesOf(Int16Array.of(1, -2, 300))), "x");
    expect(read).toEqual(hostTensor("int16", [3], [1, -2, 300]));
  });

  it("turns column-major and big-endian data round", () => {
    const fortran = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3)}";
    expect(decodeNpy(file(1, fortran, [1, 4, 2, 5, 3, 6]), "x").data).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6));
    const big = "{'descr': '>u2', 'fortran_order': False, 'shape': ()}";
    expect(decodeNpy(file(1, big, [1, 2]), "x")).toEqual({ dtype: "uint16", dims: [], data: Uint16Array.of(258) });
  });

  it.each([
    ["JSON", new TextEncoder().encode('{"a": 1}'), "begin with"],
    ["nothing", new Uint8Array(0), "begin with"],
    ["a cut header", file(1, "{'descr': '<f4'", []).subarray(0, 20), "ends within its header"],
    ["text", file(1, "{'descr': '<U5', 'fortran_order': False, 'shape': (1,)}", []), "got <U5"],
    ["records", file(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", []), "a structured type"],
    ["objects", file(1, "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", []), "got |O"],
    ["version 9", file(9, "", []), "got 9"],
    ["too little", file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", [0, 0]), "expected 12 bytes"],
  ])("refuses %s", (_, bytes, message) => {
    expect(() => decodeNpy(bytes, "x.npy")).toThrowError(message);
    expect(() => decodeNpy(bytes, "x.npy")).toThrowError(/^x\.npy: /);
  });

  it("refuses to write what NumPy lacks", () => {
    expect(() => encodeNpy(hostTensor("bfloat16", [1], [1]))).toThrowError("no element type bfloat16");
  });
});

describe("npz", () => {
  const arrays: Record<string, HostTensor> = {
    x: hostTensor("float32", [2, 2], [1, 2, 3, 4]),
    y: hostTensor("int64", [2], [0, 1]),
  };

  it.each([true, false])("reads what it writes (compressed: %s)", (compress) => {
    expect(decodeNpz(encodeNpz(arrays, { compress }), "x")).toEqual(arrays);
    expect(encodeNpz(arrays, { compress })).toEqual(encodeNpz(arrays, { compress }));
  });

  it("names the file and the array that is wrong", () => {
    expect(() => decodeNpz(Uint8Array.of(1, 2, 3), "a.npz")).toThrowError("a.npz: not a readable .npz file");
    const zip = zipSync({ "x.npy": Uint8Array.of(1) });
    expect(() => decodeNpz(zip, "a.npz")).toThrowError('a.npz: "x.npy": not a readable .npy file');
  });

  it("refuses a size that deflate cannot make", () => {
    const zip = zipSync({ "x.npy": new Uint8Array(100) });
    const view = new DataView(zip.buffer);
    const central = zip.findLastIndex((_, i) => view.getUint32(Math.min(i, zip.length - 4), true) === 0x02014b50);
    view.setUint32(central + 24, 0x7fffffff, true);
    expect(() => decodeNpz(zip, "a.npz")).toThrowError("claims 2147483647 bytes");
  });
});
