/** @file ONNX Runtime computes the same, to the bit, of calls that it inlines itself and of those that were inlined before. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { arbitraryInput, arbitraryModel } from "../../test/arbitrary-graph.ts";
import { prunableModel } from "../../test/prunable-graph.ts";
import { evaluate, randomFeeds, relativeError, runModel, withSession } from "../../test/run-model.ts";
import { Graph } from "../ir/graph.ts";
import type { FunctionDef, Model } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import { parse } from "../ir/text/index.ts";
import { pruneChannels } from "../prune/channels/prune-channels.ts";
import { pruneWeights } from "../prune/weights/prune-weights.ts";
import { quantizeDynamic } from "../quantize/dynamic/dynamic.ts";
import { toFloat16 } from "../quantize/float16/float16.ts";
import { quantize } from "../quantize/weights/quantize-weights.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import { removeDeadCode } from "./dead-code.ts";
import { inlineFunctions } from "./inline-functions.ts";
import { simplify } from "./simplify.ts";

/** Text of a main graph and of what it calls; a function's name is its domain. */
const models: Readonly<Record<string, string>> = {
  "attributes by reference, given and by default": `(float[2,3,4] x) => (y, z) {
      y = my.F<axis = 1, alpha = 0.5>(x)  z = my.F(x)
    }
    <domain: "my", opset_import: ["": 21]> F <axis: int = 2, alpha: float = 0.25> (a) => (b) {
      t = LeakyRelu<alpha: float = @alpha>(a)  b = Softmax<axis: int = @axis>(t)
    }`,
  "functions that call functions, and hand attributes on": `(float[2,3] x) => (y) <float[3,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}> {
      t = my.Layer<slope = 0.1>(x, w)  y = my.Layer<slope = 0.3>(t, w)
    }
    <domain: "my", opset_import: ["": 21, "my": 1]> Layer <slope: float = 1> (a, w) => (b) { t = MatMul(a, w)  b = my.Act<alpha: float = @slope>(t) }
    <domain: "my", opset_import: ["": 21]> Act <alpha: float = 1> (a) => (b) { b = LeakyRelu<alpha: float = @alpha>(a) }`,
  "inputs and outputs that are left out": `(float[6] x) => (y, u) <float lo = {-0.5}, float hi = {0.25}> {
      y = my.Clipped(x, , hi)  t, u = my.Both(x, lo)
    }
    <domain: "my", opset_import: ["": 21]> Clipped (a, lo, hi) => (b) { b = Clip(a, lo, hi) }
    <domain: "my", opset_import: ["": 21]> Both (a, lo, hi) => (b, c) { b = Neg(a)  c = Clip(a, lo, hi) }`,
  "subgraphs in bodies, which capture and define": `(bool c, float[2] x, float[2] k) => (y, z) {
      y = my.Choose(c, x, k)  z = my.Choose(c, y, )
    }
    <domain: "my", opset_import: ["": 21]> Choose (c, a, min) => (b) {
      t = Neg(a)
      b = If(c) <
        then_branch = yes () => (t2) <float[2] s = {3, 4}> { v = Mul(t, s)  t2 = Sum(v, a) },
        else_branch = no () => (t2) { t2 = my.Twice(t) }
      >
    }
    <domain: "my", opset_import: ["": 21]> Twice (a) => (b) { b = Add(a, a) }`.replace(
    '["": 21]> Choose',
    '["": 21, "my": 1]> Choose',
  ),
  "calls in the body of a Loop": `(float[2] x) => (y) <int64 n = {3}, bool go = {1}> {
      y = Loop(n, go, x) <body = body (int64 i, bool c, float[2] a) => (bool d, float[2] b) { d = Identity(c)  b = my.Step(a) }>
    }
    <domain: "my", opset_import: ["": 21]> Step (a) => (b) { one = Constant<value = float {1.5}>()  t = Mul(a, one)  b = Tanh(t) }`,
  "names that are taken around the calls": `(float[2] x) => (t, y) {
      t = Neg(x)  ["y/f"] "y/t" = my.F(t)  [y] y = my.F("y/t")
    }
    <domain: "my", opset_import: ["": 21]> F (x) => (y) { [f] t = Abs(x)  [g] y = Exp(t) }`,
};

describe("inlined calls", () => {
  it.each(Object.entries(models))("%s", async (_, text) => {
    const model = parse(text);
    const { model: inlined } = inlineFunctions(model);
    expect(inlined.functions).toEqual([]);
    for (const seed of [1, 2]) {
      const feeds = await withSession(model, async ({ inputs }) => randomFeeds(inputs, seed));
      expect(await runModel(inlined, feeds)).toEqual(await runModel(model, feeds));
    }
    const { model: simple } = await simplify(model, { evaluate });
    expect(simple.functions).toEqual([]);
    const feeds = await withSession(model, async ({ inputs }) => randomFeeds(inputs, 3));
    expect(relativeError(await runModel(model, feeds), await runModel(simple, feeds))).toBeLessThan(1e-6);
  });

  it("of random models whose every node was made a function", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryModel(), async (model) => {
        const outlined = withFunctions(model);
        const input = arbitraryInput(model);
        const feeds = { x: hostTensor(input.dtype, input.dims, input.toFloat32()) };
        const expected = await runModel(model, feeds);
        expect(await runModel(outlined, feeds)).toEqual(expected);
        const { model: inlined } = inlineFunctions(outlined);
        expect(inlined.functions).toEqual([]);
        expect(await runModel(inlined, feeds)).toEqual(expected);
      }),
      { numRuns: 40, seed: 11 },
    );
  });
});

describe("what compresses a model", () => {
  const ways: Readonly<Record<string, (model: Model) => Promise<Model> | Model>> = {
    "weights only": (model) => quantize(model, { minElements: 1 }).model,
    "dynamic int8": (model) => quantizeDynamic(model, { minElements: 1 }).model,
    float16: (model) => toFloat16(model).model,
    "pruned weights": async (model) =>
      (await pruneWeights(model, { structure: "weights", ratio: 0.5 }, undefined)).model,
    "pruned channels": async (model) => (await pruneChannels(model, { ratio: 0.3 }, undefined)).model,
  };

  it.each(Object.entries(ways))("does the same to calls as to what they call: %s", async (_, compress) => {
    let changed = 0;
    await fc.assert(
      fc.asyncProperty(prunableModel(4), async (given) => {
        const { model } = removeDeadCode(given);
        const feeds = await withSession(model, async ({ inputs }) => randomFeeds(inputs, 7));
        const [plain, called] = [await compress(model), await compress(withFunctions(model))];
        if (plain === model) return;
        expect(called.functions).toEqual([]);
        expect(constantsOf(called)).toEqual(constantsOf(plain));
        if (constantsOf(plain) !== constantsOf(model)) changed++;
        expect(await runModel(called, feeds)).toEqual(await runModel(plain, feeds));
      }),
      { numRuns: 12, seed: 5 },
    );
    expect(changed).toBeGreaterThan(0);
  });
});

/** Types and zeros of all constants in use, in no order. */
function constantsOf(given: Model): string {
  const { model } = removeDeadCode(given);
  const tensors = model.graphs().flatMap(({ initializers }) => initializers.flatMap(({ tensor }) => tensor ?? []));
  return tensors
    .map((tensor) => `${tensor.dtype}[${tensor.dims}] ${tensor.toNumbers().filter((x) => x === 0).length}`)
    .sort()
    .join();
}

describe("a weight in the body of a function that is called three times", () => {
  const weight = Array.from({ length: 1024 }, (_, i) => Math.sin(i) / 16).join(", ");
  const model = parse(`(float[2,32] x) => (y) { a = my.F(x)  b = my.F(a)  y = my.F(b) }
    <domain: "my", opset_import: ["": 21]> F (x) => (y) { w = Constant<value = float[32,32] {${weight}}>()  t = MatMul(x, w)  y = Tanh(t) }`);

  it("is one layer, quantized once", async () => {
    const { layers, model: small } = await quantize(model, { bits: 8 } as object);
    expect(layers().map(({ reason }) => reason)).toEqual([undefined]);
    expect(
      small.graph.initializers.filter(({ tensor }) => tensor?.dtype === "int8" && tensor.size === 1024),
    ).toHaveLength(1);
    const feeds = {
      x: hostTensor(
        "float32",
        [2, 32],
        Float32Array.from({ length: 64 }, (_, i) => Math.cos(i)),
      ),
    };
    expect(relativeError(await runModel(model, feeds), await runModel(small, feeds))).toBeLessThan(0.05);
  });

  it("is one float16 constant", async () => {
    const { model: half } = toFloat16(model);
    expect(half.graph.initializers.filter(({ tensor }) => tensor?.dtype === "float16")).toHaveLength(1);
    const feeds = {
      x: hostTensor(
        "float32",
        [2, 32],
        Float32Array.from({ length: 64 }, (_, i) => Math.cos(i)),
      ),
    };
    expect(relativeError(await runModel(model, feeds), await runModel(half, feeds))).toBeLessThan(0.02);
  });
});

/** Every node without subgraphs becomes a call of a function of its own, whose attributes are the call's. */
function withFunctions(model: Model): Model {
  const copy = model.clone();
  const nodes = copy.graphs().flatMap((graph) => [...graph.nodes]);
  copy.functions = nodes
    .filter((node) => node.subgraphs().length === 0)
    .map((node, i) => outlined(node, `F${i}`, copy));
  copy.opsetImports.set("out", 1);
  return copy;
}

function outlined(node: Node, name: string, { opsetImports }: Model): FunctionDef {
  const body = new Graph(name);
  const inputs = node.inputs.map((input, i) => {
    if (!input) return undefined;
    const value = body.addValue(`a${i}`);
    body.addInput(value);
    return value;
  });
  const references = [...node.attributes].map(([key, { type }]) => [key, { type, reference: key }] as const);
  const { opType, domain } = node;
  const inner = body.addNode({
    opType,
    domain,
    inputs,
    outputs: node.outputs.map((output, i) => (output ? `b${i}` : undefined)),
    attributes: new Map(references),
  });
  for (const output of inner.outputs) if (output) body.addOutput(output);
  const outputs = node.outputs.filter((output) => output !== undefined);
  node.outputs.forEach((_, i) => {
    node.linkOutput(i, undefined);
  });
  const call = { opType: name, domain: "out", name: node.name, inputs: node.inputs.filter((input) => input), outputs };
  node.graph.addNode({ ...call, attributes: node.attributes }, { before: node });
  node.graph.removeNodes([node]);
  return {
    domain: "out",
    name,
    overload: "",
    docString: "",
    attributes: [...node.attributes.keys()],
    defaults: new Map(),
    opsetImports: new Map([["", opsetImports.get("") ?? 21]]),
    graph: body,
    metadata: new Map(),
    unknown: undefined,
  };
}
