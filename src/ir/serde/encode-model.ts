/** @file A model into the bytes of an .onnx file, and of the external data files beside it where some are needed. */
import { type EncodedMessage, encodeMessage } from "../../proto/encode.ts";
import { limits } from "../../proto/limits.ts";
import type {
  FunctionProto,
  GraphProto,
  Message,
  ModelProto,
  NodeProto,
  OperatorSetIdProto,
  SparseTensorProto,
  StringStringEntryProto,
  TensorProto,
  ValueInfoProto,
} from "../../proto/messages.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { ByteSource } from "../../util/bytes.ts";
import { TersorError } from "../../util/errors.ts";
import type { SparseTensor } from "../attribute.ts";
import type { Graph } from "../graph.ts";
import type { FunctionDef, Model } from "../model.ts";
import type { Node } from "../node.ts";
import type { Value } from "../value.ts";
import { type AttributeEncoding, encodeAttribute } from "./attributes.ts";
import { extraOf } from "./extras.ts";
import { encodeType } from "./types.ts";

export interface EncodeOptions {
  /** Name of the first external data file, relative to the model; see {@link dataFileName}. Default "model.onnx.data". */
  readonly location?: string;
  /** `auto` (default): only when the file would pass `maxBytes`. */
  readonly external?: "auto" | "always" | "never";
  /** Largest model file, without its external data. Default: protobuf's limit, 2 GB. */
  readonly maxBytes?: number;
  /** Where one more tensor would pass this, the next external data file begins. Default: one file. */
  readonly maxDataBytes?: number;
}

/** A file that tensors lie in. */
export interface EncodedData extends EncodedMessage {
  readonly location: string;
}

export interface EncodedModel {
  readonly model: EncodedMessage;
  /** The external data files, none when everything is inline. */
  readonly data: readonly EncodedData[];
}

/** Initializers below this many bytes stay in the model file. */
const EXTERNAL_FROM = 1024;
/** Large tensors start on a page so that runtimes can map them; small ones on a cache line. */
const PAGE = 4096;
const PAGE_FROM = 1 << 20;
const LINE = 64;

/** The name of an external data file: `first`, `first_1`, `first_2`, as transformers.js looks for them. */
export function dataFileName(first: string, index: number): string {
  return index === 0 ? first : `${first}_${index}`;
}

/**
 * Lays a model out as parts to write; sizes are final, and no tensor data is read until the parts are.
 * @throws limit-exceeded when the model passes 2 GB and external data is switched off or doesn't help.
 */
export function encodeModel(model: Model, options: EncodeOptions = {}): EncodedModel {
  const { external = "auto", location = "model.onnx.data", maxBytes = limits.protobufBytes } = options;
  if (external !== "always") {
    const inline = encodeMessage(new ModelEncoder().model(model), "ModelProto");
    if (inline.byteLength <= maxBytes) return { model: inline, data: [] };
    if (external === "never") throw tooLarge(inline.byteLength, maxBytes, "Let it write external data.");
  }
  const data = new ExternalLayout(location, options.maxDataBytes);
  const encoded = encodeMessage(new ModelEncoder(data).model(model), "ModelProto");
  if (encoded.byteLength > maxBytes)
    throw tooLarge(encoded.byteLength, maxBytes, "Move constants out of node attributes into initializers first.");
  return { model: encoded, data: data.files };
}

function tooLarge(bytes: number, maxBytes: number, remedy: string): TersorError {
  return new TersorError("limit-exceeded", `model file: expected at most ${maxBytes} bytes, got ${bytes}. ${remedy}`);
}

interface DataFile extends EncodedData {
  readonly parts: (Uint8Array | ByteSource)[];
  byteLength: number;
}

/** Assigns files and offsets. A tensor lies in one file. */
class ExternalLayout {
  readonly files: DataFile[] = [];
  readonly #location: string;
  readonly #maxBytes: number;
  /** Bytes that several tensors share are written once. */
  readonly #placed = new Map<ByteSource, StringStringEntryProto[]>();

  constructor(location: string, maxBytes = Number.POSITIVE_INFINITY) {
    this.#location = location;
    this.#maxBytes = maxBytes;
    this.#begin();
  }

  add(tensor: Tensor): StringStringEntryProto[] {
    const placed = this.#placed.get(tensor.bytes);
    if (placed) return placed;
    const align = tensor.byteLength >= PAGE_FROM ? PAGE : LINE;
    const last = this.files.at(-1) as DataFile;
    const passes = Math.ceil(last.byteLength / align) * align + tensor.byteLength > this.#maxBytes;
    const file = passes && last.byteLength > 0 ? this.#begin() : last;
    const padding = (align - (file.byteLength % align)) % align;
    if (padding > 0) file.parts.push(new Uint8Array(padding));
    const offset = file.byteLength + padding;
    file.parts.push(tensor.bytes);
    file.byteLength = offset + tensor.byteLength;
    const entries = [
      { key: "location", value: file.location },
      { key: "offset", value: String(offset) },
      { key: "length", value: String(tensor.byteLength) },
    ];
    this.#placed.set(tensor.bytes, entries);
    return entries;
  }

  #begin(): DataFile {
    const file = { location: dataFileName(this.#location, this.files.length), parts: [], byteLength: 0 };
    this.files.push(file);
    return file;
  }
}

class ModelEncoder implements AttributeEncoding {
  readonly #data: ExternalLayout | undefined;

  constructor(data?: ExternalLayout) {
    this.#data = data;
  }

  model(model: Model): Message {
    const proto: ModelProto = compact({
      irVersion: BigInt(model.irVersion),
      producerName: model.producerName,
      producerVersion: model.producerVersion,
      domain: model.domain,
      modelVersion: model.modelVersion,
      docString: model.docString,
      graph: this.graph(model.graph),
      opsetImport: opsets(model.opsetImports),
      metadataProps: entries(model.metadata),
      functions: model.functions.map((fn) => this.function(fn)),
      unknown: model.unknown,
    });
    return proto as Message;
  }

  function(fn: FunctionDef): FunctionProto {
    return compact({
      name: fn.name,
      input: fn.graph.inputs.map((value) => value.name),
      output: fn.graph.outputs.map((value) => value.name),
      attribute: [...fn.attributes],
      node: [
        ...fn.graph.initializers.map((value) => this.#constantNode(value)),
        ...fn.graph.nodes.map((node) => this.node(node)),
      ],
      docString: fn.docString,
      opsetImport: opsets(fn.opsetImports),
      domain: fn.domain,
      attributeProto: [...fn.defaults].map(([name, attribute]) => encodeAttribute(name, attribute, this)),
      valueInfo: described(fn.graph.values).map(valueInfo),
      overload: fn.overload,
      metadataProps: entries(fn.metadata),
      unknown: fn.unknown,
    });
  }

  graph(graph: Graph): GraphProto {
    const constants = graph.initializers;
    return compact({
      node: graph.nodes.map((node) => this.node(node)),
      name: graph.name,
      initializer: constants.flatMap((value) => (value.tensor ? [this.#initializer(value, value.tensor)] : [])),
      docString: graph.docString,
      input: graph.inputs.map(valueInfo),
      output: graph.outputs.map(valueInfo),
      valueInfo: described(graph.values, new Set([...graph.inputs, ...graph.outputs])).map(valueInfo),
      sparseInitializer: constants.flatMap((value) => (value.sparse ? [this.#sparse(value)] : [])),
      metadataProps: entries(graph.metadata),
      unknown: graph.unknown,
    });
  }

  node(node: Node): NodeProto {
    return compact({
      input: node.inputs.map((value) => value?.name ?? ""),
      output: node.outputs.map((value) => value?.name ?? ""),
      name: node.name,
      opType: node.opType,
      attribute: [...node.attributes].map(([name, attribute]) => encodeAttribute(name, attribute, this)),
      docString: node.docString,
      domain: node.domain,
      overload: node.overload,
      metadataProps: entries(node.metadata),
      unknown: node.unknown,
    });
  }

  tensor(tensor: Tensor): TensorProto {
    return { ...header(tensor), ...payload(tensor), ...extraOf<TensorProto>(tensor) };
  }

  /** Functions have no initializers. */
  #constantNode(value: Value): NodeProto {
    const { name, tensor, sparse } = value;
    const attribute = tensor
      ? encodeAttribute("value", { type: "tensor", value: tensor }, this)
      : encodeAttribute("sparse_value", { type: "sparse-tensor", value: sparse as SparseTensor }, this);
    return { output: [name], opType: "Constant", attribute: [attribute] };
  }

  #initializer(value: Value, tensor: Tensor): TensorProto {
    const outside = this.#data && !tensor.strings && tensor.byteLength >= EXTERNAL_FROM;
    return {
      ...header(tensor),
      ...(outside ? { externalData: this.#data.add(tensor), dataLocation: 1 } : payload(tensor)),
      ...aboutConstant(value, tensor),
    };
  }

  #sparse(value: Value): SparseTensorProto {
    const sparse = value.sparse as SparseTensor;
    return {
      values: { ...this.tensor(sparse.values), ...aboutConstant(value, sparse.values) },
      indices: this.tensor(sparse.indices),
      dims: sparse.dims.map(BigInt),
    };
  }
}

function header(tensor: Tensor): TensorProto {
  return { dims: tensor.dims.map(BigInt), dataType: dtypeInfo(tensor.dtype).code };
}

function payload(tensor: Tensor): TensorProto {
  return tensor.strings ? { stringData: [...tensor.strings] } : { rawData: tensor.bytes };
}

/** The name of a constant and what is said about it; of a constant that is also an input it is said here. */
function aboutConstant(value: Value, tensor: Tensor): TensorProto {
  const { unknown } = extraOf<TensorProto>(tensor);
  return compact({ name: value.name, docString: value.docString, metadataProps: entries(value.metadata), unknown });
}

function valueInfo(value: Value): ValueInfoProto {
  const { type } = value;
  return compact({
    name: value.name,
    type: type && encodeType(type),
    ...(!value.isConstant && { docString: value.docString, metadataProps: entries(value.metadata) }),
    unknown: value.unknown,
  });
}

/** The values of which more than the name is known, but for constants and those in `elsewhere`. */
function described(values: Iterable<Value>, elsewhere: ReadonlySet<Value> = new Set()): Value[] {
  return [...values].filter(
    (value) =>
      !value.isConstant &&
      !elsewhere.has(value) &&
      (value.type || value.docString || value.metadata.size > 0 || value.unknown),
  );
}

function entries(map: ReadonlyMap<string, string>): StringStringEntryProto[] {
  return [...map].map(([key, value]) => ({ key, value }));
}

function opsets(imports: ReadonlyMap<string, number>): OperatorSetIdProto[] {
  return [...imports].map(([domain, version]) => ({ domain, version: BigInt(version) }));
}

/** Unsets what says nothing, as exporters do: empty strings and lists, zero. The encoder skips what is undefined. */
function compact<T extends object>(proto: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const fields = proto as Record<string, unknown>;
  for (const name in fields) {
    const value = fields[name];
    if (value === "" || value === 0n || (Array.isArray(value) && value.length === 0)) fields[name] = undefined;
  }
  return proto as { [K in keyof T]: Exclude<T[K], undefined> };
}
