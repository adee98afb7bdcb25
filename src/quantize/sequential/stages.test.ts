/** @file Stages: layers that don't depend on each other share one, and no node is run twice. */
import { expect, test } from "vitest";
import { parse } from "../../ir/text/index.ts";
import { float32 } from "../../tensor/tensor.ts";
import { observable, observations } from "../weights/method-stats.ts";
import { join } from "./join.ts";
import { type JoinedLayer, START, Stages } from "./stages.ts";

const weights = (factor: number) => float32([4, 4], new Float32Array(16).fill(factor));

/** The same model with other weights: what quantization makes of it, as far as stages are concerned. */
const modelWith = (factor: number) =>
  observable(parse`(float[N,4] x) => (y) <float[4,4] a = ${weights(factor)}, float[4,4] b = ${weights(2 * factor)}, float[4,4] c = ${weights(3 * factor)}> {
    e = Exp(x) p = MatMul(e, a) q = MatMul(e, b) m = Mul(p, q) r = Relu(m) z = MatMul(r, c) y = Add(z, e) }`);

function stagesOf() {
  const [original, changed] = [modelWith(1), modelWith(7)];
  const joined = join(original, changed);
  const layers = [...observations(original)].map(([weight, { node, value, unfolding }]): JoinedLayer => {
    const name = node.output().name;
    const [before, after] = [joined.original(name)?.producer, joined.changed(name)?.producer];
    const read = after?.inputs[0];
    const own = joined.original(value.name);
    if (!before || !read || !own) throw new Error("not joined");
    return { weight, unfolding, original: own, changed: read, nodes: [before, after] };
  });
  return new Stages(joined.model, layers);
}

const opTypes = ({ model }: ReturnType<Stages["section"]>) => model.graph.nodes.map(({ opType }) => opType);

test("what both models share is there once, and a stage begins where the one before it ended", () => {
  const stages = stagesOf();
  expect(stages.count).toBe(2);
  const [first, second] = [stages.section(START, 0), stages.section(0, 1)];
  expect(first.layers.map(({ weight }) => weight)).toEqual(["a", "b"]);
  expect(opTypes(first)).toEqual(["Exp"]);
  expect(first.carried).toEqual(["e"]);
  expect(second.model.graph.inputs.map(({ name }) => name)).toEqual(["e"]);
  expect(second.layers.map(({ weight, changed }) => [weight, changed.name])).toEqual([["c", "quantized_r"]]);
  expect(opTypes(second)).toEqual(["MatMul", "MatMul", "Mul", "Relu", "MatMul", "MatMul", "Mul", "Relu"]);
  expect(second.carried).toEqual([]);
});

test("without what was carried over, a stage is run from the start", () => {
  const section = stagesOf().section(START, 1);
  expect(section.model.graph.inputs.map(({ name }) => name)).toEqual(["x"]);
  expect(opTypes(section).filter((opType) => opType === "Exp")).toHaveLength(1);
  expect(section.layers).toHaveLength(3);
});
