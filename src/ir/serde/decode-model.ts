/** @file A model out of the bytes of an .onnx file. The file is untrusted. */
import { decodeMessage } from "../../proto/decode.ts";
import { encodeMessage } from "../../proto/encode.ts";
import type {
  FunctionProto,
  GraphProto,
  Message,
  ModelProto,
  NodeProto,
  OperatorSetIdProto,
  StringStringEntryProto,
  TensorProto,
  ValueInfoProto,
} from "../../proto/messages.ts";
import { chunksOfMessage } from "../../proto/write.ts";
import { type ByteSource, MemorySink } from "../../util/bytes.ts";
import { messageOf, TersorError } from "../../util/errors.ts";
import type { Attribute } from "../attribute.ts";
import { checkCalls } from "../calls.ts";
import { Graph } from "../graph.ts";
import { type FunctionDef, Model } from "../model.ts";
import type { Node } from "../node.ts";
import type { Value } from "../value.ts";
import { decodeAttribute } from "./attributes.ts";
import { decodeSparse, decodeTensor, type ExternalDataResolver } from "./decode-tensor.ts";
import { decodeType } from "./types.ts";

export interface DecodeOptions {
  /** How messages name the file. */
  readonly name?: string;
  /** Opens external data; without it a model that has any is refused. */
  readonly external?: ExternalDataResolver;
}

/**
 * Decodes a model; large tensors stay in `source` and are read when needed, so it must outlive the model.
 * @throws bad-model, limit-exceeded, each naming the file and the node, value or byte.
 */
export function decodeModel(source: ByteSource, options: DecodeOptions = {}): Model {
  const name = options.name ?? "model";
  const external = options.external ?? noExternalData;
  try {
    const wrongKind = sniff(source);
    if (wrongKind) throw new TersorError("bad-model", `expected an ONNX model, got ${wrongKind}.`);
    return new ModelDecoder(external).model(decodeMessage(source, "ModelProto") as ModelProto);
  } catch (error) {
    if (error instanceof TersorError) throw new TersorError(error.code, `${name}: ${error.message}`, { cause: error });
    if (error instanceof RangeError)
      throw new TersorError("limit-exceeded", `${name}: too large or too deep to decode (${messageOf(error)}).`, {
        cause: error,
      });
    throw error;
  }
}

function noExternalData(): never {
  throw new TersorError(
    "bad-model",
    "the model was opened from bytes alone. Open it from its path, or give the external files.",
  );
}

/** What other files have at their begin, behind white space, or at a later byte. No ONNX model has. */
const otherKinds: readonly (readonly [mark: string, at: number, kind: string])[] = [
  ["version https://git-lfs", 0, "a Git LFS pointer (run `git lfs pull`)"],
  ["{", 0, "JSON"],
  ["[", 0, "JSON"],
  ["<", 0, "HTML or XML (a failed download?)"],
  ["PK", 0, "a ZIP archive (a PyTorch checkpoint? export it to ONNX first)"],
  ["\x1f\x8b", 0, "a gzip archive (unpack it first)"],
  ["\x89HDF", 0, "an HDF5 file (a Keras model? convert it to ONNX first)"],
  ["ORTM", 4, "an ORT-format model (convert from the .onnx file instead)"],
  ["TFL3", 4, "a TensorFlow Lite model (convert it to ONNX first)"],
  ['{"', 8, "a safetensors file (weights without a graph; export the model to ONNX first)"],
];

/** What a file that can't be a model looks like; undefined when it may be one. */
function sniff(source: ByteSource): string | undefined {
  if (source.byteLength === 0) return "an empty file";
  const head = String.fromCharCode(...source.read(0, Math.min(64, source.byteLength)));
  const text = head.replace(/^(\u00ef\u00bb\u00bf)?\s*/, "");
  return otherKinds.find(([mark, at]) => (at === 0 ? text : head).startsWith(mark, at))?.[2];
}

class ModelDecoder {
  readonly #external: ExternalDataResolver;

  constructor(external: ExternalDataResolver) {
    this.#external = external;
  }

  model(proto: ModelProto): Model {
    if (!proto.graph) throw new TersorError("bad-model", "expected an ONNX model, got a file without a graph.");
    const model = new Model(this.graph(proto.graph));
    model.irVersion = wholeNumber(proto.irVersion ?? 0n, "IR version");
    model.opsetImports = opsets(proto.opsetImport);
    // IR versions 1 and 2 import nothing: opset 1 is meant.
    if (model.opsetImports.size === 0) model.opsetImports.set("", 1);
    model.producerName = proto.producerName ?? "";
    model.producerVersion = proto.producerVersion ?? "";
    model.domain = proto.domain ?? "";
    model.modelVersion = proto.modelVersion ?? 0n;
    model.docString = proto.docString ?? "";
    model.metadata = entries(proto.metadataProps);
    model.functions = (proto.functions ?? []).map((fn) => this.function(fn));
    model.unknown = proto.unknown;
    checkCalls(model);
    return model;
  }

  function(proto: FunctionProto): FunctionDef {
    const name = proto.name ?? "";
    const graph = this.graph({
      name,
      input: (proto.input ?? []).map((input) => ({ name: input })),
      output: (proto.output ?? []).map((output) => ({ name: output })),
      node: proto.node ?? [],
      valueInfo: proto.valueInfo ?? [],
    });
    const defaults = new Map<string, Attribute>();
    for (const attribute of proto.attributeProto ?? []) {
      const subject = `function "${name}" attribute "${attribute.name}"`;
      const ctx = { subject, external: this.#external, graph: (inner: GraphProto) => this.graph(inner, graph) };
      defaults.set(attribute.name ?? "", decodeAttribute(attribute, ctx));
    }
    return {
      domain: standardDomain(proto.domain),
      name,
      overload: proto.overload ?? "",
      docString: proto.docString ?? "",
      attributes: proto.attribute ?? [],
      defaults,
      opsetImports: opsets(proto.opsetImport),
      graph,
      metadata: entries(proto.metadataProps),
      unknown: proto.unknown,
    };
  }

  graph(proto: GraphProto, parent?: Graph): Graph {
    const graph = new Graph(proto.name ?? "", parent);
    graph.docString = proto.docString ?? "";
    graph.metadata = entries(proto.metadataProps);
    graph.unknown = proto.unknown;
    for (const tensor of proto.initializer ?? []) {
      const value = this.#constant(graph, tensor);
      value.tensor = decodeTensor(tensor, `initializer "${value.name}"`, this.#external);
    }
    for (const sparse of proto.sparseInitializer ?? []) {
      const value = this.#constant(graph, sparse.values ?? {});
      value.sparse = decodeSparse(sparse, `initializer "${value.name}"`, this.#external);
    }
    this.#inputs(graph, proto.input ?? []);
    const nodes = proto.node ?? [];
    for (const node of nodes) for (const output of node.output ?? []) if (output) declareOutput(graph, output, node);
    for (const info of proto.valueInfo ?? []) describe(graph.find(info.name ?? ""), info);
    for (const node of nodes) this.#node(graph, node);
    for (const info of proto.output ?? []) {
      const value = graph.find(info.name ?? "", true);
      if (!value)
        throw new TersorError(
          "bad-model",
          `output "${info.name ?? ""}": nothing in graph "${graph.name}" produces it.`,
        );
      if (value.graph === graph) describe(value, info);
      graph.addOutput(value);
    }
    graph.sort();
    return graph;
  }

  /** One of the name of an initializer is the same value: the old style of files says it twice. */
  #inputs(graph: Graph, infos: readonly ValueInfoProto[]): void {
    const seen = new Set<string>();
    for (const info of infos) {
      const { name } = info;
      if (!name) throw new TersorError("bad-model", `an input of graph "${graph.name}" has no name.`);
      if (seen.has(name))
        throw new TersorError("bad-model", `input "${name}": defined twice in graph "${graph.name}".`);
      seen.add(name);
      const value = graph.find(name) ?? graph.declare(name);
      describe(value, info);
      graph.addInput(value);
    }
  }

  #constant(graph: Graph, { name, docString, metadataProps }: TensorProto): Value {
    if (!name) throw new TersorError("bad-model", `an initializer of graph "${graph.name}" has no name.`);
    if (graph.find(name))
      throw new TersorError("bad-model", `initializer "${name}": defined twice in graph "${graph.name}".`);
    const value = graph.declare(name);
    value.docString = docString ?? "";
    value.metadata = entries(metadataProps);
    return value;
  }

  #node(graph: Graph, proto: NodeProto): Node {
    const opType = proto.opType ?? "";
    const name = proto.name ?? "";
    const subject = subjectOf(proto);
    if (!opType) throw new TersorError("bad-model", `${subject}: it has no operator. The file is damaged.`);
    const attributes = new Map<string, Attribute>();
    for (const attribute of proto.attribute ?? []) {
      const key = attribute.name ?? "";
      if (attributes.has(key)) throw new TersorError("bad-model", `${subject}: attribute "${key}" stands twice.`);
      attributes.set(
        key,
        decodeAttribute(attribute, {
          subject: `${subject}: attribute "${key}"`,
          external: this.#external,
          graph: (inner) => this.graph(inner, graph),
        }),
      );
    }
    const inputs = (proto.input ?? []).map((input) => {
      if (!input) return undefined;
      const value = graph.find(input, true);
      if (value) return value;
      throw new TersorError(
        "bad-model",
        `${subject}: input "${input}" is defined nowhere. The model is not valid ONNX.`,
      );
    });
    const outputs = (proto.output ?? []).map((output) => (output ? graph.find(output) : undefined));
    const { overload = "" } = proto;
    const domain = standardDomain(proto.domain);
    const node = graph.addNode({ opType, domain, overload, name, inputs, outputs, attributes });
    node.docString = proto.docString ?? "";
    node.metadata = entries(proto.metadataProps);
    node.unknown = proto.unknown;
    return node;
  }
}

/** As Node.toString has it. */
function subjectOf({ opType, name, output }: NodeProto): string {
  const label = name ? `"${name}"` : `(output "${output?.find((name) => name) ?? ""}")`;
  return `${opType || "node"} ${label}`;
}

function declareOutput(graph: Graph, name: string, node: NodeProto): void {
  if (graph.find(name))
    throw new TersorError(
      "bad-model",
      `${subjectOf(node)}: output "${name}" is already defined in graph "${graph.name}". Names must be unique.`,
    );
  graph.declare(name);
}

/** What is said of a value first stands: of a constant by its tensor, then as an input, in between, as an output. */
function describe(value: Value | undefined, info: ValueInfoProto): void {
  if (!value) return;
  const type = decodeType(info.type, `value "${value.name}"`);
  if (type) value.type = type;
  value.docString ||= info.docString ?? "";
  if (value.metadata.size === 0) value.metadata = entries(info.metadataProps);
  const strangeType = !type && info.type?.unknown ? { type: info.type } : {};
  const rest = { ...strangeType, ...(info.unknown && { unknown: info.unknown }) };
  if (Object.keys(rest).length > 0) value.unknown = bytesOf(rest);
}

function bytesOf(info: ValueInfoProto): Uint8Array {
  const sink = new MemorySink();
  for (const chunk of chunksOfMessage(encodeMessage(info as Message, "ValueInfoProto"))) sink.write(chunk);
  return sink.bytes();
}

function entries(props: readonly StringStringEntryProto[] | undefined): Map<string, string> {
  return new Map((props ?? []).map(({ key = "", value = "" }) => [key, value]));
}

function opsets(imports: readonly OperatorSetIdProto[] | undefined): Map<string, number> {
  return new Map(
    (imports ?? []).map(({ domain, version }) => [
      standardDomain(domain),
      wholeNumber(version ?? 0n, `opset of domain "${domain ?? ""}"`),
    ]),
  );
}

function wholeNumber(version: bigint, subject: string): number {
  if (version >= 0n && version <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(version);
  throw new TersorError("bad-model", `${subject}: expected a whole number, got ${version}. The file is damaged.`);
}

function standardDomain(domain = ""): string {
  return domain === "ai.onnx" ? "" : domain;
}
