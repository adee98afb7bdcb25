/** @file Runs models in tests of the run tier, and compares what two of them compute. */
import type { Model } from "../src/ir/model.ts";
import { inProcessRuntime } from "../src/runtime/in-process.ts";
import type { Feeds, IoInfo, Outputs } from "../src/runtime/io.ts";
import type { Session } from "../src/runtime/runtime.ts";
import { type HostTensor, hostTensor } from "../src/tensor/host-tensor.ts";
import { elementCount, fromTypedArray, type Tensor, type TypedArray } from "../src/tensor/tensor.ts";
import { Rng } from "../src/util/rng.ts";
import { encode } from "./wire.ts";

const runtime = inProcessRuntime("ort-node");

/** Encodes a model, loads it as it is written, and passes the session to `use`. */
export async function withSession<T>(
  model: Model,
  use: (session: Session) => Promise<T>,
  optimization: "disabled" | "all" = "disabled",
): Promise<T> {
  const session = await runtime.create(encode(model), { threads: 1, optimization });
  try {
    return await use(session);
  } finally {
    await session.release();
  }
}

export function runModel(model: Model, feeds: Feeds, optimization?: "disabled" | "all"): Promise<Outputs> {
  return withSession(model, (session) => session.run(feeds), optimization);
}

/** What a model without inputs computes, in the order of its outputs: as constant folding wants it. */
export async function evaluate(model: Model): Promise<Tensor[]> {
  const outputs = await runModel(model, {});
  return model.graph.outputs.map(({ name }) => {
    const { dtype, dims, data } = outputs[name] as HostTensor;
    return fromTypedArray(dtype, dims, data as TypedArray);
  });
}

/** Inputs for a model: seeded, in [-1, 1] (integers 0 or 1); `dims` gives shapes by input name, other free sizes are 2. */
export function randomFeeds(
  inputs: readonly IoInfo[],
  seed: number,
  dims: Readonly<Record<string, readonly number[]>> = {},
): Feeds {
  const feeds = inputs.map(({ name, dtype, dims: declared }) => {
    const shape = dims[name] ?? declared.map((dim) => (typeof dim === "number" ? dim : 2));
    const rng = new Rng(seed, name);
    const isFloat = dtype.includes("float");
    const values = Float32Array.from({ length: elementCount(shape) }, () => {
      const x = rng.uniform() * 2 - 1;
      return isFloat ? x : Number(x > 0);
    });
    return [name, hostTensor(dtype, shape, values)] as const;
  });
  return Object.fromEntries(feeds);
}

/** Below this, magnitudes are rounding: a network that answers 1e-7 on noise can't be compared relative to that. */
const LEAST_SCALE = 1e-2;

/** The largest difference of two results, relative to the largest magnitude of the first; infinite where shapes differ. */
export function relativeError(expected: Outputs, actual: Outputs): number {
  let worst = 0;
  for (const [name, { dims, data }] of Object.entries(expected)) {
    const other = actual[name];
    if (!other || other.dims.join() !== dims.join()) return Number.POSITIVE_INFINITY;
    const [a, b] = [data, other.data].map((list) => Array.from(list as ArrayLike<number | bigint>, Number));
    let scale = LEAST_SCALE;
    let error = 0;
    a?.forEach((x, i) => {
      const y = b?.[i] as number;
      if (Object.is(x, y) || x === y) return;
      error = Math.max(error, Number.isNaN(x - y) ? Number.POSITIVE_INFINITY : Math.abs(x - y));
    });
    for (const x of a ?? []) if (Number.isFinite(x)) scale = Math.max(scale, Math.abs(x));
    worst = Math.max(worst, error / scale);
  }
  return worst;
}
