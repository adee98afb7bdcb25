/** @file Gradients of recurrent layers against PyTorch in float64, with the batch first, and with two threads. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { relativeError, runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import type { Feeds, Outputs } from "../../runtime/io.ts";
import { type HostTensor, hostTensor, numbersOf } from "../../tensor/host-tensor.ts";
import { elementCount } from "../../tensor/tensor.ts";
import { gradient } from "../gradient.ts";

interface Case {
  readonly op: "LSTM" | "GRU";
  readonly directions: number;
  readonly lengths: readonly number[] | null;
  readonly dims: Readonly<Record<string, readonly number[]>>;
  /** By input: the norm of its gradient g, and sum_i cos(i) g_i. */
  readonly gradients: Readonly<Record<string, readonly [norm: number, product: number]>>;
}

/** Made by scripts/generate-recurrent-gradients.py, which says what they are. */
const cases: readonly Case[] = JSON.parse(
  readFileSync(new URL("../../../test/fixtures/recurrent-gradients.json", import.meta.url), "utf8"),
);
const hidden = 5;

/** The layer, and the cosine-weighted sum of its outputs; the weights are inputs w0, w1, … */
function layer({ op, directions, lengths, dims }: Case): string {
  const inputs = Object.entries(dims).map(([name, shape]) => `float[${shape}] ${name}`);
  const [steps, batch] = dims.x ?? [];
  const states = op === "LSTM" ? ["h", "c"] : ["h"];
  const outputs = ["y", ...states];
  const shapes = [`${steps},${directions},${batch},${hidden}`, ...states.map(() => `${directions},${batch},${hidden}`)];
  const weights = shapes.map((shape, i) => `float[${shape}] w${i}`);
  const constants = lengths ? ` <int32[${lengths.length}] n = {${lengths}}>` : "";
  const direction = directions === 2 ? "bidirectional" : "forward";
  const attributes = `hidden_size = ${hidden}, direction = "${direction}"${op === "GRU" ? ", linear_before_reset = 1" : ""}`;
  const args = `x, w, r, b, ${lengths ? "n" : '""'}, h0${op === "LSTM" ? ", c0" : ""}`;
  const sums = outputs.map((name, i) => `m${i} = Mul(${name}, w${i}) s${i} = ReduceSum<keepdims = 0>(m${i})`);
  return `(${[...inputs, ...weights].join(", ")}) => (loss)${constants} {
    ${outputs.join(", ")} = ${op}<${attributes}>(${args})
    ${sums.join("\n")}
    loss = Sum(${outputs.map((_, i) => `s${i}`).join(", ")})
  }`;
}

function feedsOf({ op, directions, dims }: Case): Feeds {
  const [steps = 0, batch = 0] = dims.x ?? [];
  const tensor = (shape: readonly number[], at: (i: number) => number) =>
    hostTensor(
      "float32",
      shape,
      Float64Array.from({ length: elementCount(shape) }, (_, i) => at(i)),
    );
  const inputs = Object.entries(dims).map(([name, shape], k) => [
    name,
    tensor(shape, (i) => (k === 0 ? 1 : 0.5) * Math.sin(i + k)),
  ]);
  const state = [directions, batch, hidden];
  const shapes = [[steps, directions, batch, hidden], state, ...(op === "LSTM" ? [state] : [])];
  const weights = shapes.map((shape, i) => [`w${i}`, tensor(shape, Math.cos)]);
  return Object.fromEntries([...inputs, ...weights]);
}

function figures(outputs: Outputs, names: ReadonlyMap<string, string>) {
  const all = [...names].map(([name, output]) => {
    const g = Array.from(numbersOf(outputs[output] as HostTensor, name));
    return [name, [Math.hypot(...g), g.reduce((sum, value, i) => sum + Math.cos(i) * value, 0)]] as const;
  });
  return Object.fromEntries(all);
}

describe("gradients of recurrent layers", () => {
  it.for(
    cases.map(
      (each) => [`${each.op}, ${each.directions} directions, lengths ${each.lengths ?? "full"}`, each] as const,
    ),
  )("%s: PyTorch's", async ([, each]) => {
    const { model, gradients } = gradient(parse(layer(each)), { of: "loss", with: Object.keys(each.gradients) });
    const found = figures(await runModel(model, feedsOf(each)), gradients);
    for (const [name, [norm, product]] of Object.entries(each.gradients)) {
      expect(Math.abs((found[name]?.[0] ?? Number.NaN) - norm) / norm, name).toBeLessThan(2e-6);
      expect(Math.abs((found[name]?.[1] ?? Number.NaN) - product) / norm, name).toBeLessThan(2e-6);
    }
  });

  it.for(["LSTM", "GRU", "RNN"])("%s with the batch first: those of the batch second", async (op) => {
    const gates = { LSTM: 4, GRU: 3, RNN: 1 }[op] ?? 1;
    const weights = `float[2,${gates * 5},4] w, float[2,${gates * 5},5] r`;
    const attributes = 'hidden_size = 5, direction = "bidirectional"';
    const first = `(float[3,7,4] x, ${weights}, float[3,2,5] h0, float[3,7,2,5] v, float[3,2,5] u) => (loss) {
      y, h = ${op}<${attributes}, layout = 1>(x, w, r, "", "", h0)
      a = Mul(y, v) b = Mul(h, u) p = ReduceSum<keepdims = 0>(a) q = ReduceSum<keepdims = 0>(b) loss = Add(p, q)
    }`;
    const second = `(float[3,7,4] x, ${weights}, float[3,2,5] h0, float[3,7,2,5] v, float[3,2,5] u) => (loss) {
      xt = Transpose<perm = [1, 0, 2]>(x) ht = Transpose<perm = [1, 0, 2]>(h0)
      yt, hl = ${op}<${attributes}>(xt, w, r, "", "", ht)
      y = Transpose<perm = [2, 0, 1, 3]>(yt) h = Transpose<perm = [1, 0, 2]>(hl)
      a = Mul(y, v) b = Mul(h, u) p = ReduceSum<keepdims = 0>(a) q = ReduceSum<keepdims = 0>(b) loss = Add(p, q)
    }`;
    const run = async (text: string) => {
      const source = parse(text);
      const { model } = gradient(source, { of: "loss", with: ["x", "w", "r", "h0"] });
      return runModel(model, sines(source));
    };
    expect(relativeError(await run(second), await run(first))).toBeLessThan(1e-6);
  });
});

describe("layers whose gradient is taken give what they gave", () => {
  const [steps, batch] = [6, 3];
  const activations = 'activations = ["HardSigmoid", "Softsign"';
  it.for([
    ["LSTM", 'direction = "bidirectional"', "b, n, h0, c0"],
    ["LSTM", 'direction = "reverse"', "b, n, h0, c0"],
    ["LSTM", "", "b"],
    ["LSTM", "clip = 0.3", "b, n, h0, c0, p"],
    ["LSTM", "input_forget = 1", "b, n, h0, c0, p"],
    ["LSTM", "input_forget = 1", 'b, "", h0, c0'],
    ["LSTM", `${activations}, "Affine"], activation_alpha = [0.3, 2], activation_beta = [0.4, 0.1]`, "b"],
    ["GRU", 'direction = "bidirectional"', "b, n, h0"],
    ["GRU", 'direction = "reverse", linear_before_reset = 1', "b, n, h0"],
    ["GRU", "", '"", n'],
    ["GRU", "linear_before_reset = 1", '"", "", h0'],
    ["GRU", "clip = 0.3", "b, n, h0"],
    ["GRU", `${activations}]`, "b"],
  ])("%s %s, inputs x, w, r, %s", async ([opType = "", attributes = "", args = ""]) => {
    const d = attributes.includes("bidirectional") ? 2 : 1;
    const rows = 5 * (opType === "LSTM" ? 4 : 3);
    const inputs = `float[${steps},${batch},4] x, float[${d},${rows},4] w, float[${d},${rows},5] r, float[${d},${2 * rows}] b,
      float[${d},${batch},5] h0, float[${d},${batch},5] c0, float[${d},15] p`;
    const outputs = opType === "LSTM" ? "y, h, c" : "y, h";
    const source = parse(`(${inputs}) => (${outputs}, loss) <int32[${batch}] n = {6, 2, 1}> {
      ${outputs} = ${opType}<hidden_size = 5${attributes && `, ${attributes}`}>(x, w, r, ${args})
      a = ReduceSumSquare<keepdims = 0>(y) e = ReduceSumSquare<keepdims = 0>(h) loss = Add(a, e)
    }`);
    const { model } = gradient(source, { of: "loss", with: ["w"] });
    expect(model.graph.nodes.map((node) => node.opType)).not.toContain(opType);
    const expected = await runModel(source, sines(source));
    const actual = await runModel(model, sines(source));
    expect(relativeError(expected, actual)).toBeLessThan(1e-6);
  });
});

function sines(model: ReturnType<typeof parse>): Feeds {
  const all = model.graph.inputs.map(({ name, type }, k) => {
    const shape = (type?.kind === "tensor" ? type.shape : []) as readonly number[];
    const values = Float64Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(i + k) / 2);
    return [name, hostTensor("float32", shape, values)] as const;
  });
  return Object.fromEntries(all);
}

describe("gradients with two threads", () => {
  const tables: readonly (readonly [string, string])[] = [
    [
      "LSTM",
      `(float[20,16,32] x, float[1,256,32] w, float[1,256,64] r) => (loss) {
        y = LSTM<hidden_size = 64>(x, w, r) z = Mul(y, y) loss = ReduceSum<keepdims = 0>(z)
      }`,
    ],
    [
      "Gather and ScatterND of few rows, many times",
      `(float[8,256] x, float[512,256] w, float[1024,256] u) => (loss) {
        i = Constant<value = int64[1024] {${Array.from({ length: 1024 }, (_, i) => (i * i) % 8).join(", ")}}>()
        a = Unsqueeze(i, one) g = Gather(x, i) s = ScatterND<reduction = "add">(x, a, u)
        m = Mul(g, u) n = Mul(s, s) p = ReduceSum<keepdims = 0>(m) q = ReduceSum<keepdims = 0>(n) loss = Add(p, q)
      }`.replace("=> (loss) {", "=> (loss) <int64[1] one = {1}> {"),
    ],
  ];

  it.for(tables)("%s: those with one", async ([, text]) => {
    const source = parse(text);
    const wanted = source.graph.inputs.map(({ name }) => name);
    const bytes = encode(gradient(source, { of: "loss", with: wanted }).model);
    const feeds = sines(source);
    const results: Outputs[] = [];
    for (const threads of [1, 2, 2, 2]) {
      const session = await inProcessRuntime("ort-node").create(bytes, { threads });
      results.push(await session.run(feeds));
      await session.release();
    }
    const [one, ...two] = results as [Outputs, ...Outputs[]];
    for (const outputs of two) expect(relativeError(one, outputs)).toBeLessThan(1e-5);
  });
});
