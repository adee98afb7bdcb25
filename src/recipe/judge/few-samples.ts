/** @file The few samples by which a result is judged by default: how many, and which. */
import {
  collect,
  type Dataset,
  datasetOf,
  type IndexedDataset,
  isIndexed,
  select,
  split,
  take,
} from "../../data/dataset.ts";
import type { Model } from "../../ir/model.ts";
import { modelCost } from "../../ops/cost.ts";
import { inferTypes } from "../../passes/infer-shapes.ts";
import { constantSizes } from "../../quantize/layers/constant-sizes.ts";
import type { Session } from "../../runtime/runtime.ts";
import { chooseInputs } from "../compare.ts";
import type { DataSpec, StepContext } from "../step.ts";

/** Samples at most. */
const MOST = 16;
/** Multiply-accumulates that judging may take, of the original: a second or two. */
const WORK = 2e10;
/** Without samples, models up to this many bytes of constants are judged on made-up inputs. */
const UP_TO_BYTES = 200 * 2 ** 20;
/** Made-up inputs. */
const MADE_UP = 4;

export interface FewSamples {
  /** What a repair tries its models on. */
  readonly search: Dataset;
  /** Others, by which its result is judged; the same where there are too few. */
  readonly judge: Dataset;
  readonly madeUp: boolean;
  /** Outputs that are floats. */
  readonly outputs: ReadonlySet<string>;
}

/**
 * Few samples of the step's own data, else of the recipe's, drawn by the seed; made-up inputs where there are none. Text where nothing
 * should be run.
 */
export async function fewSamples(
  model: Model,
  { inputs, outputs }: Session,
  spec: DataSpec | undefined,
  ctx: StepContext,
): Promise<FewSamples | string> {
  const floats = new Set(outputs.filter(({ dtype }) => dtype.startsWith("float")).map(({ name }) => name));
  if (floats.size === 0) return "no output is a float: give --data with labels to measure the result";
  const given = await ctx.data(spec, inputs);
  if (!given) {
    const bytes = [...constantSizes(model).values()].reduce((sum, size) => sum + size, 0);
    if (bytes > UP_TO_BYTES) return "no samples, and more than 200 MB of weights: give --data to measure the result";
    const search = chooseInputs(undefined, inputs, { samples: MADE_UP, seed: ctx.seed });
    return { search, judge: search, madeUp: true, outputs: floats };
  }
  const { macs = 0 } = modelCost(model, inferTypes(model));
  const count = Math.max(2, Math.min(MOST, Math.floor(WORK / Math.max(macs, 1))));
  const common = { madeUp: given.synthetic ?? false, outputs: floats };
  const most = isIndexed(given) ? undefined : datasetOf(given.name, await collect(take(given, 2 * count)));
  const known = most ?? (given as IndexedDataset);
  if (known.size < 2 * count) return { search: take(known, count), judge: take(known, count), ...common };
  // With as many as are wanted there is nothing to draw.
  const some = known.size === 2 * count ? known : (await split(known, 2 * count, ctx.seed))[0];
  const half = (first: number) =>
    select(
      some as IndexedDataset,
      Array.from({ length: count }, (_, at) => 2 * at + first),
    );
  return { search: half(0), judge: half(1), ...common };
}
