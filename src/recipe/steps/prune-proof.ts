/** @file Proof of a cut: the cut model against the one with zeros in place of what was removed. */
import { FidelityMeter } from "../../evaluate/fidelity.ts";
import type { BlockResult } from "../../prune/blocks/prune-blocks.ts";
import type { ChannelResult } from "../../prune/prune-channels.ts";
import type { StepContext } from "../../step.ts";
import { chooseInputs, sampleBatches } from "../compare.ts";
import type { PruneStepOptions } from "./prune-options.ts";

/** Runs the cut model, before recovery, against the masked one. Graph optimizations are off: they would round differently. */
export async function prove(
  { plain, masked }: ChannelResult | BlockResult,
  options: PruneStepOptions,
  ctx: StepContext,
) {
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
      return { proof: { data: data.name, maxRelativeError } };
    } finally {
      await candidate.release();
    }
  } finally {
    await reference.release();
    ctx.discard(whole);
  }
}
