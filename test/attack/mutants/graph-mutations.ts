/** @file Damage to graphs: names, edges, nodes, attributes, opsets, functions, depth. */
import type { AttributeProto, FunctionProto, GraphProto, NodeProto } from "../../../src/proto/messages.ts";
import type { Rng } from "../../../src/util/rng.ts";
import { int64Bytes, names, oddFloat, oddInteger, oddList, type Parts, pick, type Structural } from "./parts.ts";

const operators = ["Add", "Cast", "Concat", "Constant", "Conv", "Gather", "Gemm", "Identity", "If", "LSTM", "Loop"];
const others = [
  "MatMul",
  "MatMulNBits",
  "Pad",
  "QuantizeLinear",
  "Reshape",
  "Scan",
  "Shape",
  "Slice",
  "Split",
  "Transpose",
];
const opTypes = [...operators, ...others, "DequantizeLinear", "Expand", "Einsum", "RandomNormal", "Nope", ...names];
const domains = ["", "ai.onnx", "com.microsoft", "ai.onnx.ml", "nobody", "__proto__"];
const axes = [
  "axis",
  "axes",
  "perm",
  "to",
  "group",
  "pads",
  "strides",
  "dilations",
  "kernel_shape",
  "hidden_size",
  "transB",
  "alpha",
];

const valueNames = ({ graphs, nodes }: Parts) => [
  ...graphs.flatMap((graph) => [...(graph.input ?? []), ...(graph.initializer ?? [])].map(({ name = "" }) => name)),
  ...nodes.flatMap((node) => node.output ?? []),
];

/** A name everywhere, as a careful editor would: the model stays sound where the name is. */
function rename(parts: Parts, from: string, to: string): void {
  const renamed = (list: string[] | undefined) => list?.map((name) => (name === from ? to : name)) ?? [];
  for (const node of parts.nodes) {
    node.input = renamed(node.input);
    node.output = renamed(node.output);
  }
  for (const named of [...parts.infos, ...parts.tensors]) if (named.name === from) named.name = to;
}

const random = (rng: Rng): AttributeProto => {
  const choices: AttributeProto[] = [
    { i: oddInteger(rng), type: 2 },
    { f: oddFloat(rng), type: 1 },
    { ints: oddList([0n, 1n], rng), type: 7 },
    { s: Uint8Array.of(255, 0, 65), type: 3 },
    { type: rng.int(16) },
    { g: { name: "empty" }, type: 5 },
    { refAttrName: pick(names, rng) as string, type: 2 },
    { t: { dims: [2n], dataType: 7, rawData: int64Bytes([1n << 40n, -1n]) }, type: 4 },
  ];
  return pick(choices, rng) as AttributeProto;
};

/** A function that calls others: itself, or the next one twice, and so on: 2^depth nodes when written out. */
function functions(rng: Rng, node: NodeProto): FunctionProto[] {
  // Few, or more than can be written out; what lies between takes long, and rightly so.
  const depth = rng.int(2) ? 1 + rng.int(8) : 20 + rng.int(40);
  const body = (name: string): NodeProto[] => [
    { opType: name, domain: "deep", input: ["a"], output: ["t"], name: "one" },
    { opType: name, domain: "deep", input: ["t"], output: ["b"], name: "two" },
  ];
  const last = rng.int(3) === 0 ? "f0" : "end";
  node.opType = "f0";
  node.domain = "deep";
  return [
    ...Array.from({ length: depth }, (_, i) => ({
      ...{ name: `f${i}`, domain: "deep", input: ["a"], output: ["b"] },
      node: body(i + 1 < depth ? `f${i + 1}` : last),
      opsetImport: [{ domain: "deep", version: 1n }],
    })),
    {
      ...{ name: "end", domain: "deep", input: ["a"], output: ["b"], attribute: [pick(names, rng) as string] },
      node: [{ opType: "Relu", input: ["a"], output: [rng.int(3) ? "b" : "c"] }],
      opsetImport: [{ domain: "", version: 21n }],
    },
  ];
}

/** If in If: each branch holds the next. */
function nested(depth: number, condition: string, inner: NodeProto): NodeProto {
  let node = inner;
  for (let level = 0; level < depth; level++) {
    const output = `r${level}`;
    const graph: GraphProto = { name: "g", node: [node], output: [{ name: node.output?.[0] ?? "" }] };
    node = {
      ...{ opType: "If", input: [condition], output: [output] },
      attribute: ["then_branch", "else_branch"]
        .map((name) => ({ name, type: 5, g: graph }))
        .slice(0, depth > 12 ? 1 : 2),
    };
  }
  return { ...node, output: inner.output ?? [] };
}

export const graphMutations: Readonly<Record<string, Structural>> = {
  "a name everywhere": (parts, rng) => {
    const from = pick(valueNames(parts), rng);
    if (from !== undefined) rename(parts, from, pick(rng.int(5) ? names : valueNames(parts), rng) as string);
  },
  "a name in one place": (parts, rng) => {
    const { nodes, infos, tensors, graphs, attributes } = parts;
    const named = pick<{ name?: string }>(pick([nodes, infos, tensors, graphs, attributes], rng), rng);
    if (named) named.name = pick(rng.int(2) ? names : valueNames(parts), rng) as string;
  },
  "twin names of nodes": ({ nodes }, rng) => {
    const name = pick([...names, pick(nodes, rng)?.name ?? ""], rng) as string;
    for (const node of nodes) if (rng.int(2)) node.name = name;
  },
  "an input of a node": (parts, rng) => {
    const node = pick(parts.nodes, rng);
    if (!node) return;
    const inputs = node.input ?? [];
    const at = rng.int(Math.max(1, inputs.length));
    const other = pick(valueNames(parts), rng) ?? "";
    const choices = [
      () => inputs.map((name, i) => (i === at ? other : name)),
      () => inputs.map((name, i) => (i === at ? "" : name)),
      () => inputs.filter((_, i) => i !== at),
      () => [...inputs, other],
      () => [...inputs, ...Array.from({ length: 2000 }, () => other)],
      () => [],
      // A cycle: what it makes, it reads.
      () => inputs.map((name, i) => (i === at ? (node.output?.[0] ?? "") : name)),
    ];
    node.input = (pick(choices, rng) as () => string[])();
  },
  "an output of a node": (parts, rng) => {
    const node = pick(parts.nodes, rng);
    if (!node) return;
    const outputs = node.output ?? [];
    const other = pick(valueNames(parts), rng) ?? "";
    node.output = pick(
      [[], [other], [...outputs, other], [...outputs, ...outputs], [""], [...outputs, ""]],
      rng,
    ) as string[];
  },
  "an edge that closes a circle": ({ bodies }, rng) => {
    const body = pick(bodies, rng);
    const early = body?.[rng.int(Math.max(1, body.length >> 1))];
    const late = body?.[body.length - 1 - rng.int(Math.max(1, body.length >> 1))];
    if (early?.input?.length && late?.output?.length)
      early.input[rng.int(early.input.length)] = late.output[0] as string;
  },
  "nodes in another order": ({ bodies }, rng) => void rng.shuffle(pick(bodies, rng) ?? []),
  "a node less, or twice": ({ bodies }, rng) => {
    const body = pick(bodies, rng);
    if (!body?.length) return;
    const at = rng.int(body.length);
    const node = body[at] as NodeProto;
    const copy = { ...node, output: (node.output ?? []).map((name) => `${name}2`) };
    body.splice(at, rng.int(2), ...(rng.int(2) ? [] : [node, copy]));
  },
  "another operator": ({ nodes }, rng) => {
    const node = pick(nodes, rng);
    if (!node) return;
    if (rng.int(3)) node.opType = pick(opTypes, rng) as string;
    if (rng.int(2)) node.domain = pick(domains, rng) as string;
  },
  "an attribute": ({ nodes, attributes }, rng) => {
    const attribute = pick(attributes, rng);
    const node = pick(nodes, rng);
    if (!attribute || rng.int(3) === 0) {
      node?.attribute?.push({ name: pick([...axes, ...names], rng) as string, ...random(rng) });
      if (node) node.attribute ??= [{ name: pick(axes, rng) as string, ...random(rng) }];
    } else if (attribute.ints && rng.int(2)) attribute.ints = oddList(attribute.ints, rng);
    else if (attribute.i !== undefined && rng.int(2)) attribute.i = oddInteger(rng);
    else if (attribute.f !== undefined && rng.int(2)) attribute.f = oddFloat(rng);
    else if (rng.int(4)) Object.assign(attribute, random(rng));
    else attribute.type = rng.int(20);
  },
  "an attribute less": ({ nodes }, rng) =>
    void pick(
      nodes.filter((node) => node.attribute?.length),
      rng,
    )?.attribute?.pop(),
  opsets: ({ model }, rng) => {
    const imports = model.opsetImport ?? [];
    const version = pick(
      [1n, 5n, 6n, 7n, 8n, 9n, 10n, 11n, 12n, 13n, 15n, 18n, 22n, 26n, 100n, 1n << 40n, 0n, -1n],
      rng,
    ) as bigint;
    const way = rng.int(6);
    if (way === 0) model.irVersion = oddInteger(rng);
    else if (way === 1) model.opsetImport = rng.int(2) ? [] : [...imports, ...imports];
    else model.opsetImport = [{ domain: pick(domains, rng) as string, version }, ...imports.slice(rng.int(2))];
  },
  functions: ({ model, nodes }, rng) => {
    const node = pick(nodes, rng);
    if (!node) return;
    model.functions = [...(model.functions ?? []), ...functions(rng, node)];
    model.opsetImport = [...(model.opsetImport ?? []), { domain: "deep", version: 1n }];
  },
  depth: ({ bodies }, rng) => {
    const body = pick(bodies, rng);
    const at = rng.int(Math.max(1, body?.length ?? 1));
    const inner = body?.[at];
    if (inner)
      body.splice(at, 1, nested(1 + rng.int(rng.int(3) ? 6 : 60), pick(["c", "high", "y", ""], rng) as string, inner));
  },
  "much of little": ({ model, bodies }, rng) => {
    const graph = model.graph;
    const node = pick(bodies[0], rng);
    if (!graph || !node) return;
    const power = BigInt(rng.int(2) ? rng.int(16) : 32 + rng.int(30));
    graph.initializer = [
      ...(graph.initializer ?? []),
      { name: "much", dims: [1n], dataType: 7, rawData: int64Bytes([1n << power]) },
    ];
    bodies[0]?.unshift({ opType: "ConstantOfShape", input: ["much"], output: ["zeros"], name: "zeros" });
    node.input = [...(node.input ?? []).slice(0, -1), "zeros"];
  },
  "inputs and outputs of the graph": ({ graphs }, rng) => {
    const graph = pick(graphs, rng);
    if (!graph) return;
    const { input = [], output = [], initializer = [] } = graph;
    const named = pick([...input, ...initializer, { name: "nothing" }], rng) as { name?: string };
    const info = { name: named.name ?? "", type: { tensorType: { elemType: 1 } } };
    const choices = [
      { output: [] },
      { output: [...output, ...output] },
      { output: [...output, info] },
      { input: [] },
      { input: [...input, info] },
      { input: [...input, ...input] },
      { node: [] },
      { initializer: initializer.slice(1) },
      { initializer: [...initializer, ...initializer.slice(0, 1)] },
    ];
    Object.assign(graph, pick(choices, rng));
  },
};
