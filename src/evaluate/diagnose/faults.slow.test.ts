/** @file Faults that are planted on purpose, one by one, in models that are healthy without: the diagnosis has to name the cause first. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { changed, images } from "../../../test/seeded-images.ts";
import { encode } from "../../../test/wire.ts";
import { batches } from "../../data/batch.ts";
import { type Dataset, datasetOf, type Sample } from "../../data/dataset.ts";
import { attr } from "../../ir/attribute.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { loadModel } from "../../node/load.ts";
import { simplify } from "../../passes/simplify.ts";
import { quantizeDynamic } from "../../quantize/dynamic/dynamic.ts";
import { toFloat16 } from "../../quantize/float16/float16.ts";
import type { StaticOptions } from "../../quantize/static/options.ts";
import { quantizeStatic } from "../../quantize/static/static.ts";
import { quantize } from "../../quantize/weights/quantize-weights.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import type { Session } from "../../runtime/runtime.ts";
import { targetNamed } from "../../targets/targets.ts";
import { float32, fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { joinModels, measureLayers } from "../layer-fidelity.ts";
import { runConstants } from "../run-constants.ts";
import type { Cause } from "./cause.ts";
import { diagnose } from "./diagnose.ts";

const runtime = inProcessRuntime("ort-node");
const open = (model: Model) => runtime.create(encode(model), { threads: 1, optimization: "disabled" });
const random = (seed: string) => {
  const rng = new Rng(3, seed);
  return (dims: readonly number[], deviation = 1) =>
    float32(
      dims,
      Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() * deviation),
    );
};

const calibration = images("calibration", 24);
const judged = images("judged", 16);

interface Weights {
  w1: Tensor;
  b1: Tensor;
  w2: Tensor;
  b2: Tensor;
  w3: Tensor;
  b3: Tensor;
  wf: Tensor;
}

/** A small convolutional classifier with trained-like weights. */
function weights(): Weights {
  const normal = random("weights");
  return {
    w1: normal([16, 3, 3, 3], 0.27),
    b1: normal([16], 0.1),
    w2: normal([32, 16, 3, 3], 0.118),
    b2: normal([32], 0.1),
    w3: normal([32, 32, 3, 3], 0.083),
    b3: normal([32], 0.1),
    wf: normal([32, 10], 0.25),
  };
}

const classifier = ({ w1, b1, w2, b2, w3, b3, wf }: Weights) => parse`(float[N,3,16,16] x) => (float[N,10] y)
  <float[16,3,3,3] w1 = ${w1}, float[16] b1 = ${b1}, float[32,16,3,3] w2 = ${w2}, float[32] b2 = ${b2},
   float[32,32,3,3] w3 = ${w3}, float[32] b3 = ${b3}, float[32,10] wf = ${wf}> {
    [conv1] a1 = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r1 = Relu(a1)
    [conv2] a2 = Conv<pads=[1,1,1,1], strides=[2,2]>(r1, w2, b2)
    r2 = Relu(a2)
    [conv3] a3 = Conv<pads=[1,1,1,1]>(r2, w3, b3)
    r3 = Relu(a3)
    g = GlobalAveragePool(r3)
    f = Flatten(g)
    [head] y = MatMul(f, wf)
  }`;

/** A tensor with some elements changed. */
function edited(tensor: Tensor, change: (x: number, i: number) => number): Tensor {
  return float32(tensor.dims, tensor.toFloat32().map(change));
}

async function toStatic(model: Model, options: StaticOptions = {}, data: Dataset = calibration): Promise<Model> {
  return (await quantizeStatic(model, data, { fitCosts: false, ...options }, { open })).model;
}

interface Look {
  readonly data?: Dataset;
  readonly calibration?: Dataset;
  readonly target?: string;
}

async function causesOf(original: Model, model: Model, { data = judged, target = "any", ...look }: Look = {}) {
  const run = async <T>(each: Model, use: (session: Session) => Promise<T>) => {
    const session = await open(each);
    return use(session).finally(() => session.release());
  };
  const joined = joinModels(original, model);
  const layers = await run(joined.model, (session) => measureLayers(joined, session, batches(data, { size: 1 })));
  const broken = await run(model, async (session) => {
    for await (const { inputs } of batches(data, { size: 1 }))
      for (const output of Object.values(await session.run(inputs)))
        if (!(output.data as Float32Array).every(Number.isFinite)) return true;
    return false;
  });
  return diagnose(original, model, data, { open, layers, broken, target: targetNamed(target), ...look });
}

const lines = (list: readonly Cause[]) =>
  list
    .slice(0, 6)
    .map(
      ({ kind, severity, noise, layer, message }) =>
        `${kind} ${severity} ${noise.toExponential(1)} ${layer ?? "-"}: ${message}`,
    )
    .join("\n");

/** The first cause is of this kind, severe unless said otherwise, at this layer or value. */
function expectFirst(list: readonly Cause[], kind: string, where: string, severity = "severe") {
  const [first] = list;
  expect(first?.kind, lines(list)).toBe(kind);
  expect([first?.layer, first?.value], lines(list)).toContain(where);
  expect(first?.severity, lines(list)).toBe(severity);
}

const noneSevere = (list: readonly Cause[]) =>
  list.filter(({ severity }) => severity === "severe").map(({ message }) => message);

describe("planted faults", () => {
  test("one channel 300 times the others, undone by the next layer", async () => {
    const w = weights();
    const loud = 5;
    const model = classifier({
      ...w,
      w1: edited(w.w1, (x, i) => (Math.floor(i / 27) === loud ? x * 300 : x)),
      b1: edited(w.b1, (x, i) => (i === loud ? x * 300 : x)),
      w2: edited(w.w2, (x, i) => (Math.floor(i / 9) % 16 === loud ? x / 300 : x)),
    });
    const list = await causesOf(model, await toStatic(model));
    expectFirst(list, "channel-outlier", "a2");
    expect(list[0]?.message).toContain('1 channel of "r1" (5)');
  });

  test("calibrated on BGR, judged on RGB", async () => {
    const model = classifier(weights());
    const size = 16 * 16;
    const swapped = await changed(calibration, (x) =>
      Float32Array.from(x, (_, i) => x[(2 - Math.floor(i / size)) * size + (i % size)] as number),
    );
    expectFirst(
      await causesOf(model, await toStatic(model, {}, swapped), { calibration: swapped }),
      "preprocessing",
      "x",
    );
  });

  test("calibrated on 0 to 255, judged on 0 to 1, with nothing but the models to see it", async () => {
    const model = classifier(weights());
    const bytes = await changed(calibration, (x) => x.map((each) => each * 255));
    expectFirst(await causesOf(model, await toStatic(model, {}, bytes)), "preprocessing", "x");
  });

  test("calibrated on 0 to 1, judged on normalized images", async () => {
    const model = classifier(weights());
    const normalized = await changed(judged, (x) => x.map((each) => (each - 0.5) / 0.2));
    expectFirst(await causesOf(model, await toStatic(model), { data: normalized }), "preprocessing", "x");
  });

  test("calibrated on channels that alternate", async () => {
    const model = classifier(weights());
    const size = 16 * 16;
    const alternating = await changed(calibration, (x) =>
      Float32Array.from(x, (_, i) => x[(i % 3) * size + Math.floor(i / 3)] as number),
    );
    const list = await causesOf(model, await toStatic(model, {}, alternating), { calibration: alternating });
    expectFirst(list, "preprocessing", "x");
    expect(list[0]?.message).toContain("NHWC");
  });

  test("calibrated on images that are all zeros", async () => {
    const model = classifier(weights());
    const black = await changed(calibration, (x) => x.map(() => 0));
    expectFirst(await causesOf(model, await toStatic(model, {}, black)), "no-data", "x");
  });

  test("calibrated on one dim image: values are clipped", async () => {
    const model = classifier(weights());
    const scale = 0.08;
    const dim = await changed(calibration, (x) => x.map((each, i) => (i < 8 ? each : each * scale)));
    const list = await causesOf(model, await toStatic(model, { ranges: "min-max" }, dim));
    expectFirst(list, "clipped", list[0]?.value ?? "");
    expect(list[0]?.message).toContain("leaves the range that calibration found");
  });

  test("8-bit weights made for a processor with VNNI, on one without", async () => {
    // Activations that are mostly large, as after a bias that is, and weights of two values.
    const w = weights();
    const model = classifier({ ...w, b1: edited(w.b1, (x) => x + 5), w2: edited(w.w2, (x) => 0.1 * Math.sign(x)) });
    const eight = await toStatic(model, { target: "node-x64-vnni" });
    expectFirst(await causesOf(model, eight, { target: "node-x64" }), "saturation", "a2");
    expect(noneSevere(await causesOf(model, eight, { target: "node-x64-vnni" }))).toEqual([]);
  });

  test("a value of 1e5 in float16", async () => {
    const w = weights();
    const model = classifier({
      ...w,
      w2: edited(w.w2, (x) => x * 1e5),
      b2: edited(w.b2, (x) => x * 1e5),
      w3: edited(w.w3, (x) => x * 1e-5),
    });
    expectFirst(await causesOf(model, toFloat16(model).model), "float16-overflow", "a2");
  });

  test("a variance too small for float16", async () => {
    const normal = random("tiny");
    const model = parse`(float[N,32] x) => (float[N,32] y)
      <float[32,32] w1 = ${normal([32, 32], 0.0005)}, float[32,32] w2 = ${normal([32, 32], 0.2)}, float two = {2}, float epsilon = {1e-12}, int64[1] last = {-1}> {
        a = MatMul(x, w1)
        m = ReduceMean(a, last)
        d = Sub(a, m)
        s = Pow(d, two)
        v = ReduceMean(s, last)
        e = Add(v, epsilon)
        q = Sqrt(e)
        n = Div(d, q)
        y = MatMul(n, w2)
      }`;
    const samples = Array.from(
      { length: 8 },
      (_, i): Sample => ({
        id: `${i}`,
        inputs: { x: { dtype: "float32", dims: [1, 32], data: normal([1, 32], 0.02).toFloat32() } },
      }),
    );
    const list = await causesOf(model, toFloat16(model).model, { data: datasetOf("rows", samples) });
    expect(["s", "v", "e"]).toContain(list[0]?.value);
    expectFirst(list, "float16-underflow", list[0]?.value ?? "");
  });

  test("an operator whose result has no known type, and no value_info", async () => {
    const model = classifier(weights());
    const head = model.graph.nodes.find(({ name }) => name === "head");
    if (!head) throw new Error("no head");
    model.opsetImports.set("ai.onnx.ml", 3);
    const attributes = { offset: attr.floats([0.1]), scale: attr.floats([2]) };
    const scaler = { opType: "Scaler", domain: "ai.onnx.ml", inputs: [head.input(0)], outputs: ["n"], attributes };
    head.setInput(0, model.graph.addNode(scaler, { before: head }).output());
    expectFirst(await causesOf(model, await toStatic(model)), "shape-unknown", "n", "warning");
  });

  test("boxes in pixels and scores in one output", async () => {
    const normal = random("head");
    const w = weights();
    const model = parse`(float[N,3,16,16] x) => (y)
      <float[16,3,3,3] w1 = ${w.w1}, float[16] b1 = ${w.b1}, float[4,16,3,3] wb = ${normal([4, 16, 3, 3], 40)}, float[8,16,3,3] ws = ${normal([8, 16, 3, 3], 0.1)}> {
        [conv1] a1 = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w1, b1)
        r1 = Relu(a1)
        [boxes] b = Conv(r1, wb)
        [scores] s = Conv(r1, ws)
        p = Sigmoid(s)
        [tail] y = Concat<axis=1>(b, p)
      }`;
    const coded = await toStatic(model);
    const y = coded.graph.find("y");
    if (!y) throw new Error("no y");
    // Tersor leaves the tail float; other tools round what the Concat gives.
    coded.graph.rename(y, "y_float");
    const scale = coded.graph.addInitializer("y_scale", float32([], [4]));
    const zero = coded.graph.addInitializer("y_zero_point", fromNumbers("uint8", [], [128]));
    const codes = coded.graph.addNode({ opType: "QuantizeLinear", inputs: [y, scale, zero], outputs: ["y_codes"] });
    const back = { opType: "DequantizeLinear", inputs: [codes.output(), scale, zero], outputs: ["y"] };
    coded.graph.setOutput(0, coded.graph.addNode(back).output());
    expectFirst(await causesOf(model, coded), "mixed-concat", "y");
  });

  test("sizes of boxes through an exponential", async () => {
    const normal = random("exp");
    const w = weights();
    const model = parse`(float[N,3,16,16] x) => (y)
      <float[16,3,3,3] w1 = ${w.w1}, float[16] b1 = ${w.b1}, float[8,16,3,3] wb = ${normal([8, 16, 3, 3], 4)}, float[8,8,1,1] wc = ${normal([8, 8, 1, 1], 0.4)}> {
        [conv1] a1 = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w1, b1)
        r1 = Relu(a1)
        [sizes] b = Conv(r1, wb)
        e = Exp(b)
        [after] l = Conv(b, wc)
        z = Sigmoid(l)
        y = Concat<axis=1>(e, z)
      }`;
    expectFirst(await causesOf(model, await toStatic(model)), "exp-tail", "b");
  });

  test("one giant weight, and one scale for the tensor", async () => {
    const w = weights();
    const model = classifier({ ...w, w3: edited(w.w3, (x, i) => (i === 500 ? 12 : x)) });
    const small = quantize(model, { granularity: "tensor" }).model;
    expectFirst(await causesOf(model, small), "weight-outlier", "a3");
  });

  test("scales of 0 kill channels", async () => {
    const model = classifier(weights());
    const broken = await toStatic(model);
    const codes = broken.graph.find("w2_quantized");
    if (!codes?.tensor) throw new Error("no codes");
    codes.tensor = fromNumbers(
      "int8",
      codes.tensor.dims,
      codes.tensor.toNumbers().map((x, i) => (Math.floor(i / 144) < 3 ? 0 : x)),
    );
    const list = await causesOf(model, broken);
    expectFirst(list, "dead-channel", "a2");
    expect(list[0]?.message).toContain("0, 1, 2");
  });

  test("a Relu is left to a zero point that does not clip", async () => {
    const model = classifier(weights());
    const broken = await toStatic(model, { symmetric: true });
    const relu = broken.graph.nodes.find(({ opType, outputs }) => opType === "Relu" && outputs[0]?.name === "r2");
    const quantizer = relu?.output().users()[0];
    const [scale, zero] = [broken.graph.find("r2_scale"), broken.graph.find("r2_zero_point")];
    if (!relu || !quantizer || !scale?.tensor || !zero) throw new Error("no r2");
    quantizer.setInput(0, relu.input(0));
    broken.graph.removeNodes([relu]);
    scale.tensor = float32([], [2 * (scale.tensor.toFloat32()[0] as number)]);
    zero.tensor = fromNumbers("uint8", [], [128]);
    expectFirst(await causesOf(model, broken), "unclipped", "r2");
  });

  test("4 bits for the head", async () => {
    const model = classifier(weights());
    expectFirst(
      await causesOf(model, await toStatic(model, { layers: "conv*,head@int4" })),
      "weight-bits",
      "y",
      "warning",
    );
  });

  test("a bias that int32 can't hold", async () => {
    const w = weights();
    const model = classifier({ ...w, b2: edited(w.b2, (x, i) => (i === 7 ? 3 : x)) });
    const broken = await toStatic(model);
    const [codes, scale] = [broken.graph.find("b2_quantized"), broken.graph.find("b2_scale")];
    if (!codes?.tensor || !scale?.tensor) throw new Error("no bias");
    const most = codes.tensor.toNumbers().map((x, i) => (i === 7 ? 2 ** 31 - 1 : x));
    scale.tensor = edited(scale.tensor, (x, i) => (i === 7 ? 1e-12 : x));
    codes.tensor = fromNumbers("int32", codes.tensor.dims, most);
    expectFirst(await causesOf(model, broken), "bias-overflow", "a2");
  });

  test("attention: probabilities on a grid of 8 bits", async () => {
    const normal = random("attention");
    const square = () => normal([32, 32], 0.18);
    const model = parse`(float[1,384,32] x) => (float[1,384,32] y)
      <float[32,32] wq = ${square()}, float[32,32] wk = ${square()}, float[32,32] wv = ${square()}, float[32,32] wo = ${square()}, float s = {0.25}> {
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        t = Transpose<perm=[0,2,1]>(k)
        l = MatMul(q, t)
        m = Mul(l, s)
        p = Softmax<axis=-1>(m)
        o = MatMul(p, v)
        y = MatMul(o, wo)
      }`;
    const rows = (seed: string) => {
      const data = (i: number) => random(`${seed}${i}`)([1, 384, 32]).toFloat32();
      const sample = (i: number): Sample => ({
        id: `${seed}${i}`,
        inputs: { x: { dtype: "float32", dims: [1, 384, 32], data: data(i) } },
      });
      return datasetOf(seed, [0, 1, 2, 3, 4, 5, 6, 7].map(sample));
    };
    const coded = await toStatic(model, { ranges: "min-max" }, rows("c"));
    const list = await causesOf(model, coded, { data: rows("j") });
    expectFirst(list, "coarse-grid", "p", "warning");
    expect(list[0]?.message).toContain("Softmax");
  });

  test("the logarithm of small numbers that were rounded to 0", async () => {
    const w = weights();
    const small = (x: number, i: number) => (i < 4 ? 1e-4 : 1) * x;
    const positive = edited(w.w2, (x, i) => small(Math.abs(x), Math.floor(i / 144)));
    const model = parse`(float[N,3,16,16] x) => (y)
      <float[16,3,3,3] w1 = ${w.w1}, float[16] b1 = ${w.b1}, float[32,16,3,3] w2 = ${positive}, float[32] b2 = ${edited(w.b2, (_, i) => small(0.1, i))}> {
        [conv1] a1 = Conv<pads=[1,1,1,1]>(x, w1, b1)
        r1 = Relu(a1)
        [conv2] a2 = Conv<pads=[1,1,1,1]>(r1, w2, b2)
        l = Log(a2)
        y = ReduceMean(l)
      }`;
    expectFirst(await causesOf(model, await toStatic(model)), "not-finite", "l");
  });
});

describe("healthy models have no severe cause", () => {
  const model = classifier(weights());
  test.each([
    ["static", () => toStatic(model)],
    ["static, min-max, node-x64", () => toStatic(model, { ranges: "min-max", target: "node-x64" })],
    ["static, wasm", () => toStatic(model, { target: "web-wasm" })],
    ["dynamic", async () => quantizeDynamic(model, {}).model],
    ["float16", async () => toFloat16(model).model],
    ["int8 weights", async () => quantize(model, {}).model],
  ] as const)("%s", async (name, make) => {
    const list = await causesOf(model, await make(), {
      calibration,
      target: name.includes("wasm") ? "web-wasm" : "any",
    });
    expect(noneSevere(list)).toEqual([]);
  });

  test("a mask of -inf in float16", async () => {
    const mask = Array.from({ length: 16 }, (_, i) => (i % 4 > Math.floor(i / 4) ? Number.NEGATIVE_INFINITY : 0));
    const normal = random("masked");
    const masked = parse`(float[N,4,8] x) => (y) <float[8,8] w = ${normal([8, 8])}, float[4,4] mask = ${float32([4, 4], mask)}> {
      q = MatMul(x, w)  t = Transpose<perm = [0, 2, 1]>(x)  s = MatMul(q, t)  m = Add(s, mask)  p = Softmax(m)  y = MatMul(p, x) }`;
    const inputs = { x: { dtype: "float32" as const, dims: [1, 4, 8], data: normal([1, 4, 8]).toFloat32() } };
    const data = datasetOf("masked", [{ id: "0", inputs }]);
    expect(await causesOf(masked, toFloat16(masked).model, { data })).toEqual([]);
  });
});

const shared = new URL("../../../../shared/data/", import.meta.url);

/** Images of the test set, normalized as the models want them. */
function cifar(from: number, count: number, change = (x: number) => x, order = [0, 1, 2]): Dataset {
  const bytes = readFileSync(new URL("cifar10-jpeg/test_x.u8.bin", shared));
  const [mean, std] = [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ] as const;
  const sample = (index: number): Sample => {
    const data = Float32Array.from({ length: 3072 }, (_, i) => {
      const c = Math.floor(i / 1024);
      return change(
        ((bytes[index * 3072 + (i % 1024) * 3 + (order[c] as number)] as number) / 255 - (mean[c] as number)) /
          (std[c] as number),
      );
    });
    return { id: String(index), inputs: { input: { dtype: "float32", dims: [1, 3, 32, 32], data } } };
  };
  return datasetOf(
    "cifar",
    Array.from({ length: count }, (_, i) => sample(from + i)),
  );
}

describe.skipIf(!existsSync(shared))("ResNet-20 of ../shared (left out where absent)", () => {
  const load = async () => {
    const path = new URL("models/resnet20_cifar10.onnx", shared).pathname;
    return (await simplify(loadModel(path), { evaluate: (each) => runConstants(each, runtime) })).model;
  };

  test("healthy", async () => {
    const model = await load();
    const list = await causesOf(model, await toStatic(model, {}, cifar(0, 64)), {
      data: cifar(1000, 32),
      calibration: cifar(0, 64),
    });
    expect(noneSevere(list)).toEqual([]);
  });

  test("calibrated on BGR", async () => {
    const model = await load();
    const swapped = cifar(0, 64, (x) => x, [2, 1, 0]);
    const look = { data: cifar(1000, 64), calibration: swapped };
    expectFirst(await causesOf(model, await toStatic(model, {}, swapped), look), "preprocessing", "input");
  });

  test("calibrated on bytes", async () => {
    const model = await load();
    const bytes = await changed(cifar(0, 32), (x) => x.map((each) => (each * 0.226 + 0.45) * 255));
    expectFirst(
      await causesOf(model, await toStatic(model, {}, bytes), { data: cifar(1000, 32) }),
      "preprocessing",
      "input",
    );
  });
});
