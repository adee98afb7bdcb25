/** @file Proof of a cut: the cut model against the one with zeros in place of what was removed. */
import { FidelityMeter } from "../../evaluate/fidelity.ts";
import type { Model } from "../../ir/model.ts";
import type { BlockResult } from "../../prune/blocks/prune-blocks.ts";
import type { ChannelResult } from "../../prune/channels/prune-channels.ts";
import { chooseInputs, sampleBatches } from "../compare.ts";
import type { StepContext } from "../step.ts";
import type { PruneStepOptions } from "./prune-options.ts";

export interface ProofReport {
  readonly data: string;
  /** Largest difference between the cut and the masked model (of a vocabulary, the original), as a share of the largest output. */
  readonly maxRelativeError: number;
  /** What rounding may add up to, and whether it stayed within that. */
  readonly bound?: number;
  readonly met?: boolean;
}

/** What sums in another order differ by: in float32, and where a model rounds to half floats or integers on its way. */
const EXACT = 1e-3;
const COARSE = 0.05;

const coarse: ReadonlySet<string> = new Set(["float16", "bfloat16", "int8", "uint8", "int4", "uint4"]);

function isCoarse(model: Model): boolean {
  return model
    .graphs()
    .some(
      ({ nodes, initializers }) =>
        nodes.some(({ opType }) => opType.includes("Quantize")) ||
        initializers.some(({ tensor }) => tensor && tensor.size > 1 && coarse.has(tensor.dtype)),
    );
}

/** Runs the cut model, before recovery, against the masked one. Graph optimizations are off: they would round differently. */
export async function prove(
  { plain, masked }: ChannelResult | BlockResult,
  options: PruneStepOptions,
  ctx: StepContext,
): Promise<{ readonly proof: ProofReport }> {
  const { data: spec, runtime, threads, samples, shapes } = options;
  const settings = { runtime, optimization: "disabled", ...(threads !== undefined && { threads }) } as const;
  const whole = masked();
  const reference = await ctx.open(whole, settings);
  try {
    const candidate = await ctx.open(plain, settings);
    try {
      const data = chooseInputs(await ctx.data(spec, reference.inputs), reference.inputs, {
        samples,
        shapes,
        seed: ctx.seed,
      });
      const meter = new FidelityMeter();
      for await (const { inputs } of sampleBatches(reference, data))
        meter.add(
          await reference.run(inputs, undefined, { signal: ctx.signal }),
          await candidate.run(inputs, undefined, { signal: ctx.signal }),
        );
      const maxRelativeError = Math.max(0, ...Object.values(meter.result()).map((each) => each.maxRelativeError));
      const bound = isCoarse(plain) ? COARSE : EXACT;
      return { proof: { data: data.name, maxRelativeError, bound, met: maxRelativeError <= bound } };
    } finally {
      await candidate.release();
    }
  } finally {
    await reference.release();
    ctx.discard(whole);
  }
}
