/** @file A model out of the bytes of an .onnx file. The file is untrusted. */
import { decodeMessage } from "../../proto/decode.ts";
import type {
  FunctionProto,
  GraphProto,
  ModelProto,
  NodeProto,
  OperatorSetIdProto,
  StringStringEntryProto,
  ValueInfoProto,
} from "../../proto/messages.ts";
import type { ByteSource } from "../../util/bytes.ts";
import { messageOf, TersorError } from "../../util/errors.ts";
import type { Attribute } from "../attribute.ts";
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

function noExternalData(location: string): never {
  throw new TersorError(
    "bad-model",
    `external data "${location}": the model was opened from bytes alone. Open it from its path, or give the external files.`,
  );
}

/** What a file that can't be a model looks like; undefined when it may be one. */
function sniff(source: ByteSource): string | undefined {
  if (source.byteLength === 0) return "an empty file";
  const head = new TextDecoder("latin1").decode(source.read(0, Math.min(64, source.byteLength))).trimStart();
  if (head.startsWith("version https://git-lfs")) return "a Git LFS pointer (run `git lfs pull`)";
  if (head.startsWith("{") || head.startsWith("[")) return "JSON";
  if (head.startsWith("<")) return "HTML or XML (a failed download?)";
  if (head.startsWith("PK")) return "a ZIP archive (a PyTorch checkpoint? export it to ONNX first)";
  if (head.slice(4, 8) === "ORTM") return "an ORT-format model (convert from the .onnx file instead)";
  if (head.slice(4, 8) === "TFL3") return "a TensorFlow Lite model (convert it to ONNX first)";
  return undefined;
}

class ModelDecoder {
  readonly #external: ExternalDataResolver;

  constructor(external: ExternalDataResolver) {
    this.#external = external;
  }

  model(proto: ModelProto): Model {
    if (!proto.graph) throw new TersorError("bad-model", "expected an ONNX model, got a file without a graph.");
    const model = new Model(this.graph(proto.graph));
    model.irVersion = Number(proto.irVersion ?? 0n);
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
    for (const info of proto.input ?? []) graph.addInput(this.#declareInput(graph, info));
    for (const tensor of proto.initializer ?? []) {
      const value = this.#constant(graph, tensor.name);
      value.tensor = decodeTensor(tensor, `initializer "${value.name}"`, this.#external);
      value.docString = tensor.docString ?? value.docString;
      value.metadata = entries(tensor.metadataProps);
    }
    for (const sparse of proto.sparseInitializer ?? []) {
      const value = this.#constant(graph, sparse.values?.name);
      value.sparse = decodeSparse(sparse, `initializer "${value.name}"`, this.#external);
    }
    const nodes = proto.node ?? [];
    for (const node of nodes) for (const output of node.output ?? []) if (output) declareOutput(graph, output, node);
    for (const info of proto.valueInfo ?? []) describe(graph.find(info.name ?? ""), info);
    for (const node of nodes) this.#node(graph, node);
    for (const info of proto.output ?? []) {
      const value = graph.find(info.name ?? "", true);
      if (!value)
        throw new TersorError("bad-model", `output "${info.name}": nothing in graph "${graph.name}" produces it.`);
      if (value.graph === graph) describe(value, info);
      graph.addOutput(value);
    }
    graph.sort();
    return graph;
  }

  #declareInput(graph: Graph, info: ValueInfoProto): Value {
    const value = graph.declare(info.name ?? "");
    describe(value, info);
    return value;
  }

  /** The value of an initializer; one of the same name among the inputs is the old style of saying the same thing. */
  #constant(graph: Graph, name = ""): Value {
    const value = graph.find(name) ?? graph.declare(name);
    if (value.isConstant)
      throw new TersorError("bad-model", `initializer "${name}": defined twice in graph "${graph.name}".`);
    return value;
  }

  #node(graph: Graph, proto: NodeProto): Node {
    const opType = proto.opType ?? "";
    const name = proto.name ?? "";
    const subject = `${opType} ${name ? `"${name}"` : `(output "${proto.output?.[0] ?? ""}")`}`;
    const attributes = new Map<string, Attribute>();
    for (const attribute of proto.attribute ?? []) {
      const key = attribute.name ?? "";
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

function declareOutput(graph: Graph, name: string, node: NodeProto): void {
  if (graph.find(name))
    throw new TersorError(
      "bad-model",
      `${node.opType ?? "node"} "${node.name ?? ""}": output "${name}" is already defined in graph "${graph.name}". Names must be unique.`,
    );
  graph.declare(name);
}

function describe(value: Value | undefined, info: ValueInfoProto): void {
  if (!value) return;
  const type = decodeType(info.type, `value "${value.name}"`);
  if (type) value.type = type;
  if (info.docString) value.docString = info.docString;
  if (info.metadataProps) value.metadata = entries(info.metadataProps);
}

function entries(props: readonly StringStringEntryProto[] | undefined): Map<string, string> {
  return new Map((props ?? []).map(({ key = "", value = "" }) => [key, value]));
}

function opsets(imports: readonly OperatorSetIdProto[] | undefined): Map<string, number> {
  return new Map((imports ?? []).map(({ domain, version }) => [standardDomain(domain), Number(version ?? 0n)]));
}

function standardDomain(domain = ""): string {
  return domain === "ai.onnx" ? "" : domain;
}
