/** @file Recovery and criteria that look at data, from the data to the outputs of the pruned model. */
import { describe, expect, it } from "vitest";
import { leastSqnr } from "../../../test/optimized-graph.ts";
import { runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import { parse } from "../../ir/text/index.ts";
import { quantize } from "../../quantize/weights/quantize-weights.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { float32, fromNumbers } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import type { PruneOptions } from "../options.ts";
import { pruneWeights } from "../weights/prune-weights.ts";
import { pruneChannels } from "./prune-channels.ts";

const rng = new Rng(4, "recovery");
const normal = (dims: readonly number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((all, dim) => all * dim, 1) }, () => rng.normal() * 0.4),
  );

/** Convolutions and matrix products one after the other; all inputs are mixtures of a few, so that channels resemble each other. */
const model = parse`(float[N,4,6,6] x) => (y)
  <float[12,4,3,3] w1 = ${normal([12, 4, 3, 3])}, float[12] b1 = ${normal([12])}, float[10,12,3,3] w2 = ${normal([10, 12, 3, 3])},
   float[10,8] w3 = ${normal([10, 8])}, float[8] b3 = ${normal([8])}, float[5,8] w4 = ${normal([5, 8])}> {
    [one] a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)  r = Relu(a)
    [two] b = Conv (r, w2)  s = Relu(b)  p = GlobalAveragePool(s)  f = Flatten(p)
    [three] m = MatMul(f, w3)  t = Add(m, b3)  u = Relu(t)
    [four] y = Gemm <transB = 1> (u, w4)
  }`;

const mixture = Array.from({ length: 8 }, () => rng.normal());
const images = (count: number) =>
  Array.from({ length: count }, () => {
    const data = new Float32Array(4 * 36);
    for (let at = 0; at < 36; at++) {
      const [p, q] = [rng.normal() + 0.5, rng.normal()];
      for (let c = 0; c < 4; c++)
        data[c * 36 + at] = p * (mixture[c] as number) + q * (mixture[c + 4] as number) + 0.05 * rng.normal();
    }
    return { dtype: "float32", dims: [1, 4, 6, 6], data } as const;
  });

const seen = images(64);
const unseen = images(32);
const calibration = {
  data: datasetOf(
    "seen",
    seen.map((x, i) => ({ id: `${i}`, inputs: { x } })),
  ),
  open: (probed: typeof model) => inProcessRuntime("ort-node").create(encode(probed), { threads: 1 }),
};

/** Rows of normal numbers for an input x. */
const rows = (size: number) =>
  datasetOf(
    "rows",
    seen.map((_, i) => ({
      id: `${i}`,
      inputs: {
        x: {
          dtype: "float32" as const,
          dims: [1, size],
          data: Float32Array.from({ length: size }, () => rng.normal()),
        },
      },
    })),
  );

/** SQNR of the outputs on images that were not calibrated on. */
async function quality(pruned: typeof model): Promise<number> {
  const all = {
    dtype: "float32" as const,
    dims: [32, 4, 6, 6],
    data: Float32Array.from(unseen.flatMap(({ data }) => [...data])),
  };
  return leastSqnr(await runModel(model, { x: all }), await runModel(pruned, { x: all }));
}

/** By weights alone, so that recovery makes the difference. */
const byWeights = { ratio: 0.3, criterion: "l1", ranking: "layer", recover: "none" } as const;
const cut = (options: PruneOptions) => pruneChannels(model, { ...byWeights, ...options }, calibration);

describe("recovery", () => {
  it("is better by means than without, and better still by least squares, on other data", async () => {
    const none = await quality((await cut({})).model);
    const mean = await quality((await cut({ recover: "mean" })).model);
    const solved = await quality((await cut({ recover: "least-squares" })).model);
    expect(mean).toBeGreaterThan(none + 1);
    expect(solved).toBeGreaterThan(mean + 2);
  });

  it("folds means into biases that were not there", async () => {
    const { model: pruned, plain } = await cut({ recover: "mean" });
    const two = (found: typeof model) => found.graph.nodes.find(({ name }) => name === "two");
    expect([two(plain)?.inputs.length, two(pruned)?.inputs.length]).toEqual([2, 3]);
    expect(pruned.graph.nodes).toHaveLength(model.graph.nodes.length);
    expect(pruned.graph.find("w3")?.tensor?.dims).toEqual([7, 6]);
  });

  it("works in models of old operator sets", async () => {
    const old = model.clone();
    old.opsetImports.set("", 9);
    const options = { ...byWeights, recover: "least-squares" } as const;
    const { model: pruned } = await pruneChannels(old, options, calibration);
    expect(await quality(pruned)).toBeCloseTo(await quality((await cut({ recover: "least-squares" })).model), 3);
  });

  it("leaves a model alone from which nothing is cut", async () => {
    expect((await cut({ ratio: 0, recover: "least-squares" })).model).toBe(model);
  });
});

describe("with calibration data and not a word more", () => {
  it("criteria and rankings are tried, and what loses least on samples set apart is kept", async () => {
    const unasked = () => pruneChannels(model, { ratio: 0.3 }, calibration);
    const { approach, model: pruned, groups } = await unasked();
    const tried = approach.tried ?? [];
    expect(tried.map(({ criteria, ranking }) => `${criteria} ${ranking}`)).toEqual(
      ["layer", "global", "sensitivity"].flatMap((ranking) => [`wanda ${ranking}`, `fisher ${ranking}`]),
    );
    const best = Math.max(...tried.map(({ sqnr = 0 }) => sqnr));
    expect(new Set(tried.map(({ sqnr }) => sqnr)).size).toBeGreaterThan(1);
    expect(tried.filter(({ kept }) => kept)).toEqual([
      { criteria: approach.criteria.slice(0, 1), ranking: approach.ranking, sqnr: best, kept: true },
    ]);
    expect(approach).toMatchObject({ recover: "least-squares", judged: { sqnr: best, samples: 16, isApart: true } });
    expect(await quality(pruned)).toBeGreaterThan((await quality((await cut({})).model)) + 3);
    expect((await unasked()).groups).toEqual(groups);
  });

  it("one way is taken as it is asked for, and judged", async () => {
    const asked = { criterion: "wanda", ranking: "global", recover: "least-squares" } as const;
    const { approach } = await cut(asked);
    expect(approach.tried).toBeUndefined();
    expect(approach.judged).toMatchObject({ samples: 16, isApart: false });
    const rankings = (await pruneChannels(model, { ratio: 0.3, criterion: "l1" }, calibration)).approach;
    expect(rankings.tried?.map(({ criteria, ranking }) => `${criteria} ${ranking}`)).toEqual([
      "l1 layer",
      "l1 global",
      "l1 sensitivity",
    ]);
  });

  it("hidden units go by what reads them, and what no weights read by magnitude, which is said", async () => {
    const mixed = parse`(float[N,6] x) => (y, z)
      <float[1,32,6] w = ${normal([1, 32, 6])}, float[1,32,8] r = ${normal([1, 32, 8])}, float[1,32,8] w2 = ${normal([1, 32, 8])}, int64[1] first = {0},
       float[1,32,8] r2 = ${normal([1, 32, 8])}, float[6,4] q = ${normal([6, 4])}, float[6,4] k = ${normal([6, 4])}> {
        s = Unsqueeze(x, first)
        a, a_h, a_c = LSTM <hidden_size = 8> (s, w, r)  b = Squeeze(a, first)  b_h, b_hh, b_c = LSTM <hidden_size = 8> (b, w2, r2)
        y = Squeeze(b_h, first)
        m = MatMul(x, q)  n = MatMul(x, k)  t = Transpose(n)  z = MatMul(m, t)
      }`;
    const data = rows(6);
    const prune = (more: PruneOptions) => pruneChannels(mixed, { ratio: 0.5, ...more }, { ...calibration, data });
    const removed = async (more: PruneOptions) =>
      (await prune(more)).groups.map(({ layers, removed: gone, reason, criterion }) => [
        layers[0],
        gone,
        reason ?? criterion,
      ]);
    const nothing = 'criterion "wanda" finds nothing to look at';
    expect(await removed({ criterion: "wanda", ranking: "layer" })).toEqual([
      ["a", 4, undefined],
      ["m", 0, nothing],
    ]);
    const { notes, approach, unrecovered } = await prune({ ranking: "layer" });
    if (approach.criteria[0] === "wanda") expect(notes).toContainEqual(expect.stringMatching(/^m .*: by l1, since/));
    expect(unrecovered).toEqual([
      { layer: "a", opType: "LSTM", reason: "its recurrent weights read states that feed back" },
      {
        layer: "z",
        opType: "MatMul",
        reason: "both operands are computed: there are no weights to solve",
      },
    ]);
  });

  it("names the layers that are not made up for, with the reason", async () => {
    const open = parse`(float[N,4,h,w] x) => (y)
      <float[12,4,3,3] w1 = ${normal([12, 4, 3, 3])}, float[12,10,3,3] w2 = ${normal([12, 10, 3, 3])}> {
        a = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w1)  r = Relu(a)  y = ConvTranspose <auto_pad = "SAME_UPPER", strides = [2, 2]> (r, w2) }`;
    const prune = (more: PruneOptions) => pruneChannels(open, { ratio: 0.3, ...more }, calibration);
    for (const more of [{}, { recover: "least-squares" }] as const) {
      const { groups, unrecovered } = await prune(more);
      expect(unrecovered).toEqual([
        { layer: "y", opType: "ConvTranspose", reason: expect.stringMatching(/padding depends on sizes .*SAME_UPPER/) },
      ]);
      expect(groups[0]?.removed).toBe(4);
    }
  });
});

describe("criteria of activations", () => {
  it("take the channels that nobody hears", async () => {
    const quiet = parse`(float[N,3] x) => (y)
      <float[3,3] w = ${float32([3, 3], [1, 0, 0, 0, 1, 0, 0, 0, 1])}, float[3] b = ${float32([3], [0, -9, 0])}, float[3,2] v = ${normal([3, 2])}> {
        h = MatMul(x, w)  a = Add(h, b)  r = Relu(a)  y = MatMul(r, v)
      }`;
    const data = rows(3);
    const options = { ratio: 0.33, criterion: "activation-norm" } as const;
    const { model: pruned } = await pruneChannels(quiet, options, { ...calibration, data });
    expect(Array.from(pruned.graph.find("b")?.tensor?.toNumbers() ?? [])).toEqual([0, 0]);
  });

  it.each(["weights", "2:4"])("wanda and sparsegpt are closer than magnitudes: %s", async (structure) => {
    const prune = async (criterion: "l1" | "wanda" | "sparsegpt") => {
      const ratio = structure === "weights" ? { ratio: 0.5, ranking: "layer" as const } : {};
      const result = await pruneWeights(model, { structure, criterion, ...ratio }, calibration);
      const zeros = result.layers().map((layer) => layer.zeros / layer.weights);
      expect(zeros.every((share) => share === 0.5)).toBe(true);
      return quality(result.model);
    };
    const [l1, wanda, sparsegpt] = [await prune("l1"), await prune("wanda"), await prune("sparsegpt")];
    expect(wanda).toBeGreaterThan(l1);
    expect(sparsegpt).toBeGreaterThan(wanda);
  });
});

it.each(["int8", "uint8"] as const)("zeros of weights are exactly zero after quantization to %s", async (dtype) => {
  const { model: pruned } = await pruneWeights(model, { structure: "weights", ratio: 0.7 }, undefined);
  const { model: small } = quantize(pruned, { dtype, minElements: 1, granularity: "tensor" });
  let zeros = 0;
  for (const node of small.graph.nodes.filter(({ opType }) => opType === "DequantizeLinear")) {
    const [codes, , zeroPoint] = node.inputs.map((input) => input?.tensor?.toNumbers());
    const target = node.output().uses.values().next().value;
    const original = pruned.graph.nodes.find(({ name }) => name === target?.node.name)?.inputs[target?.index ?? 0];
    const [rows = 0, columns = 0] = original?.tensor?.dims ?? [];
    // A weight that another kernel takes is turned.
    const isTurned = rows !== columns && node.inputs[0]?.tensor?.dims[0] === columns;
    original?.tensor?.toNumbers().forEach((weight, i) => {
      if (weight !== 0) return;
      zeros++;
      const at = isTurned ? (i % columns) * rows + Math.floor(i / columns) : i;
      expect(codes?.[at]).toBe(zeroPoint?.[0] ?? 0);
    });
  }
  expect(zeros).toBeGreaterThan(900);
});

describe("least squares", () => {
  const rng2 = new Rng(9, "kinds");
  const draw = (dims: readonly number[], scale = 0.4) =>
    float32(
      dims,
      Float32Array.from({ length: dims.reduce((all, dim) => all * dim, 1) }, () => rng2.normal() * scale),
    );
  /** Samples of so many dims, all mixtures of three patterns: channels can stand in for each other. */
  const mixtures = (dims: readonly number[], count: number) => {
    const size = dims.reduce((all, dim) => all * dim, 1);
    const [channels = 1] = dims;
    const patterns = [0, 1, 2].map(() => Array.from({ length: channels }, () => rng2.normal()));
    return Array.from({ length: count }, (_, i) => {
      const data = new Float32Array(size);
      for (let at = 0; at < size / channels; at++) {
        const weights = patterns.map(() => rng2.normal());
        for (let c = 0; c < channels; c++)
          data[(c * size) / channels + at] = patterns.reduce(
            (sum, pattern, p) => sum + (pattern[c] as number) * (weights[p] as number),
            0.1 * rng2.normal(),
          );
      }
      return { id: `${i}`, inputs: { x: { dtype: "float32" as const, dims: [1, ...dims], data } } };
    });
  };
  const kinds = {
    Conv: {
      dims: [4, 5, 5],
      text: parse`(float[N,4,5,5] x) => (y) <float[12,4,1,1] a = ${draw([12, 4, 1, 1])}, float[6,12,3,3] w = ${draw([6, 12, 3, 3])}> {
      h = Conv(x, a) r = Relu(h) y = Conv <pads = [1,1,1,1]> (r, w) }`,
    },
    "Conv in groups": {
      dims: [4, 5, 5],
      text: parse`(float[N,4,5,5] x) => (y) <float[12,4,1,1] a = ${draw([12, 4, 1, 1])}, float[6,6,3,3] w = ${draw([6, 6, 3, 3])}> {
      h = Conv(x, a) r = Relu(h) y = Conv <group = 2, strides = [2,2]> (r, w) }`,
    },
    "behind a depthwise Conv": {
      dims: [4, 5, 5],
      text: parse`(float[N,4,5,5] x) => (y) <float[12,4,1,1] a = ${draw([12, 4, 1, 1])}, float[12,1,3,3] d = ${draw([12, 1, 3, 3])}, float[6,12,1,1] w = ${draw([6, 12, 1, 1])}> {
      h = Conv(x, a) e = Conv <group = 12, pads = [1,1,1,1]> (h, d) y = Conv (e, w) }`,
    },
    ConvTranspose: {
      dims: [4, 5, 5],
      text: parse`(float[N,4,5,5] x) => (y) <float[12,4,1,1] a = ${draw([12, 4, 1, 1])}, float[12,3,3,3] w = ${draw([12, 3, 3, 3])}> {
      h = Conv(x, a) r = Relu(h) y = ConvTranspose <strides = [2,2], pads = [1,1,0,2], output_padding = [1,0]> (r, w) }`,
    },
    "ConvTranspose in groups": {
      dims: [4, 5, 5],
      text: parse`(float[N,4,5,5] x) => (y) <float[12,4,1,1] a = ${draw([12, 4, 1, 1])}, float[12,3,2,3] w = ${draw([12, 3, 2, 3])}> {
      h = Conv(x, a) r = Relu(h) y = ConvTranspose <group = 2, strides = [1,2], dilations = [2,1]> (r, w) }`,
    },
    "MatMul, weight on the left": {
      dims: [4, 5],
      text: parse`(float[N,4,5] x) => (y) <float[12,4] a = ${draw([12, 4])}, float[6,12] w = ${draw([6, 12])}> {
      h = MatMul(a, x) r = Relu(h) y = MatMul(w, r) }`,
    },
    "MatMul in three dims": {
      dims: [4, 5, 6],
      text: parse`(float[N,4,5,6] x) => (y) <float[6,12] a = ${draw([6, 12])}, float[4,12,3] w = ${draw([4, 12, 3])}> {
      h = MatMul(x, a) r = Relu(h) y = MatMul(r, w) }`,
    },
    "Einsum over two axes": {
      dims: [5, 8],
      text: parse`(float[N,5,8] x) => (y) <float[8,4,6] a = ${draw([8, 4, 6])}, float[4,6,3] w = ${draw([4, 6, 3])}> {
      h = Einsum <equation = "bnd,dhk->bhnk"> (x, a) r = Relu(h) y = Einsum <equation = "bhnk,hko->bno"> (r, w) }`,
    },
    "LSTM's inputs": {
      dims: [6, 5],
      text: parse`(float[N,6,5] x) => (y) <float[5,12] a = ${draw([5, 12])}, float[1,12,12] w = ${draw([1, 12, 12])}, float[1,12,3] r = ${draw([1, 12, 3])}> {
      h = MatMul(x, a) g = Relu(h) y, y_h, y_c = LSTM <hidden_size = 3> (g, w, r) }`,
    },
    "a weight behind Cast": {
      dims: [8],
      text: parse`(float[N,8] x) => (y) <float[8,12] a = ${draw([8, 12])}, float16[12,3] w = ${fromNumbers("float16", [12, 3], draw([12, 3]).toNumbers())}> {
      h = MatMul(x, a) r = Relu(h) c = Cast <to = 1> (w) y = MatMul(r, c) }`,
    },
  } as const;

  it.each(Object.keys(kinds) as (keyof typeof kinds)[])(
    "solves %s: closer than without, on other samples",
    async (kind) => {
      const { dims, text } = kinds[kind];
      const all = mixtures(dims, 72);
      const data = { ...calibration, data: datasetOf("mixtures", all.slice(0, 64)) };
      const options = { ratio: 0.34, criterion: "l1", ranking: "layer" } as const;
      const prune = (recover: "none" | "least-squares") => pruneChannels(text, { ...options, recover }, data);
      const [none, solved] = [await prune("none"), await prune("least-squares")];
      expect(solved.unrecovered).toEqual([]);
      const sqnr = async (pruned: typeof model) => {
        const found = [];
        for (const { inputs } of all.slice(64))
          found.push(leastSqnr(await runModel(text, inputs), await runModel(pruned, inputs)));
        return found.reduce((sum, x) => sum + x, 0) / found.length;
      };
      expect(await sqnr(solved.model)).toBeGreaterThan((await sqnr(none.model)) + 1);
    },
  );
});
