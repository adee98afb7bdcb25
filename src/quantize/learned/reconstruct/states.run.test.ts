/** @file Learned rounding of models whose states have their samples along another axis than the first. */
import { expect, test } from "vitest";
import { encode } from "../../../../test/wire.ts";
import { datasetOf } from "../../../data/dataset.ts";
import type { Model } from "../../../ir/model.ts";
import { parse } from "../../../ir/text/index.ts";
import { inProcessRuntime } from "../../../runtime/in-process.ts";
import { hostTensor } from "../../../tensor/host-tensor.ts";
import { float32 } from "../../../tensor/tensor.ts";
import { Rng } from "../../../util/rng.ts";
import { quantize } from "../../weights/quantize-weights.ts";
import { reconstruct } from "./reconstruct.ts";

const rng = new Rng(7, "states");
const normal = (...dims: number[]) => Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() * 0.4);

const runtime = inProcessRuntime("ort-node");

/** The rows that the float model is run with at once. */
async function rowsSeen(model: Model, state: readonly number[]): Promise<ReadonlySet<number>> {
  const samples = Array.from({ length: 12 }, (_, i) => ({
    id: `${i}`,
    inputs: {
      x: hostTensor("float32", [1, 32], normal(1, 32)),
      state: hostTensor("float32", state, normal(...state)),
    },
  }));
  const rows = new Set<number>();
  const open = async (each: Model) => {
    const session = await runtime.create(encode(each), { threads: 1 });
    const run: typeof session.run = (feeds, ...more) => {
      if (feeds.x) rows.add(feeds.x.dims[0] as number);
      return session.run(feeds, ...more);
    };
    return new Proxy(session, {
      get: (of, key) => (key === "run" ? run : bound(Reflect.get(of, key), of)),
    });
  };
  const { model: quantized } = quantize(model, { dtype: "int4", minElements: 1 });
  const options = { kind: "layer", iterations: 4, seed: 1 } as const;
  const env = { open, runtime, session: { threads: 1 }, batchSize: 6 };
  const { units } = await reconstruct(model, quantized, datasetOf("states", samples), options, env);
  expect(units).toHaveLength(1);
  return rows;
}

const bound = (value: unknown, of: object) => (typeof value === "function" ? value.bind(of) : value);

const net = (
  state: string,
) => parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,32] x, float[${state}] state) => (y)
  <float[32,32] w = ${float32([32, 32], Float32Array.from(normal(32, 32)))}, int64[1] first = {0}> {
  sum = ReduceSum <keepdims = 0> (state, first) a = Add(x, sum) m = MatMul(a, w) y = Tanh(m) }`;

test.each(["2,N,32", "layers,N,32"])(
  "a state [%s] is not joined along its first axis: samples are run one by one",
  async (state) => {
    expect(await rowsSeen(net(state), [2, 1, 32])).toEqual(new Set([1]));
  },
);

test.each(["N,32", "M,32"])("an input [%s] is joined with the others", async (state) => {
  const model = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,32] x, float[${state}] state) => (y)
    <float[32,32] w = ${float32([32, 32], Float32Array.from(normal(32, 32)))}> {
    a = Add(x, state) m = MatMul(a, w) y = Tanh(m) }`;
  expect(await rowsSeen(model, [1, 32])).toEqual(new Set([6]));
});
