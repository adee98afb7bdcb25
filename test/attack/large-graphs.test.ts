/** @file Graphs as wide as a file decides: no call takes a list of them as arguments, nothing looks through a list for each of its entries. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { GraphProto, NodeProto, ValueInfoProto } from "../../src/proto/messages.ts";
import { fileOf } from "../wire.ts";
import { folderWith, isClear, tersor } from "./attack.ts";

const WIDE = 300_000;
/** Where folding, in ONNX Runtime, takes time that grows with the square. */
const NARROW = 30_000;

const info = (name: string): ValueInfoProto => ({
  name,
  type: { tensorType: { elemType: 1, shape: { dim: [{ dimValue: 4n }] } } },
});
const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
const data = { byteLength: 16, read: (at: number, length: number) => new Uint8Array(16).subarray(at, at + length) };
const constant = (name: string) => ({ name, dims: [4n], dataType: 1, rawData: data });
const relu = (input: string, output: string): NodeProto => ({ opType: "Relu", input: [input], output: [output] });

const graphs: Readonly<Record<string, () => GraphProto>> = {
  "a node of as many inputs": () => ({
    input: [info("x")],
    output: [info("y")],
    node: [relu("x", "a"), { opType: "Sum", input: Array<string>(WIDE).fill("a"), output: ["y"] }],
  }),
  "a graph of as many inputs": () => ({
    input: names("x", WIDE).map(info),
    output: [info("y")],
    node: [{ opType: "Sum", input: names("x", WIDE), output: ["y"] }],
  }),
  "a node of as many outputs": () => ({
    input: [info("x")],
    output: [info("y")],
    node: [
      {
        opType: "Split",
        input: ["x"],
        output: names("s", WIDE),
        attribute: [{ name: "num_outputs", i: BigInt(WIDE), type: 2 }],
      },
      relu("s0", "y"),
    ],
  }),
  "a graph of as many outputs": () => ({
    input: [info("x")],
    output: names("y", NARROW).map(info),
    node: names("y", NARROW).map((name) => relu("x", name)),
  }),
  "as many constants": () => ({
    input: [info("x")],
    output: [info("y")],
    node: [relu("x", "y")],
    initializer: names("c", WIDE).map(constant),
  }),
  "as many constants that are read": () => ({
    input: [info("x")],
    output: [info("y")],
    node: [{ opType: "Sum", input: ["x", ...names("c", NARROW)], output: ["y"] }],
    initializer: names("c", NARROW).map(constant),
  }),
  "a chain of as many nodes": () => ({
    input: [info("v0")],
    output: [info(`v${WIDE / 2}`)],
    node: Array.from({ length: WIDE / 2 }, (_, i) => relu(`v${i}`, `v${i + 1}`)),
  }),
};

describe(`${WIDE} of something`, () => {
  for (const [what, graph] of Object.entries(graphs))
    it(`${what}: inspected soon, without a call that overflows`, async () => {
      const folder = folderWith();
      writeFileSync(join(folder, "big.onnx"), fileOf(graph()));
      const start = performance.now();
      const { code, stderr } = await tersor(folder, ["inspect", "big.onnx"], { deadline: 100_000 });
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect((performance.now() - start) / 1000).toBeLessThan(60);
    });

  it("a node of as many inputs is quantized", async () => {
    const folder = folderWith();
    writeFileSync(join(folder, "big.onnx"), fileOf((graphs["a node of as many inputs"] as () => GraphProto)()));
    const result = await tersor(folder, ["quantize", "big.onnx", "-o", "q.onnx"], { deadline: 100_000 });
    expect({ code: result.code, clear: result.code === 0 || result.code === 1 || isClear(result) }).toMatchObject({
      clear: true,
    });
  });
});
