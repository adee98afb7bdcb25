/** @file Tests of Graph: the edits keep links, names and order consistent. */
import { describe, expect, it } from "vitest";
import { float32 } from "../tensor/tensor.ts";
import { attr } from "./attribute.ts";
import { Graph } from "./graph.ts";
import type { Model } from "./model.ts";
import type { Node } from "./node.ts";
import { parse, print } from "./text/index.ts";
import type { Value } from "./value.ts";

const named = (graph: Graph, name: string): Value => {
  const value = graph.find(name);
  if (!value) throw new Error(`no value ${name}`);
  return value;
};
const producerOf = (graph: Graph, name: string): Node => {
  const { producer } = named(graph, name);
  if (!producer) throw new Error(`nothing computes ${name}`);
  return producer;
};
const bodyOf = ({ graph }: Model): string => print(graph).replace(/^[^{]*\{\n?|\n?\}$/g, "");
const usesOf = (value: Value): string[] => [...value.uses].map((use) => `${use.node.opType}:${use.index}`);

describe("links", () => {
  it("know producers, uses and outputs", () => {
    const { graph } = parse`(x, w) => (y) { a = Mul(x, x) y = Add(a, w) }`;
    expect(usesOf(named(graph, "x"))).toEqual(["Mul:0", "Mul:1"]);
    expect(named(graph, "x").users()).toHaveLength(1);
    expect(named(graph, "a").producer?.opType).toBe("Mul");
    expect([named(graph, "y").isOutput, named(graph, "y").isUnused]).toEqual([true, false]);
    expect(named(graph, "x").isInput).toBe(true);
  });

  it("follow a changed input; missing inputs at the end are dropped", () => {
    const { graph } = parse`(x, w, b) => (y) { y = Op(x, w, b) }`;
    const node = producerOf(graph, "y");
    node.setInput(1, undefined);
    expect(print(node)).toBe('y = Op(x, "", b)');
    node.setInput(2, undefined);
    expect(print(node)).toBe("y = Op(x)");
    node.setInput(4, named(graph, "b"));
    expect(print(node)).toBe('y = Op(x, "", "", "", b)');
    node.setInputs([named(graph, "w")]);
    expect(print(node)).toBe("y = Op(w)");
    expect([usesOf(named(graph, "x")), usesOf(named(graph, "b"))]).toEqual([[], []]);
  });

  it("reach from a subgraph to the graph around", () => {
    const { graph } = parse`(c, x) => (y) { y = If(c) <then_branch = () => (a) { a = Neg(x) }> }`;
    expect(usesOf(named(graph, "x"))).toEqual(["Neg:0"]);
    graph.setOutput(0, named(graph, "x"));
    graph.removeNodes(graph.nodes);
    expect(usesOf(named(graph, "x"))).toEqual([]);
  });
});

describe("names", () => {
  it("are unique in a model, but two branches may use the same", () => {
    const { graph } =
      parse`(c) => (y) { y = If(c) <then_branch = () => (a) { a = A() }, else_branch = () => (a) { a = B() }> }`;
    expect(graph.uniqueName("a")).toBe("a_1");
    expect(graph.addValue("y").name).toBe("y_1");
    expect(() => graph.declare("y")).toThrow('value "y": defined twice');
    graph.setOutput(0, graph.addValue("z"));
    graph.removeNodes(graph.nodes);
    expect(graph.uniqueName("a")).toBe("a");
  });

  it("move with a renamed value and become free", () => {
    const { graph } = parse`(x) => (y) { a = Neg(x) y = Abs(a) }`;
    graph.rename(named(graph, "a"), "b");
    expect(graph.nodes.map((node) => print(node))).toEqual(["b = Neg(x)", "y = Abs(b)"]);
    expect([graph.find("a"), graph.uniqueName("a"), graph.uniqueName("b")]).toEqual([undefined, "a", "b_1"]);
    expect(() => graph.rename(named(graph, "b"), "x")).toThrow('value name "x" is taken');
  });

  it("of new nodes' outputs come from the node", () => {
    const graph = new Graph("g");
    const names = ["relu1", "", ""].map((name) => graph.addNode({ opType: "Relu", inputs: [], name }).output().name);
    expect(names).toEqual(["relu1", "relu", "relu_1"]);
    expect(graph.addInitializer("w", float32([1], [1])).isConstant).toBe(true);
  });

  it("are found fast when thousands share a hint", () => {
    const graph = new Graph("g");
    const start = performance.now();
    for (let i = 0; i < 20_000; i++) graph.addValue("scale");
    expect(graph.find("scale_19999")).toBeDefined();
    expect(performance.now() - start).toBeLessThan(1000);
  });
});

describe("addNode", () => {
  it("puts a node before or after another", () => {
    const model = parse`(x) => (y) { a = A(x) y = B(a) }`;
    const { graph } = model;
    const [a, b] = graph.nodes as [Node, Node];
    graph.addNode({ opType: "First", inputs: [] }, { before: a });
    graph.addNode({ opType: "Middle", inputs: [a.output()], attributes: { axis: attr.int(1) } }, { after: a });
    graph.addNode({ opType: "AlsoMiddle", inputs: [] }, { before: b });
    expect(graph.nodes.map((node) => node.opType)).toEqual(["First", "A", "Middle", "AlsoMiddle", "B"]);
  });

  it("refuses a value that is computed already", () => {
    const { graph } = parse`(x) => (y) { y = A(x) }`;
    expect(() => graph.addNode({ opType: "B", inputs: [], outputs: [named(graph, "y")] })).toThrow(
      "already has a producer",
    );
    expect(graph.nodes).toHaveLength(1);
  });

  it("refuses a neighbour of another graph", () => {
    const { graph } = parse`(x) => (y) { y = A(x) }`;
    const before = parse`(x) => (y) { y = A(x) }`.graph.nodes[0] as Node;
    expect(() => graph.addNode({ opType: "B", inputs: [] }, { before })).toThrow("not in graph");
  });
});

describe("removeNodes", () => {
  it("removes a chain, whatever the order, and all it made", () => {
    for (const order of [(nodes: Node[]) => nodes, (nodes: Node[]) => nodes.reverse()]) {
      const model = parse`(x) => (y) { a = A(x) b, "", c = B(a) d = C(b, a) y = Y(x) }`;
      const { graph } = model;
      graph.removeNodes(order(["a", "b", "d"].map((name) => producerOf(graph, name))));
      expect(bodyOf(model)).toBe("  y = Y(x)");
      expect([...graph.values].map((value) => value.name)).toEqual(["x", "y"]);
      expect(usesOf(named(graph, "x"))).toEqual(["Y:0"]);
    }
  });

  it("removes nothing when something is still used", () => {
    const model = parse`(x) => (y) { a = A(x) y = Y(a) }`;
    const before = print(model);
    expect(() => model.graph.removeNodes([producerOf(model.graph, "a")])).toThrow('its output "a" is still used');
    expect(() => model.graph.removeNodes(model.graph.nodes)).toThrow('its output "y" is still used');
    expect(print(model)).toBe(before);
  });

  it("counts uses inside the removed nodes' subgraphs as removed", () => {
    const model = parse`(c, x) => (y) {
      a = A(x)
      b = If(c) <then_branch = () => (t) { t = If(c) <then_branch = () => (u) { u = Neg(a) }> }>
      y = Y(x)
    }`;
    const { graph } = model;
    expect(() => graph.removeNodes([producerOf(graph, "a")])).toThrow("still used");
    graph.removeNodes([producerOf(graph, "a"), producerOf(graph, "b")]);
    expect(bodyOf(model)).toBe("  y = Y(x)");
    expect(usesOf(named(graph, "c"))).toEqual([]);
    expect(["t", "u"].map((name) => graph.uniqueName(name))).toEqual(["t", "u"]);
  });
});

describe("replaceUses", () => {
  it("moves uses, also those in subgraphs", () => {
    const model = parse`(c, x) => (y) { a = A(x) b = B(x) y = If(c, a) <then_branch = () => (t) { t = Neg(a) }> }`;
    model.graph.replaceUses(named(model.graph, "a"), named(model.graph, "b"));
    expect(print(producerOf(model.graph, "y"))).toContain("t = Neg(b)");
    expect(usesOf(named(model.graph, "a"))).toEqual([]);
  });

  it("keeps the name and type of a graph's output", () => {
    const model = parse`(x) => (float[2] y) { a = A(x) y = Identity(a) }`;
    const { graph } = model;
    graph.replaceUses(named(graph, "y"), named(graph, "a"));
    graph.removeNodes(graph.nodes.slice(1));
    expect(print(graph)).toBe("graph (x) => (float[2] y) {\n  y = A(x)\n}");
  });

  it.each([
    ["an input", "(x) => (y) { y = A(x) }", "x", "y = Identity(x)"],
    ["a constant", "() => (y) <float[1] w = {1}> { y = A(w) }", "w", "y = Identity(w)"],
    ["another output", "(x) => (y, z) { y = A(x) z = B(x) }", "z", "y = Identity(z)"],
  ])("puts an Identity before an output that becomes %s", (_, text, to, expected) => {
    const { graph } = parse(text);
    const old = producerOf(graph, "y");
    graph.replaceUses(named(graph, "y"), named(graph, to));
    graph.removeNodes([old]);
    expect(print(producerOf(graph, "y"))).toBe(expected);
    expect(graph.outputs[0]?.name).toBe("y");
  });

  it("replaces a constant that is an output", () => {
    const { graph } = parse`() => (w) <float[1] w = {1}, float[1] v = {2}> {}`;
    graph.replaceUses(named(graph, "w"), named(graph, "v"));
    expect(print(parse(print(graph)).graph)).toBe(
      "graph () => (float[1] w)\n<float[1] v = {2}>\n{\n  w = Identity(v)\n}",
    );
  });
});

describe("sort", () => {
  it("keeps the present order where it can", () => {
    const { graph } = parse`(c, x) => (y) {
      y = If(c) <then_branch = () => (t) { t = Neg(late) }, else_branch = () => (e) { e = Abs(x) }>
      d = D(x)
      late = L(b)
      a = A(x)
      b = B(a, d)
    }`;
    graph.sort();
    expect(graph.nodes.map((node) => node.opType)).toEqual(["D", "A", "B", "L", "If"]);
  });

  it("names a node on a cycle and leaves the order", () => {
    const { graph } = parse`(x) => (y) { y = Y(b) [n] a = A(b) b = B(a) }`;
    expect(() => graph.sort()).toThrow("a cycle");
    expect(graph.nodes.map((node) => node.opType)).toEqual(["Y", "A", "B"]);
  });

  it("sorts ten thousand nodes in well under a second", () => {
    const graph = new Graph("g");
    let value = graph.addInitializer("w", float32([1], [1]));
    const chain = Array.from({ length: 10_000 }, () => graph.addValue("v"));
    for (const next of chain.reverse()) {
      graph.addNode({ opType: "Neg", inputs: [value], outputs: [next] }, graph.nodes[0] && { before: graph.nodes[0] });
      value = next;
    }
    const start = performance.now();
    graph.sort();
    expect(performance.now() - start).toBeLessThan(1000);
    expect(graph.nodes[0]?.input(0).name).toBe("w");
  });
});

describe("clone", () => {
  it("copies everything and shares only tensors", () => {
    const model = parse`<ir_version: 9, opset_import: ["": 18], producer_name: "p", producer_version: "1", domain: "d", model_version: 3,
        doc_string: "doc", metadata_props: ["k": "v"], unknown: x"00">
      g [doc_string: "g"] (float[N] x, bool c) => (y [doc_string: "out"]) <float[1] w = {1}> {
        [n, doc_string: "node"] y = If(c) <then_branch = () => (a) { a = Add(x, w) }, else_branch = () => (a) { a = Sub(x, w) }>
      }
      <domain: "my"> f <a> (x) => (y) { y = Neg(x) }`;
    const copy = model.clone();
    expect(print(copy)).toBe(print(model));
    expect(named(copy.graph, "w").tensor).toBe(named(model.graph, "w").tensor);
    expect(usesOf(named(copy.graph, "x"))).toEqual(["Add:0", "Sub:0"]);
    const text = print(model);
    copy.graph.rename(named(copy.graph, "w"), "v");
    copy.graphs()[1]?.addNode({ opType: "New", inputs: [] });
    copy.functions[0]?.graph.removeInput(copy.functions[0].graph.inputs[0] as Value);
    copy.metadata.set("k", "other");
    expect(print(model)).toBe(text);
  });
});
