/**
 * @file 2,000 mutants of small models, by structure: names, sizes, types, attributes, edges, depth, functions. Each goes through what a command
 * does with a model, and ends in a result or in one clear error. A failure names its case: the seed is fixed.
 */
import { expect, it } from "vitest";
import type { Model } from "../../src/ir/model.ts";
import { parse } from "../../src/ir/text/index.ts";
import { validateModel } from "../../src/ops/check-model.ts";
import { simplify } from "../../src/passes/simplify.ts";
import { decodeMessage } from "../../src/proto/decode.ts";
import { pruneOptions } from "../../src/prune/options.ts";
import { pruneChannels } from "../../src/prune/prune-channels.ts";
import { pruneWeights } from "../../src/prune/weights/prune-weights.ts";
import { quantizeDynamic } from "../../src/quantize/dynamic/dynamic.ts";
import { toFloat16 } from "../../src/quantize/float16/float16.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { planStatic } from "../../src/quantize/static/plan.ts";
import { describeModel } from "../../src/recipe/describe-model.ts";
import { float32 } from "../../src/tensor/tensor.ts";
import { MemorySource } from "../../src/util/bytes.ts";
import { TersorError } from "../../src/util/errors.ts";
import { Rng } from "../../src/util/rng.ts";
import { decode, encode, encodeProto } from "../wire.ts";

const CASES = 2000;
/** Of one case, on a machine that has other things to do. */
const MAX_MS = 10_000;

const values = new Rng(11, "mutants");
const random = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => values.normal()),
  );

const bases: readonly Uint8Array[] = [
  parse`<ir_version: 8, opset_import: ["": 17]> g (float[N,3,8,8] x) => (float[N,4] y) <
    float[8,3,3,3] w = ${random(8, 3, 3, 3)}, float[8] b = ${random(8)}, float[8] s = ${random(8)}, float[8] m = ${random(8)},
    float[8] v = {1, 1, 1, 1, 1, 1, 1, 1}, float[8,1,3,3] d = ${random(8, 1, 3, 3)}, float[4,8] f = ${random(4, 8)}
  > {
    [conv] a = Conv<pads = [1, 1, 1, 1]>(x, w, b)
    n = BatchNormalization(a, s, b, m, v)
    r = Relu(n)
    [depthwise] e = Conv<group = 8, pads = [1, 1, 1, 1]>(r, d)
    p = GlobalAveragePool(e)
    q = Flatten(p)
    [head] y = Gemm<transB = 1>(q, f)
  }`,
  parse`<ir_version: 8, opset_import: ["": 17]> g (int64[N,T] ids) => (float[N,T,16] y) <
    float[32,16] t = ${random(32, 16)}, float[16,48] qkv = ${random(16, 48)}, float[16,16] o = ${random(16, 16)}, int64[3] k = {16, 16, 16}
  > {
    [table] h = Gather(t, ids)
    [qkv] a = MatMul(h, qkv)
    q, kk, vv = Split<axis = 2>(a, k)
    kt = Transpose<perm = [0, 2, 1]>(kk)
    s = MatMul(q, kt)
    p = Softmax<axis = -1>(s)
    c = MatMul(p, vv)
    [out] u = MatMul(c, o)
    y = Add(h, u)
  }`,
  parse`<ir_version: 8, opset_import: ["": 17]> g (float[5,N,4] x, bool c) => (float y) <
    float[1,24,4] w = ${random(1, 24, 4)}, float[1,24,6] r = ${random(1, 24, 6)}, float[6,64] u = ${random(6, 64)}
  > {
    [lstm] a, h, s = LSTM<hidden_size = 6>(x, w, r)
    q = Squeeze(h)
    y = If<then_branch = g1 () => (float t1) { t1 = MatMul(q, u) }, else_branch = g2 () => (float t2) { [neg] z = Neg(q)  t2 = MatMul(z, u) }>(c)
  }`,
  parse`<ir_version: 8, opset_import: ["": 17, "local": 1]> g (float[N,16] x) => (float[N,16] y) <float[16,16] w = ${random(16, 16)}> {
    a = local.block(x, w)
    y = local.block(a, w)
  }
  <domain: "local", opset_import: ["": 17]> block (x, w) => (z) { h = MatMul(x, w)  z = Relu(h) }`,
  parse`<ir_version: 8, opset_import: ["": 17]> g (float[N,32] x) => (float[N,8] y) <
    int8[32,8] q = {${Array.from({ length: 256 }, (_, i) => (i % 200) - 100).join(", ")}}, float s = {0.01}, int8 z = {0}, float[32,32] w = ${random(32, 32)}
  > {
    [first] a = MatMul(x, w)
    d = DequantizeLinear(q, s, z)
    [second] y = MatMul(a, d)
  }`,
].map(encode);

type Json = string | number | bigint | Uint8Array | Json[] | { [key: string]: Json };
interface Place {
  readonly holder: Record<string | number, Json>;
  readonly key: string | number;
}

/** Every place of a message, but those in the elements of tensors. */
function placesOf(message: Json): Place[] {
  const places: Place[] = [];
  const waiting = [message];
  for (const holder of waiting) {
    if (typeof holder !== "object" || holder === null || ArrayBuffer.isView(holder)) continue;
    const entries = Array.isArray(holder) ? [...holder.entries()].slice(0, 64) : Object.entries(holder);
    for (const [key, value] of entries) {
      places.push({ holder: holder as Place["holder"], key });
      waiting.push(value);
    }
  }
  return places;
}

const numbers = [0, 1, -1, 2, 3, 7, 16, 255, 2 ** 31 - 1, 2 ** 31];
const names = [
  "",
  "__proto__",
  "constructor",
  "toString",
  "x",
  "y",
  "a",
  "w",
  "q",
  "Conv",
  "MatMul",
  "Loop",
  "ai.onnx.ml",
  "x".repeat(5000),
  "\u0000",
  "../w.bin",
];

/** Changes a place to something of its kind, or what is at another place. */
function mutate(message: Json, rng: Rng): void {
  const places = placesOf(message);
  const { holder, key } = places[rng.int(places.length)] as Place;
  const value = holder[key] as Json;
  const other = places[rng.int(places.length)] as Place;
  const kind = rng.int(8);
  if (Array.isArray(holder) && kind === 0) holder.splice(Number(key), 1);
  else if (Array.isArray(holder) && kind === 1) holder.splice(Number(key), 0, structuredClone(value));
  else if (kind === 2 && key === other.key && typeof value === typeof other.holder[other.key])
    holder[key] = structuredClone(other.holder[other.key] as Json);
  else if (typeof value === "bigint")
    holder[key] = BigInt(numbers[rng.int(numbers.length)] as number) * (kind === 3 ? 2n ** 31n : 1n);
  else if (typeof value === "number") holder[key] = kind === 3 ? rng.int(64) : (numbers[rng.int(7)] as number);
  else if (typeof value === "string") holder[key] = names[rng.int(names.length)] as string;
  else if (value instanceof Uint8Array) holder[key] = value.subarray(0, rng.int(value.length + 1));
  else if (Array.isArray(value) && kind < 6) holder[key] = value.toReversed();
  else if (!Array.isArray(holder)) delete holder[key];
}

/** A file with one to three changes; changes that no file can hold, such as a name where a list belongs, are made anew. */
function mutant(base: Uint8Array, rng: Rng): Uint8Array {
  for (;;) {
    const message = decodeMessage(new MemorySource(base), "ModelProto") as unknown as Json;
    for (let edits = 1 + rng.int(3); edits > 0; edits--) mutate(message, rng);
    try {
      return encodeProto(message as object, "ModelProto");
    } catch {
      // Another one.
    }
  }
}

/** What commands do with a model, without a runtime. */
const commands: readonly (readonly [string, (model: Model) => unknown])[] = [
  ["inspect", (model) => describeModel(model)],
  ["simplify", async (model) => encode((await simplify(model)).model)],
  ["quantize", (model) => encode(quantize(model, { minElements: 1 }).model)],
  [
    "quantize --dtype int4",
    (model) => encode(quantize(model, { dtype: "int4", granularity: "group:16", minElements: 1 }).model),
  ],
  ["quantize --dynamic", (model) => encode(quantizeDynamic(model, { minElements: 1 }).model)],
  ["quantize --float16", (model) => encode(toFloat16(model).model)],
  ["quantize --calibrate", (model) => planStatic(model)],
  ["prune", async (model) => encode((await pruneChannels(model, pruneOptions.parse({ ratio: 0.3 }), undefined)).model)],
  [
    "prune --structure weights",
    async (model) =>
      encode((await pruneWeights(model, pruneOptions.parse({ structure: "weights", ratio: 0.5 }), undefined)).model),
  ],
];

it("2,000 mutants end in a result or in a clear error, soon", async () => {
  const rng = new Rng(2026, "mutants");
  const outcomes = { done: 0, refused: 0 };
  const faults: string[] = [];
  let slowest = 0;
  for (let i = 0; i < CASES; i++) {
    const bytes = mutant(bases[i % bases.length] as Uint8Array, rng);
    const [name, command] = commands[rng.int(commands.length)] as (typeof commands)[number];
    const start = performance.now();
    try {
      const model = decode(bytes);
      validateModel(model);
      await command(model);
      outcomes.done++;
    } catch (error) {
      outcomes.refused++;
      const isClear = error instanceof TersorError && error.code !== "internal";
      if (!isClear) faults.push(`case ${i}, ${name}: ${(error as Error).stack?.split("\n").slice(0, 4).join(" | ")}`);
    }
    slowest = Math.max(slowest, performance.now() - start);
  }
  expect(faults).toEqual([]);
  expect(outcomes.done).toBeGreaterThan(200);
  expect(outcomes.refused).toBeGreaterThan(200);
  expect(slowest).toBeLessThan(MAX_MS);
}, 240_000);
