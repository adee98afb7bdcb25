/**
 * @file NumPy's array files: .npy (format versions 1 to 3) and .npz (a zip of them).
 * Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
import { zipSync } from "fflate";
import { byteSize, type DType, dtypeInfo } from "../tensor/dtype.ts";
import { describeTensor, type HostTensor } from "../tensor/host-tensor.ts";
import { elementCount, type TypedArray, viewAs } from "../tensor/tensor.ts";
import { messageOf, TersorError } from "../util/errors.ts";
import { readZip } from "./zip.ts";

/** What the header says of the data that follows it. */
export interface NpyHeader {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly isBigEndian: boolean;
  /** Column-major: the first axis runs fastest. */
  readonly isFortran: boolean;
  /** Where the data begins, in bytes. */
  readonly offset: number;
}

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/** Type characters of NumPy's array interface protocol, with the width in bytes. */
const codes: { readonly [dtype in DType]?: string } = {
  bool: "b1",
  int8: "i1",
  int16: "i2",
  int32: "i4",
  int64: "i8",
  uint8: "u1",
  uint16: "u2",
  uint32: "u4",
  uint64: "u8",
  float16: "f2",
  float32: "f4",
  float64: "f8",
  complex64: "c8",
  complex128: "c16",
};
const dtypeOfCode = new Map(Object.entries(codes).map(([dtype, code]) => [code, dtype as DType]));

/**
 * Reads the header. `bytes` need not reach beyond it. @throws bad-data for anything but an array of numbers; `subject`
 * (the file) opens the message.
 */
export function decodeNpyHeader(bytes: Uint8Array, subject: string): NpyHeader {
  const bad = (what: string) => new TersorError("bad-data", `${subject}: not a readable .npy file: ${what}.`);
  if (magic.some((byte, i) => bytes[i] !== byte)) throw bad("expected it to begin with \\x93NUMPY");
  const version = bytes[6] ?? 0;
  if (version < 1 || version > 3) throw bad(`expected format version 1, 2 or 3, got ${version}`);
  const start = version === 1 ? 10 : 12;
  if (bytes.length < start) throw bad("it ends within its header");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const offset = start + length;
  if (offset > bytes.length) throw bad("it ends within its header");
  const text = new TextDecoder(version === 3 ? "utf-8" : "latin1").decode(bytes.subarray(start, offset));

  const descr = /['"]descr['"]\s*:\s*['"]([^'"]*)['"]/.exec(text)?.[1];
  const order = /['"]fortran_order['"]\s*:\s*(True|False)/.exec(text)?.[1];
  const shape = /['"]shape['"]\s*:\s*\(([\d\s,L]*)\)/.exec(text)?.[1];
  if (order === undefined || shape === undefined) throw bad(`its header is ${JSON.stringify(text.trim())}`);
  const dtype = dtypeOfCode.get(descr?.replace(/^[<>|=]/, "") ?? "");
  if (!dtype) throw bad(`expected elements that are numbers, got ${descr ?? "a structured type"}`);
  return {
    dtype,
    dims: shape.split(",").flatMap((dim) => (dim.trim() ? [Number.parseInt(dim, 10)] : [])),
    isBigEndian: descr?.startsWith(">") ?? false,
    isFortran: order === "True",
    offset,
  };
}

/** Reads a whole .npy file into a row-major tensor, which may alias `bytes`. @throws bad-data as {@link decodeNpyHeader}, and for a file of another length. */
export function decodeNpy(bytes: Uint8Array, subject: string): HostTensor {
  const header = decodeNpyHeader(bytes, subject);
  const { dtype, dims, offset } = header;
  const length = byteSize(dtype, elementCount(dims));
  if (bytes.length - offset !== length)
    throw new TersorError(
      "bad-data",
      `${subject}: wrong length: expected ${length} bytes for ${describeTensor(header)} after the header, got ${bytes.length - offset}.`,
    );
  const raw = bytes.subarray(offset);
  const data = viewAs(dtype, header.isBigEndian ? swapBytes(raw, dtype) : raw);
  return { dtype, dims, data: header.isFortran ? toRowMajor(data, dims, elementCount(dims)) : data };
}

/** Writes a tensor as .npy, format version 1 (2 where the header is long). @throws bad-data for a type that NumPy lacks. */
export function encodeNpy(tensor: HostTensor): Uint8Array {
  const code = codes[tensor.dtype];
  if (!code || Array.isArray(tensor.data))
    throw new TersorError("bad-data", `.npy: NumPy has no element type ${tensor.dtype}. Convert the tensor first.`);
  const order = code.endsWith("1") && code !== "b1" ? "|" : code === "b1" ? "|" : "<";
  const shape = tensor.dims.length === 1 ? `${tensor.dims[0]},` : tensor.dims.join(", ");
  const dict = `{'descr': '${order}${code}', 'fortran_order': False, 'shape': (${shape}), }`;
  const version = dict.length > 65_000 ? 2 : 1;
  const start = version === 1 ? 10 : 12;
  const padded = Math.ceil((start + dict.length + 1) / 64) * 64;
  const header = `${dict.padEnd(padded - start - 1)}\n`;
  const { data } = tensor;
  const out = new Uint8Array(padded + data.byteLength);
  out.set([...magic, version, 0]);
  const view = new DataView(out.buffer);
  if (version === 1) view.setUint16(8, header.length, true);
  else view.setUint32(8, header.length, true);
  out.set(new TextEncoder().encode(header), start);
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), padded);
  return out;
}

/** The arrays of an .npz file, by name. @throws bad-data when it is not a zip, is damaged, or holds something else. */
export function decodeNpz(bytes: Uint8Array, subject: string): Record<string, HostTensor> {
  const files = [...attempt(subject, () => readZip(bytes))].filter(([name]) => name.endsWith(".npy"));
  return Object.fromEntries(files.map(([name, file]) => [name.slice(0, -4), decodeNpy(file, `${subject}: "${name}"`)]));
}

/** Writes arrays as .npz, by name. @throws bad-data as {@link encodeNpy}. */
export function encodeNpz(arrays: Readonly<Record<string, HostTensor>>, options: { readonly compress?: boolean } = {}) {
  const files = Object.fromEntries(Object.entries(arrays).map(([name, tensor]) => [`${name}.npy`, encodeNpy(tensor)]));
  // A fixed time stamp (the first that zip can spell): the same arrays give the same bytes.
  return zipSync(files, { level: options.compress ? 6 : 0, mtime: "1980-01-01T00:00:00" });
}

function attempt<T>(subject: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new TersorError("bad-data", `${subject}: not a readable .npz file: ${messageOf(error)}.`, { cause: error });
  }
}

function swapBytes(bytes: Uint8Array, dtype: DType): Uint8Array {
  const { kind, bits } = dtypeInfo(dtype);
  const width = bits / 8 / (kind === "complex" ? 2 : 1);
  const out = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length; at += width)
    for (let i = 0; i < width; i++) out[at + i] = bytes[at + width - 1 - i] as number;
  return out;
}

/** Column-major data of a shape as row-major. `count` elements, each one or (complex) two array entries. */
function toRowMajor(data: TypedArray, dims: readonly number[], count: number): TypedArray {
  const parts = count === 0 ? 1 : data.length / count;
  const out = data.slice();
  const strides: number[] = [];
  for (let axis = 0, stride = 1; axis < dims.length; stride *= dims[axis++] as number) strides.push(stride);
  const index = dims.map(() => 0);
  for (let to = 0, from = 0; to < count; to++) {
    for (let part = 0; part < parts; part++) out[to * parts + part] = data[from * parts + part] as never;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      const next = (index[axis] as number) + 1;
      from += strides[axis] as number;
      index[axis] = next;
      if (next < (dims[axis] as number)) break;
      index[axis] = 0;
      from -= next * (strides[axis] as number);
    }
  }
  return out;
}
