/** @file Tests of model files, feature by feature: what is read is in the IR, and is written again. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { arbitraryModel } from "../../../test/arbitrary-graph.ts";
import { decode, encode, encodeProto, fileOf, throughIr, wire } from "../../../test/wire.ts";
import { decodeMessage } from "../../proto/decode.ts";
import type {
  AttributeProto,
  FunctionProto,
  GraphProto,
  ModelProto,
  TensorProto,
  TypeProto,
  ValueInfoProto,
} from "../../proto/messages.ts";
import { float32 } from "../../tensor/tensor.ts";
import { MemorySource } from "../../util/bytes.ts";
import { Graph } from "../graph.ts";
import { Model } from "../model.ts";
import { print } from "../text/index.ts";

const unknown = Uint8Array.from([...wire.text(900, "from the future"), ...wire.varint(901, 5)]);
const props = [
  { key: "b", value: "2" },
  { key: "a", value: "" },
];
const dimOf = (dim: number | string | null) => {
  if (dim === null) return {};
  return typeof dim === "number" ? { dimValue: BigInt(dim) } : { dimParam: dim };
};
const float = (...dims: (number | string | null)[]): TypeProto => ({
  tensorType: { elemType: 1, shape: dims.length > 0 ? { dim: dims.map(dimOf) } : {} },
});
const scalar = (name?: string): TensorProto => ({
  dataType: 2,
  ...(name && { name }),
  rawData: new MemorySource(Uint8Array.of(7)),
});
const x: ValueInfoProto = { name: "x", type: float(2) };
const y: ValueInfoProto = { name: "y", type: float(2) };
const relu = { input: ["x"], output: ["y"], opType: "Relu" };
/** As a decoded message has it: without empty lists. */
const kept = (graph: GraphProto) => throughIr(fileOf(graph)).graph;

describe("kept as it is", () => {
  it("everything that models, graphs, nodes and values carry", () => {
    const model: ModelProto = {
      irVersion: 13n,
      producerName: "p",
      producerVersion: "1",
      domain: "org.example",
      modelVersion: -3n,
      docString: "doc",
      opsetImport: [
        { domain: "", version: 25n },
        { domain: "com.microsoft", version: 1n },
      ],
      metadataProps: props,
      unknown,
      graph: {
        name: "g",
        docString: "graph doc",
        metadataProps: props,
        unknown,
        node: [
          { ...relu, name: "n", domain: "com.microsoft", overload: "o", docString: "d", metadataProps: props, unknown },
        ],
        input: [{ ...x, docString: "in", metadataProps: props, unknown }],
        output: [{ ...y, docString: "out", metadataProps: props, unknown }],
      },
    };
    expect(throughIr(encodeProto(model, "ModelProto"))).toEqual(model);
  });

  const attributes: AttributeProto[] = [
    { name: "f", type: 1, f: -0 },
    { name: "i", type: 2, i: -(2n ** 63n) },
    { name: "s", type: 3, s: Uint8Array.of(0xff) },
    { name: "t", type: 4, t: scalar("inner") },
    { name: "g", type: 5, g: { name: "sub", output: [x] } },
    { name: "floats", type: 6, floats: [1.5, Number.NaN, Number.NEGATIVE_INFINITY] },
    { name: "ints", type: 7, ints: [0n, 2n ** 63n - 1n, -1n] },
    { name: "strings", type: 8, strings: [Uint8Array.of(1), new Uint8Array(0)] },
    { name: "tensors", type: 9, tensors: [scalar(), scalar("two")] },
    { name: "graphs", type: 10, graphs: [{ name: "a" }, { name: "b" }] },
    { name: "sparse", type: 11, sparseTensor: sparse() },
    { name: "sparses", type: 12, sparseTensors: [sparse()] },
    { name: "tp", type: 13, tp: float("N", null) },
    { name: "tps", type: 14, typeProtos: [{ sequenceType: { elemType: float(1) } }] },
    { name: "empty", type: 7 },
    { name: "documented", type: 2, i: 0n, docString: "doc", unknown },
  ];
  it.each(attributes)("attribute $name", (attribute) => {
    const node = [{ ...relu, attribute: [attribute] }];
    expect(kept({ node, input: [x], output: [y] })?.node).toEqual(node);
  });

  const types: [string, TypeProto][] = [
    ["a scalar", float()],
    ["an unknown rank", { tensorType: { elemType: 1 } }],
    ["static, symbolic and unknown dims", float(3, "batch", null, 0)],
    ["a sequence", { sequenceType: { elemType: float("N") } }],
    ["an optional sequence", { optionalType: { elemType: { sequenceType: { elemType: float(1) } } } }],
    ["a map", { mapType: { keyType: 7, valueType: float() } }],
    ["a sparse tensor", { sparseTensorType: { elemType: 11, shape: { dim: [{ dimValue: 4n }] } } }],
    ["a denotation", { ...float(1), denotation: "IMAGE" }],
    [
      "the denotation of a dim",
      { tensorType: { elemType: 1, shape: { dim: [{ dimValue: 1n, denotation: "BATCH" }] } } },
    ],
    ["unknown fields", { sequenceType: { elemType: { ...float(1), unknown } } }],
    ["an opaque type", { unknown: Uint8Array.from(wire.bytes(7, wire.text(2, "opaque"))) }],
  ];
  it.each(types)("type: %s", (_, type) => {
    const input = [{ name: "x", type }];
    const file = fileOf({ input });
    expect(throughIr(file).graph?.input).toEqual(input);
    expect(encode(decode(file).clone())).toEqual(file);
  });

  it("value_info: types, and doc strings and metadata of values without a type", () => {
    const node = [relu, { input: ["y"], output: ["z", "w"], opType: "Split" }];
    const valueInfo: ValueInfoProto[] = [
      { ...y, metadataProps: props },
      { name: "z", docString: "no type" },
    ];
    expect(kept({ node, input: [x], output: [{ name: "w" }], valueInfo })?.valueInfo).toEqual(valueInfo);
  });

  it("a model without value_info, node names or output types", () => {
    const graph = {
      node: [relu, { input: ["y"], output: ["z"], opType: "Relu" }],
      input: [x],
      output: [{ name: "z" }],
    };
    expect(kept(graph)).toEqual({ name: "g", ...graph });
  });

  it("old-style initializers among the inputs, each list in its own order", () => {
    const initializer = [scalar("b"), scalar("a"), scalar("c")];
    const uint8: TypeProto = { tensorType: { elemType: 2, shape: {} } };
    const input: ValueInfoProto[] = [{ name: "a", type: uint8 }, x, { name: "b", type: uint8 }];
    const file = fileOf({ node: [relu], initializer, input, output: [y] }, { irVersion: 3n });
    const graph = decode(file).graph;
    expect(graph.inputs.map((value) => [value.name, value.isConstant])).toEqual([
      ["a", true],
      ["x", false],
      ["b", true],
    ]);
    expect(throughIr(file).graph).toEqual({ name: "g", node: [relu], initializer, input, output: [y] });
  });

  it("missing inputs and outputs in the middle; at the end they are no different from none", () => {
    const node = { input: ["", "x", "", "x", ""], output: ["", "y", ""], opType: "Foo" };
    expect(kept({ node: [node], input: [x], output: [y] })?.node).toEqual([
      { input: ["", "x", "", "x"], output: ["", "y"], opType: "Foo" },
    ]);
  });
});

describe("subgraphs", () => {
  it("keep values captured from any graph around, also those computed later in the file", () => {
    const innermost: GraphProto = {
      name: "innermost",
      node: [{ input: ["late", "i"], output: ["o"], opType: "Add" }],
      output: [{ name: "o" }],
    };
    const body: GraphProto = {
      name: "body",
      input: [{ name: "i", type: float(2) }],
      node: [
        { input: ["x"], output: ["if"], opType: "If", attribute: [{ name: "then_branch", type: 5, g: innermost }] },
      ],
      output: [{ name: "if" }],
    };
    const loop = {
      input: ["", "", "x"],
      output: ["y"],
      opType: "Loop",
      attribute: [{ name: "body", type: 5, g: body }],
    };
    const late = { input: ["x"], output: ["late"], opType: "Relu" };
    const graph = kept({ node: [loop, late], input: [x], output: [y] });
    expect(graph?.node, "sorted so that what a subgraph needs comes first").toEqual([late, loop]);
    const model = decode(fileOf({ node: [loop, late], input: [x], output: [y] }));
    expect(model.graph.find("late")?.users().map(String)).toEqual(['Add (output "o")']);
  });
});

describe("functions", () => {
  const fn: FunctionProto = {
    name: "Scale",
    domain: "local",
    overload: "v2",
    input: ["a", "b"],
    output: ["c"],
    attribute: ["alpha"],
    attributeProto: [{ name: "beta", type: 1, f: 0.5 }],
    node: [
      { input: ["a"], output: ["c"], opType: "Elu", attribute: [{ name: "alpha", type: 1, refAttrName: "alpha" }] },
    ],
    docString: "doc",
    opsetImport: [{ domain: "", version: 21n }],
    valueInfo: [
      { name: "a", type: float(2) },
      { name: "c", type: float(2) },
    ],
    metadataProps: props,
    unknown,
  };

  it("are kept with attribute references, defaults, overloads and the types of their arguments", () => {
    const functions = [fn, { ...fn, overload: "" }].map(({ overload, ...rest }) =>
      overload ? { ...rest, overload } : rest,
    );
    expect(throughIr(fileOf({ input: [x] }, { functions })).functions).toEqual(functions);
  });

  it("get constants that a pass made of them back as Constant nodes: they have no initializers", () => {
    const model = decode(fileOf({ input: [x] }, { functions: [fn] }));
    model.functions[0]?.graph.addInitializer("k", float32([1], [3]));
    const [decoded] = (decodeMessage(new MemorySource(encode(model)), "ModelProto") as ModelProto).functions ?? [];
    expect(decoded?.node?.map((node) => node.opType)).toEqual(["Constant", "Elu"]);
    expect(decode(encode(model)).functions[0]?.graph.nodes[0]?.tensor("value")?.toNumbers()).toEqual(
      Float64Array.of(3),
    );
  });
});

describe("read leniently", () => {
  it("a dim of −1 means unknown", () => {
    expect(decode(fileOf({ input: [{ name: "x", type: float(-1, 2) }] })).graph.inputs[0]?.type).toEqual({
      kind: "tensor",
      dtype: "float32",
      shape: [null, 2],
    });
  });

  it("no opset import means opset 1; ai.onnx is the standard domain", () => {
    const bare = encodeProto({ irVersion: 1n, graph: { name: "g", input: [x] } }, "ModelProto");
    expect(decode(bare).opset).toBe(1);
    expect(decode(fileOf({}, { opsetImport: [{ domain: "ai.onnx", version: 12n }] })).opset).toBe(12);
  });

  it("an attribute without a type, as IR version 1 wrote it", () => {
    const attribute = [{ name: "axes", ints: [1n] }];
    const graph = decode(fileOf({ node: [{ ...relu, attribute }], input: [x], output: [y] }, { irVersion: 1n })).graph;
    expect(graph.nodes[0]?.ints("axes")).toEqual([1]);
  });

  it("opsets and IR versions of any number; judging them is up to checkModel", () => {
    for (const version of [0n, 9999n]) {
      const model = decode(fileOf({}, { irVersion: version, opsetImport: [{ domain: "", version }] }));
      expect([model.irVersion, model.opset]).toEqual([Number(version), Number(version)]);
    }
  });

  it("an output that is an input or a constant", () => {
    const graph = { initializer: [scalar("k")], input: [x], output: [x, { name: "k" }] };
    expect(decode(fileOf(graph)).graph.outputs.map((value) => value.name)).toEqual(["x", "k"]);
  });
});

describe("encode", () => {
  it("decodes to the same model, and the same model gives the same bytes", () => {
    fc.assert(
      fc.property(arbitraryModel(), (model) => {
        const bytes = encode(model);
        const twin = decode(bytes);
        const options = { elideAbove: Number.POSITIVE_INFINITY };
        expect(print(twin, options)).toBe(print(model, options));
        expect(Buffer.compare(encode(twin), bytes)).toBe(0);
        expect(Buffer.compare(encode(twin.clone()), bytes)).toBe(0);
      }),
      { numRuns: 60, seed: 2 },
    );
  });

  it("of an empty model is a model", () => {
    expect(decode(encode(new Model(new Graph("")))).graph.nodes).toEqual([]);
  });
});

function sparse() {
  const indices: TensorProto = { dims: [1n], dataType: 7, rawData: new MemorySource(new Uint8Array(8)) };
  return { values: { ...scalar("v"), dims: [1n] }, indices, dims: [9n] };
}
