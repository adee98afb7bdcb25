/** @file Step: fewer nodes that compute the same. */
import * as z from "zod";
import type { Model } from "../../ir/model.ts";
import type { Node } from "../../ir/node.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";
import { fixInputs } from "../../passes/fix-inputs.ts";
import type { FoldLevel } from "../../passes/fold-batch-norm/fold-batch-norm.ts";
import { callsLeft } from "../../passes/inline-functions.ts";
import { type SimplifyOptions, simplify, simplifyWithin } from "../../passes/simplify.ts";
import type { Session } from "../../runtime/runtime.ts";
import { parseOptions } from "../../util/options.ts";
import { chooseInputs, MADE_UP_SAMPLES, measureAgreement } from "../compare.ts";
import type { Step, StepContext } from "../step.ts";

export const simplifyOptions = z.strictObject({
  level: z
    .enum(["constants", "all"])
    .default("all")
    .describe(
      "constants: only make weights visible, inlining functions; all: fold constants and batch norms, take branches that are certain, remove what does nothing",
    ),
  fixDefaults: z
    .boolean()
    .default(true)
    .describe("weights that are listed as inputs too, as old exporters did, can no longer be overridden"),
  inputs: z
    .record(z.string(), z.union([z.number(), z.array(z.number())]))
    .optional()
    .describe(
      "inputs that always have the same value, such as a sampling rate: they become constants, and branches that follow are taken",
    ),
  tolerance: z
    .number()
    .positive()
    .max(1)
    .optional()
    .describe(
      "largest change of an output that folding may cause, as a share of the output's largest value, on the recipe's data or made-up inputs: what exceeds it is not folded; default: not checked, since what is quantized next changes far more",
    ),
});

const foldNotes: Readonly<Record<FoldLevel, string | undefined>> = {
  all: undefined,
  shifts: "what scales was not folded: the outputs would change by more than the tolerance",
  none: "nothing was folded into weights: the outputs would change by more than the tolerance",
};

/** A runtime is asked for only where more than shapes and small integers is to be folded, and with a tolerance. */
export const simplifyStep: Step<typeof simplifyOptions> = {
  name: "simplify",
  summary: "Inline functions, fold constants and batch norms, take certain branches, remove what does nothing.",
  options: simplifyOptions,
  exact: true,
  needs: [],
  async run(model, options, ctx) {
    const fixed = fixInputs(model, options.inputs ?? {}).model;
    const { model: simple, fold } = await simplifyChecked(fixed, options, ctx);
    const [before, after] = [model, simple].map((each) => ({
      nodes: each.graphs().reduce((sum, graph) => sum + graph.nodes.length, 0),
      defaults: each.graph.inputs.filter((input) => input.isConstant).length,
    }));
    const defaults = (before?.defaults ?? 0) - (after?.defaults ?? 0);
    const notes = defaults > 0 ? [`${defaults} weights were inputs with a default; they are constants now`] : [];
    const folded = foldNotes[fold];
    if (folded) notes.push(folded);
    notes.push(...functionNotes(fixed, simple));
    return { model: simple, report: () => ({ nodesBefore: before?.nodes, nodesAfter: after?.nodes, fold, notes }) };
  },
};

/** What became of the model's own functions. */
function functionNotes(before: Model, after: Model): string[] {
  const [calls, left] = [countCalls(before), callsLeft(after)];
  const inlined = calls > left.length;
  return [
    ...(inlined
      ? [`the model's functions stand in the place of their calls (${plural(calls - left.length, "call")})`]
      : []),
    ...left.map(({ node, reason }) => `left alone with all that is in it: ${node}: ${reason}`),
  ];
}

/** Calls in the graph and its subgraphs; those in the bodies of functions are not calls of the model's. */
function countCalls(model: Model): number {
  const { functions } = model;
  const isCall = ({ domain, opType, overload }: Node) =>
    functions.some((fn) => fn.domain === domain && fn.name === opType && fn.overload === overload);
  if (functions.length === 0) return 0;
  return model.graphs().reduce((sum, { nodes }) => sum + nodes.filter(isCall).length, 0);
}

const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** Without a tolerance, or where nothing may be run, everything is folded. */
async function simplifyChecked(
  model: Model,
  options: z.output<typeof simplifyOptions>,
  ctx: StepContext,
): Promise<{ readonly model: Model; readonly fold: FoldLevel }> {
  const evaluate = (constants: Model) => ctx.evaluate(constants);
  const { level, tolerance, fixDefaults } = options;
  if (tolerance === undefined || level === "constants" || ctx.dryRun)
    return { model: await simplifyForStep(model, options, evaluate), fold: "all" };
  const open = (each: Model) => ctx.open(each, { runtime: "ort-node", threads: 1 });
  const reference = await open(model);
  try {
    return await simplifyWithin(model, { fixDefaults, evaluate }, async (candidate) => {
      const session = await open(candidate);
      try {
        return (await largestChange(reference, session, ctx)) <= tolerance;
      } finally {
        await session.release();
        ctx.discard(candidate);
      }
    });
  } finally {
    await reference.release();
  }
}

/** Of any output, as a share of the output's largest value, on a few samples of the recipe's data or on made-up ones. */
async function largestChange(reference: Session, candidate: Session, ctx: StepContext): Promise<number> {
  const data = await ctx.data(undefined, reference.inputs);
  const inputs = chooseInputs(data, reference.inputs, { samples: MADE_UP_SAMPLES, seed: ctx.seed });
  const { fidelity } = await measureAgreement([reference, candidate], inputs, ctx);
  return Math.max(...Object.values(fidelity).map(({ maxRelativeError }) => maxRelativeError));
}

/** What the step makes of a model without a tolerance: `inspect` lists the layers of that. */
export async function simplifyForStep(
  model: Model,
  options: z.input<typeof simplifyOptions> | z.output<typeof simplifyOptions>,
  evaluate?: SimplifyOptions["evaluate"],
): Promise<Model> {
  const { level, fixDefaults } = parseOptions(simplifyOptions, options, "simplify");
  const result =
    level === "all" ? await simplify(model, { fixDefaults, ...(evaluate && { evaluate }) }) : exposeWeights(model);
  return result.model;
}
