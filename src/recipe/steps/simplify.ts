/** @file Step: fewer nodes that compute the same. */
import * as z from "zod";
import type { Model } from "../../ir/model.ts";
import { constantToInitializer } from "../../passes/constant-to-initializer.ts";
import { simplify } from "../../passes/simplify.ts";
import type { Step, StepContext } from "../../step.ts";

export const simplifyOptions = z.strictObject({
  level: z
    .enum(["constants", "all"])
    .default("all")
    .describe("constants: only make weights visible; all: fold constants and batch norms, remove what does nothing"),
  fixDefaults: z
    .boolean()
    .default(true)
    .describe("weights that are listed as inputs too, as old exporters did, can no longer be overridden"),
});

/** A runtime is asked for only where more than shapes and small integers is to be folded. */
export const simplifyStep: Step<typeof simplifyOptions> = {
  name: "simplify",
  summary: "Fold constants and batch norms, remove what does nothing.",
  options: simplifyOptions,
  needs: [],
  async run(model, options, ctx) {
    const simple = await simplifyForStep(model, options, (constants) => ctx.evaluate(constants));
    const [before, after] = [model, simple].map((each) => ({
      nodes: each.graphs().reduce((sum, graph) => sum + graph.nodes.length, 0),
      defaults: each.graph.inputs.filter((input) => input.isConstant).length,
    }));
    const fixed = (before?.defaults ?? 0) - (after?.defaults ?? 0);
    const notes = fixed > 0 ? [`${fixed} weights were inputs with a default; they are constants now`] : [];
    return { model: simple, report: () => ({ nodesBefore: before?.nodes, nodesAfter: after?.nodes, notes }) };
  },
};

/** What the step makes of a model: `inspect` lists the layers of that. */
export async function simplifyForStep(
  model: Model,
  options: z.input<typeof simplifyOptions>,
  evaluate?: StepContext["evaluate"],
): Promise<Model> {
  const { level, fixDefaults } = simplifyOptions.parse(options);
  const result =
    level === "all"
      ? await simplify(model, { fixDefaults, ...(evaluate && { evaluate }) })
      : constantToInitializer(model);
  return result.model;
}
