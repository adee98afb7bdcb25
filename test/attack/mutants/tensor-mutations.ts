/** @file Damage to tensors and to the types of values: dims, dtypes, data, data in other files, sparse constants. */
import type { TensorProto, ValueInfoProto } from "../../../src/proto/messages.ts";
import { MemorySource } from "../../../src/util/bytes.ts";
import type { Rng } from "../../../src/util/rng.ts";
import { varint, wire } from "../../wire.ts";
import { int64Bytes, names, oddFloat, oddInteger, oddList, pick, type Structural } from "./parts.ts";

const dtypeCodes = [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 20, 21, 22, 23, 24, 25, 26, 99, -1];

const bytesOf = (tensor: TensorProto) => tensor.rawData?.read(0, tensor.rawData.byteLength) as Uint8Array | undefined;

const setBytes = (tensor: TensorProto, bytes: Uint8Array) => {
  tensor.rawData = new MemorySource(bytes.slice());
};

/** Where data is said to lie that lies elsewhere or nowhere. */
const locations = [
  "m.onnx",
  "absent.bin",
  "../m.onnx",
  "/etc/hostname",
  ".",
  "",
  "m.onnx\0",
  "d.jsonl",
  "sub/../m.onnx",
  "__proto__",
];
const numbers = ["0", "4", "-4", "1e3", "0x10", "9223372036854775807", "18446744073709551616", "", "NaN", "1.5", " 8"];

const varints = (rng: Rng) => Array.from({ length: rng.int(20) }, () => varint(oddInteger(rng))).flat();

const typeOf = (info: ValueInfoProto | undefined) => info?.type?.tensorType;

export const tensorMutations: Readonly<Record<string, Structural>> = {
  "dims of a tensor": ({ tensors }, rng) => {
    const tensor = pick(tensors, rng);
    if (tensor) tensor.dims = oddList(tensor.dims ?? [], rng);
  },
  "dtype of a tensor": ({ tensors }, rng) => {
    const tensor = pick(tensors, rng);
    if (tensor) tensor.dataType = pick(dtypeCodes, rng) as number;
  },
  "values of a tensor": ({ tensors }, rng) => {
    const tensor = pick(tensors, rng);
    const bytes = tensor && bytesOf(tensor)?.slice();
    if (!bytes || bytes.length < 4) return;
    const view = new DataView(bytes.buffer);
    for (let left = 1 + rng.int(4); left > 0; left--) {
      const at = 4 * rng.int(bytes.length >> 2);
      if (rng.int(2)) view.setFloat32(at, oddFloat(rng), true);
      else view.setInt32(at, Number(BigInt.asIntN(32, oddInteger(rng))), true);
    }
    setBytes(tensor, bytes);
  },
  "all values of a tensor": ({ tensors }, rng) => {
    const tensor = pick(tensors, rng);
    const bytes = tensor && bytesOf(tensor);
    if (bytes) setBytes(tensor, new Uint8Array(bytes.length).fill(rng.int(2) ? 0 : rng.int(256)));
  },
  "bytes of a tensor": ({ tensors }, rng) => {
    const tensor = pick(tensors, rng);
    const bytes = tensor && bytesOf(tensor);
    if (!bytes) return;
    const choices = [
      { rawData: new MemorySource(bytes.slice(0, rng.int(bytes.length + 1))) },
      { rawData: new MemorySource(Uint8Array.of(...bytes.subarray(0, 64), 1, 2, 3)) },
      { rawData: undefined },
      // Fields that our encoder does not write: float_data, int32_data and int64_data.
      { unknown: Uint8Array.from(wire.bytes(4, new Uint8Array(4 * rng.int(9)))) },
      { unknown: Uint8Array.from(wire.bytes(rng.int(2) ? 5 : 7, varints(rng))) },
      { stringData: [Uint8Array.of(255, 254), new Uint8Array(0)] },
    ];
    Object.assign(tensor, pick(choices, rng));
  },
  "data in another file": ({ tensors }, rng) => {
    const tensor = pick(tensors, rng);
    if (!tensor) return;
    const { rawData } = tensor;
    if (rng.int(3)) delete tensor.rawData;
    tensor.dataLocation = rng.int(8) ? 1 : 7;
    if (rng.int(3) === 0 && rawData)
      tensor.externalData = [
        { key: "location", value: "good.onnx" },
        { key: "offset", value: `${rng.int(200)}` },
        { key: "length", value: `${rawData.byteLength}` },
      ];
    else
      tensor.externalData = [
        { key: "location", value: pick(locations, rng) as string },
        ...(rng.int(2) ? [{ key: "offset", value: pick(numbers, rng) as string }] : []),
        ...(rng.int(2) ? [{ key: "length", value: pick(numbers, rng) as string }] : []),
        ...(rng.int(4) ? [] : [{ key: pick(names, rng) as string, value: "1" }]),
        ...(rng.int(4) ? [] : [{ key: "location", value: "m.onnx" }]),
      ];
  },
  "a sparse constant": ({ graphs, tensors }, rng) => {
    const graph = pick(graphs, rng);
    const values = pick(tensors, rng);
    if (!graph || !values) return;
    const count = (values.dims ?? []).reduce((product, dim) => product * dim, 1n);
    const places = Array.from({ length: Math.min(Number(count), 1 << 16) }, (_, i) => BigInt(2 * i));
    const indices: TensorProto = {
      name: "",
      dataType: rng.int(6) ? 7 : 6,
      dims: rng.int(3) ? [count] : oddList([count], rng),
      rawData: int64Bytes(rng.int(3) ? places : oddList(places, rng)),
    };
    graph.initializer = graph.initializer?.filter((tensor) => tensor !== values) ?? [];
    const sparse = { values: { ...values, dims: [count] }, indices, dims: [2n * count] };
    graph.sparseInitializer = [rng.int(3) ? sparse : { ...sparse, dims: oddList(values.dims ?? [], rng) }];
  },
  "shape of a value": ({ infos }, rng) => {
    const type = typeOf(pick(infos, rng));
    if (!type) return;
    const dim = type.shape?.dim ?? [];
    const at = rng.int(Math.max(1, dim.length));
    const withDim = (other: object) => ({ dim: dim.map((each, i) => (i === at ? other : each)) });
    const shapes = [
      undefined,
      {},
      withDim({ dimValue: oddInteger(rng) }),
      withDim({ dimParam: pick(names, rng) }),
      withDim({}),
      { dim: [...dim, { dimValue: oddInteger(rng) }] },
      { dim: dim.slice(1) },
    ];
    Object.assign(type, { shape: pick(shapes, rng) });
  },
  "type of a value": ({ infos }, rng) => {
    const info = pick(infos, rng);
    if (!info) return;
    const plain = { tensorType: { elemType: 1 } };
    const types = [
      { tensorType: { ...typeOf(info), elemType: pick(dtypeCodes, rng) } },
      { tensorType: { ...typeOf(info), elemType: pick(dtypeCodes, rng) } },
      { sequenceType: { elemType: plain } },
      { optionalType: { elemType: { sequenceType: { elemType: plain } } } },
      { mapType: { keyType: rng.int(20), valueType: plain } },
      { sparseTensorType: { elemType: 1, shape: { dim: [{ dimValue: 4n }] } } },
      undefined,
      {},
    ];
    Object.assign(info, { type: pick(types, rng) });
  },
};
