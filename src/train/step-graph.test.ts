/** @file Tests of the step graph: what pruning left at zero stays, what begins at zero trains. */
import { expect, it } from "vitest";
import { parse } from "../ir/text/index.ts";
import { trainOptions } from "./options.ts";
import { trainingStep } from "./step-graph.ts";

const model = parse(`
  <ir_version: 10, opset_import: ["": 21]>
  net (float[N,2] x) => (float[N,3] y)
  <float[2,3] w = {1, 0, 2, 3, 4, 5}, float[3] b = {0, 0, 0}>
  { z = MatMul(x, w) y = Add(z, b) }
`);

it("keepZeros holds pruned weights, and lets a bias of zeros train", () => {
  const settings = trainOptions.parse({});
  const options = { ...settings, losses: settings.loss, parameters: ["w", "b"], shapes: { x: [4, 2] } };
  const producers = (keepZeros: boolean) => {
    const { graph } = trainingStep(model, { ...options, keepZeros }).model;
    return ["w.next", "b.next"].map((name) => graph.find(name)?.producer?.opType);
  };
  expect(producers(true)).toEqual(["Where", "Sub"]);
  expect(producers(false)).toEqual(["Sub", "Sub"]);
});
