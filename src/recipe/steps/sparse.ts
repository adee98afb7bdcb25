/** @file Step: stores constants of mostly zeros sparsely, for targets that load them. The last step: nothing else looks into them. */
import * as z from "zod";
import { type SparseConstant, sparseInitializers } from "../../passes/sparse-initializers.ts";
import { targetSchema } from "../../targets/target.ts";
import { targetNamed, targets } from "../../targets/targets.ts";
import { TersorError } from "../../util/errors.ts";
import type { ModelSize, Step, StepReport } from "../step.ts";
import type { BeforeAfter } from "./compare.ts";

export const sparseOptions = z.strictObject({
  target: z
    .union([z.string().transform(targetNamed), targetSchema])
    .describe("where the model is to run: it must load them"),
  compressed: z.boolean().default(true).describe("measure the sizes after gzip and brotli"),
});

export interface SparseReport extends StepReport {
  readonly constants: readonly SparseConstant[];
  readonly size?: BeforeAfter<ModelSize>;
}

export const sparseStep: Step<typeof sparseOptions> = {
  name: "sparse",
  summary: "Store constants of mostly zeros sparsely, for targets that load them.",
  options: sparseOptions,
  needs: [],
  async run(model, options, ctx) {
    const { target, compressed } = options;
    if (!target.sparseInitializers)
      throw new TersorError(
        "bad-recipe",
        `sparse: target "${target.name}" does not load sparse initializers: expected one of ${loading.join(", ")}. Leave the step out: zeros compress well as they are.`,
      );
    const { model: result, constants } = sparseInitializers(model);
    const size =
      ctx.dryRun || constants.length === 0
        ? undefined
        : { before: await ctx.size(model, { compressed }), after: await ctx.size(result, { compressed }) };
    const stored = constants.reduce((sum, { after }) => sum + after, 0);
    const dense = constants.reduce((sum, { before }) => sum + before, 0);
    const brotli =
      size?.before.brotli !== undefined ? `; after brotli ${size.before.brotli} → ${size.after.brotli}` : "";
    const notes =
      constants.length > 0
        ? [`${constants.length} constants stored sparsely: ${dense} → ${stored} bytes${brotli}`]
        : ["no constant would be smaller: of float32, two thirds have to be zero"];
    return { model: result, report: (): SparseReport => ({ constants, ...(size && { size }), notes }) };
  },
};

const loading = targets.flatMap(({ name, sparseInitializers: loads }) => (loads ? [name] : []));
