/** @file Names that every JavaScript object answers to, wherever a model, its data or a recipe has names: they are names like any other. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { encodeNpz } from "../../src/data/npy.ts";
import { loadModel } from "../../src/node/load.ts";
import type { AttributeProto, GraphProto, ModelProto, NodeProto } from "../../src/proto/messages.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { Rng } from "../../src/util/rng.ts";
import { fileOf } from "../wire.ts";
import { folderWith, isClear, tersor } from "./attack.ts";

const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"];

const rng = new Rng(3, "prototype");
const floats = (...dims: number[]) => ({
  dims: dims.map(BigInt),
  dataType: 1,
  rawData: bytesOf(Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() / 4)),
});
const bytesOf = (array: Float32Array) => {
  const bytes = new Uint8Array(array.buffer);
  return { byteLength: bytes.byteLength, read: (at: number, length: number) => bytes.subarray(at, at + length) };
};

/** The names of a model of two products. */
interface Names {
  input?: string;
  hidden?: string;
  output?: string;
  weight?: string;
  bias?: string;
  node?: string;
  dim?: string;
  attribute?: string;
  metadata?: string;
  graph?: string;
  op?: { opType: string; domain: string };
}

function modelWith(given: Names): Uint8Array {
  const {
    input = "x",
    hidden = "h",
    output = "y",
    weight = "w",
    bias = "b",
    node = "n",
    dim = "N",
    graph = "g",
  } = given;
  const info = (name: string, ...dims: (string | number)[]) => ({
    name,
    type: {
      tensorType: {
        elemType: 1,
        shape: { dim: dims.map((d) => (typeof d === "number" ? { dimValue: BigInt(d) } : { dimParam: d })) },
      },
    },
  });
  const extra: AttributeProto[] = given.attribute === undefined ? [] : [{ name: given.attribute, i: 1n, type: 2 }];
  const { opType, domain } = given.op ?? { opType: "Relu", domain: "" };
  const nodes: NodeProto[] = [
    { opType: "MatMul", name: node, input: [input, weight], output: ["m"] },
    { opType: "Add", name: "add", input: ["m", bias], output: ["a"] },
    { opType, domain, name: "relu", input: ["a"], output: [hidden], attribute: extra },
    { opType: "MatMul", name: "last", input: [hidden, "v"], output: [output] },
  ];
  const proto: GraphProto = {
    name: graph,
    node: nodes,
    input: [info(input, dim, 8)],
    output: [info(output, dim, 4)],
    initializer: [
      { name: weight, ...floats(8, 48) },
      { name: bias, ...floats(48) },
      { name: "v", ...floats(48, 4) },
    ],
  };
  const imports = [{ domain: "", version: 21n }, ...(domain ? [{ domain, version: 1n }] : [])];
  const header: Partial<ModelProto> = {
    opsetImport: imports,
    ...(given.metadata !== undefined && { metadataProps: [{ key: given.metadata, value: given.metadata }] }),
    ...(domain && {
      functions: [
        {
          name: opType,
          domain,
          input: ["p"],
          output: ["q"],
          opsetImport: [{ domain: "", version: 21n }],
          node: [{ opType: "Relu", input: ["p"], output: ["q"] }],
        },
      ],
    }),
  };
  return fileOf(proto, header);
}

/** All names of a model that runs, in turns: each name stands everywhere once. */
const turns = names.map((_, turn): Required<Omit<Names, "attribute" | "op">> => {
  const at = (place: number) => names[(turn + place) % names.length] as string;
  return {
    ...{ input: at(0), hidden: at(1), output: at(2), weight: at(3), bias: at(4) },
    ...{ node: at(0), dim: at(2), metadata: at(3), graph: at(1) },
  };
});

const samples = (input: string) => {
  const data = Float32Array.from({ length: 64 }, () => rng.normal());
  const rows = Array.from({ length: 8 }, (_, i) => [...data.slice(8 * i, 8 * i + 8)]);
  // A computed key is an own one, also for "__proto__".
  const lines = rows.map((row, i) => JSON.stringify({ inputs: { [input]: row }, label: i % 4 }));
  return { "d.npz": encodeNpz({ [input]: hostTensor("float32", [8, 8], data) }), "d.jsonl": lines.join("\n") };
};

const commands = (dim: string): readonly (readonly string[])[] => [
  ["inspect", "m.onnx", "--layers", "--shapes", `${dim}=2`],
  ["quantize", "m.onnx", "-o", "q.onnx", "--check", "--shapes", `${dim}=3`, "--runs", "0"],
  ["quantize", "m.onnx", "-o", "q.onnx", "--calibrate", "d.npz", "--target", "any", "--data", "d.npz", "--runs", "0"],
  ["quantize", "m.onnx", "-o", "q.onnx", "--dynamic", "--data", "d.jsonl", "--runs", "0"],
  ["quantize", "m.onnx", "-o", "q.onnx", "--float16", "--check", "--runs", "0"],
  ["prune", "m.onnx", "-o", "q.onnx", "--ratio", "0.3", "--calibrate", "d.npz", "--criterion", "fisher"],
  ["finetune", "m.onnx", "-o", "q.onnx", "--data", "d.jsonl", "--epochs", "1", "--batch-size", "4"],
  ["compare", "m.onnx", "m.onnx", "--data", "d.npz", "--per-layer", "--runs", "0"],
];

describe("a name of Object.prototype", () => {
  const check = async (folder: string, dim: string) => {
    for (const args of commands(dim)) {
      const { code, stderr } = await tersor(folder, args);
      expect({ args, stderr, good: code === 0 || code === 1 }).toEqual({ args, stderr: "", good: true });
    }
    return loadModel(join(folder, "q.onnx"));
  };

  for (const given of turns)
    it(`is one like any other: input ${given.input}, output ${given.output}`, async () => {
      const folder = folderWith({ "m.onnx": modelWith(given), ...samples(given.input) });
      const written = await check(folder, given.dim);
      expect(written.graph.inputs.map((each) => each.name)).toEqual([given.input]);
      expect(written.graph.outputs.map((each) => each.name)).toEqual([given.output]);
      expect(written.metadata.get(given.metadata)).toBe(given.metadata);
    });

  for (const name of names)
    it(`is one like any other: a function ${name}`, async () => {
      await check(folderWith({ "m.onnx": modelWith({ op: { opType: name, domain: name } }), ...samples("x") }), "N");
    });

  it("as an operator that ONNX does not have, or as an attribute, is refused or left alone in one clear line", async () => {
    for (const name of names.slice(0, 3))
      for (const given of [{ op: { opType: name, domain: "" } }, { attribute: name }]) {
        const folder = folderWith({ "m.onnx": modelWith(given), ...samples("x") });
        for (const args of commands("N")) {
          const result = await tersor(folder, args);
          expect({ name, args, clear: result.code === 0 || isClear(result), ...result }).toMatchObject({ clear: true });
        }
      }
  });

  it("as the key of a recipe, an option, a label or a tensor is refused in one clear line", async () => {
    for (const name of names.slice(0, 3)) {
      const folder = folderWith({
        "r.json": `{"model":"m.onnx","output":"q.onnx","steps":[{"${name}":{}}]}`,
        "s.json": `{"model":"m.onnx","output":"q.onnx","${name}":1,"steps":[{"quantize":{}}]}`,
        "o.json": `{"path":"d.jsonl","${name === "__proto__" ? "toString" : name}":1}`,
        "n.npz": encodeNpz({
          [name]: hostTensor("float32", [8, 8], new Float32Array(64)),
          x: hostTensor("float32", [2, 4], new Float32Array(8)),
        }),
      });
      for (const args of [
        ["run", "r.json"],
        ["run", "s.json"],
        ["compare", "m.onnx", "m.onnx", "--data", "o.json"],
        ["compare", "m.onnx", "m.onnx", "--data", "n.npz"],
        ["quantize", "m.onnx", "--dtype", name],
        ["compare", "m.onnx", "m.onnx", "--metric", name],
        ["quantize", "m.onnx", "--calibrate", "d.npy", "--target", name],
        ["prune", "m.onnx", "--ratio", "0.5", "--criterion", name],
        [name],
      ]) {
        const result = await tersor(folder, args);
        expect({ name, args, clear: isClear(result), ...result }).toMatchObject({
          clear: true,
          code: expect.toSatisfy((c) => c === 2 || c === 3),
        });
      }
    }
  });

  it("survives in a file that is written and read", () => {
    const bytes = modelWith({ input: "__proto__", output: "constructor", weight: "toString" });
    const folder = folderWith({ "m.onnx": bytes });
    expect(readFileSync(join(folder, "m.onnx"))).toEqual(Buffer.from(bytes));
    const { graph } = loadModel(join(folder, "m.onnx"));
    expect(graph.initializers.map(({ name }) => name)).toEqual(["toString", "b", "v"]);
  });
});
