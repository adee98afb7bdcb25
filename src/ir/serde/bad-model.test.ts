/** @file Tests of files that are no sound models: one clear error each, naming the file and the node, value or byte. */
import { describe, expect, it } from "vitest";
import { encodeProto, fileOf } from "../../../test/wire.ts";
import type { GraphProto, NodeProto, TypeProto } from "../../proto/messages.ts";
import { type ByteSource, MemorySource } from "../../util/bytes.ts";
import { TersorError } from "../../util/errors.ts";
import { decodeModel } from "./decode-model.ts";

const errorOf = (source: Uint8Array | ByteSource): TersorError => {
  try {
    decodeModel(source instanceof Uint8Array ? new MemorySource(source) : source, { name: "a.onnx" });
  } catch (error) {
    if (error instanceof TersorError) return error;
    throw error;
  }
  throw new Error("decoded");
};
const bytes = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));
const float: TypeProto = { tensorType: { elemType: 1 } };
const x = { name: "x", type: float };
const node = (opType: string, input: string[], output: string[], rest: NodeProto = {}): NodeProto => ({
  opType,
  input,
  output,
  ...rest,
});
const branch = (g: GraphProto) => ({ attribute: [{ name: "then_branch", type: 5, g }] });
const relu = node("Relu", ["x"], ["y"]);

describe("files of other kinds", () => {
  const kinds: [string, string][] = [
    ["", "an empty file"],
    ['{"a": 1}', "JSON"],
    ["\u00ef\u00bb\u00bf\n [1]", "JSON"],
    ["<!DOCTYPE html><html>", "HTML"],
    ["version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS"],
    ["PK\x03\x04\x14\0", "ZIP"],
    ["\x1f\x8b\x08", "gzip"],
    ["\x89HDF\r\n", "HDF5"],
    [" \0\0\0ORTM", "ORT-format"],
    ["\x1c\0\0\0TFL3", "TensorFlow Lite"],
    ['\x10\0\0\0\0\0\0\0{"__metadata__"', "safetensors"],
  ];
  it.each(kinds)("%j", (content, kind) => {
    const { code, message } = errorOf(bytes(content));
    expect(code).toBe("bad-model");
    expect(message).toMatch(/^a\.onnx: expected an ONNX model, got /);
    expect(message).toContain(kind);
  });

  it("random bytes", () => {
    let state = 1;
    for (let run = 0; run < 300; run++) {
      const noise = Uint8Array.from({ length: 1 + (run % 90) }, () => {
        state = Math.imul(state, 1103515245) + 12345;
        return state >>> 16;
      });
      expect(["bad-model", "limit-exceeded"]).toContain(errorOf(noise).code);
    }
  });
});

describe("damaged files", () => {
  const initializer = [{ name: "w", dims: [50_000n], dataType: 2, rawData: new MemorySource(new Uint8Array(50_000)) }];
  const nodes = Array.from({ length: 300 }, (_, i) => node("Relu", [i ? `v${i - 1}` : "x"], [`v${i}`]));
  const whole = fileOf({ initializer, node: nodes, input: [x], output: [{ name: "v299" }] });

  it("cut anywhere", () => {
    for (let part = 1; part < 64; part++) {
      const { code, message } = errorOf(whole.subarray(0, Math.floor((whole.length * part) / 64)));
      expect(code).toBe("bad-model");
      expect(message).toMatch(/^a\.onnx: byte \d+: /);
    }
  });

  it("whose source fails: the error of the source, with the file", () => {
    const source: ByteSource = {
      byteLength: 100,
      read: () => {
        throw new TersorError("bad-data", "the disk is on fire.");
      },
    };
    expect(errorOf(source)).toMatchObject({ code: "bad-data", message: "a.onnx: the disk is on fire." });
  });

  it("subgraphs nested 40 deep", () => {
    let graph: GraphProto = { node: [relu] };
    for (let i = 0; i < 40; i++) graph = { node: [node("If", ["x"], [], branch(graph))] };
    expect(errorOf(fileOf({ ...graph, input: [x] })).code).toBe("limit-exceeded");
  });
});

describe("graphs that make no sense", () => {
  const typed = (elemType: number) => ({ name: "x", type: { tensorType: { elemType } } });
  const cases: [string, GraphProto, string][] = [
    [
      "a dangling input",
      { node: [node("Relu", ["nowhere"], ["y"])] },
      'Relu (output "y"): input "nowhere" is defined no',
    ],
    [
      "… of a named node",
      { node: [node("Relu", ["q"], [], { name: "act" })] },
      'Relu "act": input "q" is defined nowhere',
    ],
    ["an output of nothing", { output: [{ name: "y" }] }, 'output "y": nothing in graph "g" produces it'],
    ["an output without a name", { output: [{}] }, 'output "": nothing in graph "g" produces it'],
    ["two nodes, one output", { node: [relu, relu], input: [x] }, 'Relu (output "y"): output "y" is already defined'],
    ["one node, one output twice", { node: [node("Split", ["x"], ["y", "y"])], input: [x] }, 'output "y" is already'],
    ["an output that is an input", { node: [node("Relu", ["x"], ["x"])], input: [x] }, 'output "x" is already defined'],
    ["two inputs of a name", { input: [x, x] }, 'input "x": defined twice in graph "g"'],
    ["an input without a name", { input: [{ type: float }] }, 'an input of graph "g" has no name'],
    ["two initializers of a name", { initializer: [scalar("w"), scalar("w")] }, 'initializer "w": defined twice'],
    ["an initializer without a name", { initializer: [scalar("")] }, 'an initializer of graph "g" has no name'],
    [
      "a node without operator",
      { node: [node("", ["x"], ["y"])], input: [x] },
      'node (output "y"): it has no operator',
    ],
    [
      "a cycle",
      { node: [node("Add", ["x", "b"], ["a"], { name: "first" }), node("Relu", ["a"], ["b"])], input: [x] },
      'Add "first": its inputs depend on its own outputs (a cycle)',
    ],
    ["a node that needs itself", { node: [node("Relu", ["y"], ["y"])] }, "a cycle"],
    [
      "a cycle through a subgraph",
      {
        node: [node("If", ["x"], ["y"], branch({ node: [node("Relu", ["y"], ["z"])], output: [{ name: "z" }] }))],
        input: [x],
      },
      'If (output "y"): its inputs depend on its own outputs',
    ],
    [
      "a cycle inside of a subgraph",
      { node: [node("If", ["x"], ["y"], branch({ node: [node("Add", ["x", "z"], ["z"])] }))], input: [x] },
      'Add (output "z"): its inputs depend',
    ],
    [
      "a value of an inner graph used outside",
      {
        node: [node("If", ["x"], ["y"], branch({ node: [node("Relu", ["x"], ["in"])] })), node("Relu", ["in"], ["z"])],
        input: [x],
      },
      'Relu (output "z"): input "in" is defined nowhere',
    ],
    [
      "an unknown element type",
      { input: [typed(77)] },
      'value "x": unknown element type: expected a TensorProto.DataType',
    ],
    [
      "a dim beyond 2^53",
      { input: [{ name: "x", type: { tensorType: { elemType: 1, shape: { dim: [{ dimValue: 2n ** 60n }] } } } }] },
      "beyond 2^53",
    ],
    [
      "an attribute of unknown type",
      { node: [node("Relu", ["x"], ["y"], { attribute: [{ name: "a", type: 99 }] })], input: [x] },
      'Relu (output "y"): attribute "a": expected an attribute type from 1 to 14, got 99',
    ],
    [
      "an attribute without a value",
      { node: [node("Relu", ["x"], ["y"], { attribute: [{ name: "a" }] })], input: [x] },
      "got none",
    ],
    [
      "an attribute that stands twice",
      {
        node: [
          node("Relu", ["x"], ["y"], {
            attribute: [
              { name: "a", type: 2 },
              { name: "a", type: 2 },
            ],
          }),
        ],
        input: [x],
      },
      'attribute "a" stands twice',
    ],
    [
      "a tensor attribute without data",
      { node: [node("Constant", [], ["y"], { attribute: [{ name: "value", type: 4 }] })] },
      'Constant (output "y"): attribute "value": unknown element type',
    ],
    [
      "external data without a path to it",
      { initializer: [{ ...scalar("w"), dataLocation: 1, externalData: [{ key: "location", value: "w.bin" }] }] },
      'initializer "w": external data "w.bin": the model was opened from bytes alone',
    ],
  ];
  it.each(cases)("%s", (_, graph, message) => {
    const error = errorOf(fileOf(graph));
    expect(error.message).toContain(message);
    expect(error.message).toMatch(/^a\.onnx: /);
    expect(error.code).toBe(message.includes("2^53") ? "limit-exceeded" : "bad-model");
  });

  it("no graph at all", () => {
    const error = errorOf(encodeProto({ irVersion: 8n }, "ModelProto"));
    expect(error.message).toBe("a.onnx: expected an ONNX model, got a file without a graph.");
  });

  it("a negative opset or IR version", () => {
    expect(errorOf(fileOf({}, { opsetImport: [{ domain: "d", version: -1n }] })).message).toContain(
      'opset of domain "d"',
    );
    expect(errorOf(fileOf({}, { irVersion: -1n })).message).toContain("IR version: expected a whole number, got -1");
  });
});

function scalar(name: string) {
  return { name, dataType: 2, rawData: new MemorySource(Uint8Array.of(1)) };
}
