import { describe, expect, test } from "vitest";
import {
  attributeDefault,
  formalAt,
  knownDomains,
  knownOps,
  type OpSchema,
  schemaOf,
  schemaVersions,
} from "./schema.ts";

const allSchemas = (domain: string): readonly OpSchema[] =>
  knownOps(domain).flatMap((opType) => schemaVersions(domain, opType));

function schema(domain: string, opType: string, opset: number): OpSchema {
  const found = schemaOf(domain, opType, opset);
  if (!found) throw new Error(`no schema of ${opType}`);
  return found;
}

const since = (domain: string, opType: string) => schemaVersions(domain, opType).map((version) => version.sinceVersion);

describe("completeness", () => {
  // ai.onnx: 605 of the standard and 20 that ONNX Runtime adds.
  test("every domain has all its operators and versions", () => {
    const counts = knownDomains().map((domain) => [domain, knownOps(domain).length, allSchemas(domain).length]);
    expect(counts).toEqual([
      ["", 208, 625],
      ["ai.onnx.ml", 19, 25],
      ["com.microsoft", 127, 127],
    ]);
  });

  test("every schema is whole", () => {
    for (const found of knownDomains().flatMap(allSchemas)) {
      const where = `${found.domain}:${found.opType}-${found.sinceVersion}`;
      expect(found.sinceVersion, where).toBeGreaterThan(0);
      expect(found.sinceVersion, where).toBeLessThanOrEqual(25);
      for (const formal of [...found.inputs, ...found.outputs]) {
        expect(formal.name, where).toMatch(/^[\w.-]+$/);
        expect(formal.types.length, where).toBeGreaterThan(0);
        for (const type of formal.types) expect(type, where).toMatch(/^(tensor|sparse_tensor|seq|optional|map)\(.+\)$/);
        const parameter = formal.typeParameter;
        if (parameter) expect(formal.types, where).toBe(found.typeParameters.get(parameter)?.types);
      }
      for (const attribute of found.attributes.values()) {
        const value = attribute.default;
        if (value === undefined) continue;
        expect(attribute.required, where).toBe(false);
        expect(Array.isArray(value) ? attribute.type.at(-1) : typeof value, `${where} ${attribute.name}`).toBe(
          Array.isArray(value) ? "s" : attribute.type === "string" ? "string" : "number",
        );
      }
    }
  });

  test("a tensor type always has an element type", () => {
    for (const found of knownDomains().flatMap(allSchemas))
      for (const { types, dtypes } of [...found.inputs, ...found.outputs, ...found.typeParameters.values()])
        expect(dtypes.size, found.opType).toBe(types.filter((type) => type.startsWith("tensor(")).length);
  });

  test("versions are in order", () => {
    for (const domain of knownDomains())
      for (const opType of knownOps(domain))
        expect(since(domain, opType)).toEqual(since(domain, opType).toSorted((a, b) => a - b));
  });
});

describe("lookup by version", () => {
  test("DequantizeLinear: integers of four bits and blocks come with 21, of two bits with 25", () => {
    expect(since("", "DequantizeLinear")).toEqual([10, 13, 19, 21, 23, 24, 25]);
    expect(schemaOf("", "DequantizeLinear", 9)).toBeUndefined();
    const accepts = (opset: number) => schema("", "DequantizeLinear", opset).inputs[0]?.dtypes;
    expect(accepts(20)?.has("int8")).toBe(true);
    expect(accepts(20)?.has("int4")).toBe(false);
    expect(accepts(21)?.has("int4")).toBe(true);
    expect(accepts(24)?.has("int2")).toBe(false);
    expect(accepts(25)?.has("int2")).toBe(true);
    expect(schema("", "DequantizeLinear", 12).attributes.has("axis")).toBe(false);
    expect(schema("", "DequantizeLinear", 18).attributes.has("block_size")).toBe(false);
    expect(attributeDefault("", "DequantizeLinear", 21, "block_size")).toBe(0);
  });

  test("takes the newest version that is not too new, in both spellings of the domain", () => {
    expect(since("", "Conv")).toEqual([1, 11, 22]);
    expect(schema("", "Conv", 17).sinceVersion).toBe(11);
    expect(schemaOf("ai.onnx", "Conv", 17)).toBe(schemaOf("", "Conv", 17));
    expect(schemaOf("", "Gelu", 19)).toBeUndefined();
    expect(schemaOf("", "Nonsense", 19)).toBeUndefined();
    expect(schemaOf("com.example", "Conv", 19)).toBeUndefined();
    expect(schemaVersions("", "constructor")).toEqual([]);
  });

  test("keeps deprecated operators and says so", () => {
    expect(schema("", "Upsample", 9).deprecated).toBe(false);
    expect(schema("", "Upsample", 10).deprecated).toBe(true);
  });
});

describe("contents", () => {
  test("Conv", () => {
    const conv = schema("", "Conv", 13);
    expect(conv.inputs.map(({ name, option }) => [name, option])).toEqual([
      ["X", "single"],
      ["W", "single"],
      ["B", "optional"],
    ]);
    expect(conv.inputCount).toEqual([2, 3]);
    expect(conv.outputCount).toEqual([1, 1]);
    expect(conv.inputs[1]?.typeParameter).toBe("T");
    expect([...(conv.inputs[1]?.dtypes ?? [])].sort()).toEqual(["float16", "float32", "float64"]);
    expect([...conv.attributes.keys()]).toEqual(["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"]);
    expect(attributeDefault("", "Conv", 13, "auto_pad")).toBe("NOTSET");
    expect(attributeDefault("", "Conv", 13, "group")).toBe(1);
    expect(attributeDefault("", "Conv", 13, "strides")).toBeUndefined();
  });

  test("Gemm: alpha and beta are 1, C became optional", () => {
    expect(attributeDefault("", "Gemm", 13, "alpha")).toBe(1);
    expect(attributeDefault("", "Gemm", 13, "beta")).toBe(1);
    expect(attributeDefault("", "Gemm", 13, "transB")).toBe(0);
    expect(schema("", "Gemm", 9).inputCount).toEqual([3, 3]);
    expect(schema("", "Gemm", 11).inputCount).toEqual([2, 3]);
  });

  test("float defaults are float32 values", () => {
    expect(attributeDefault("", "BatchNormalization", 15, "epsilon")).toBe(Math.fround(1e-5));
    expect(attributeDefault("", "Clip", 6, "max")).toBe(Math.fround(3.4028234663852886e38));
    expect(attributeDefault("", "HardSigmoid", 6, "alpha")).toBe(Math.fround(0.2));
  });

  test("LSTM", () => {
    const lstm = schema("", "LSTM", 14);
    expect(lstm.inputs.map((formal) => formal.name)).toEqual([
      "X",
      "W",
      "R",
      "B",
      "sequence_lens",
      "initial_h",
      "initial_c",
      "P",
    ]);
    expect(lstm.inputCount).toEqual([3, 8]);
    expect(lstm.outputCount).toEqual([0, 3]);
    expect(lstm.attributes.get("activations")).toEqual({ name: "activations", type: "strings", required: false });
    expect(attributeDefault("", "LSTM", 14, "direction")).toBe("forward");
    expect(schema("", "LSTM", 13).attributes.has("layout")).toBe(false);
  });

  test("MatMulNBits", () => {
    const op = schema("com.microsoft", "MatMulNBits", 1);
    expect([...op.attributes.values()].map(({ name, required, default: value }) => [name, required, value])).toEqual([
      ["K", true, undefined],
      ["N", true, undefined],
      ["accuracy_level", false, 0],
      ["bits", false, 4],
      ["block_size", true, undefined],
      ["weight_prepacked", false, 0],
    ]);
    expect(op.inputs.map((formal) => formal.name)).toEqual(["A", "B", "scales", "zero_points", "g_idx", "bias"]);
    expect(op.inputs[1]?.types).toEqual(["tensor(uint8)"]);
  });

  test("variadic arguments and subgraphs", () => {
    const loop = schema("", "Loop", 13);
    expect(loop.hasSubgraph).toBe(true);
    expect(loop.attributes.get("body")).toEqual({ name: "body", type: "graph", required: true });
    expect(loop.inputCount).toEqual([2, Number.POSITIVE_INFINITY]);
    expect(formalAt(loop.inputs, 7)).toMatchObject({ name: "v_initial", option: "variadic", homogeneous: false });
    expect(formalAt(schema("", "Conv", 13).inputs, 3)).toBeUndefined();
    const concat = schema("", "Concat", 13);
    expect(concat.inputCount).toEqual([1, Number.POSITIVE_INFINITY]);
    expect(concat.inputs[0]).toMatchObject({ minCount: 1, homogeneous: true });
    expect(concat.hasSubgraph).toBe(false);
  });

  test("a type that is no parameter", () => {
    expect(schema("", "Shape", 13).outputs[0]?.types).toEqual(["tensor(int64)"]);
    expect(schema("", "Reshape", 13).inputs[1]).toMatchObject({ types: ["tensor(int64)"], option: "single" });
    expect(schema("", "Reshape", 13).inputs[1]).not.toHaveProperty("typeParameter");
    expect(schema("ai.onnx.ml", "ZipMap", 1).outputs[0]?.types).toContain("seq(map(int64,float))");
  });
});
