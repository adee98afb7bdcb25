/** @file What a pass is, and how passes are run until nothing changes. */
import type { Model } from "../ir/model.ts";
import { type Inference, infer } from "../ops/infer.ts";
import { invariant } from "../util/errors.ts";

export interface PassResult {
  /** The model itself where nothing was to be done, else an edited copy: a pass never changes what it is given. */
  readonly model: Model;
  readonly modified: boolean;
}

/**
 * A function from model to model that keeps what the model computes: run twice, it changes nothing the second time.
 * Inputs and outputs of the graph keep names, order and types.
 */
export type Pass<Options = undefined> = (model: Model, options?: Options) => PassResult;

/** A pass that needs a runtime. */
export type AsyncPass<Options = undefined> = (model: Model, options?: Options) => Promise<PassResult>;

/** A pass with its options bound, as {@link runPasses} takes it. */
export type BoundPass = (model: Model) => PassResult | Promise<PassResult>;

/** Copies that a run of passes works on: its passes change them in place instead of copying once more each. */
const owned = new WeakMap<Model, { inference?: Inference }>();

/** Lets `change` edit a copy of the model; it returns whether it changed anything. */
export function edit(model: Model, change: (copy: Model) => boolean): PassResult {
  const copy = editable(model);
  return change(copy) ? { model: copy, modified: true } : { model, modified: false };
}

/** A model that a pass may change: a copy, or the model itself where a run of passes has copied it already. */
export function editable(model: Model): Model {
  return owned.has(model) ? model : model.clone();
}

/** What is inferred of a model, kept in a run of passes until one of them changes it. */
export function inferOnce(model: Model): Inference {
  const state = owned.get(model);
  const inference = state?.inference ?? infer(model);
  if (state) state.inference = inference;
  return inference;
}

/** Rounds after which {@link runPasses} gives up; real models need two to five. */
const ROUND_LIMIT = 50;

/**
 * Runs passes in order, again and again until none of them changes anything, then those of `last` once, on one copy. A pass
 * that changes the copy and says it did not is a bug.
 * @param last what gives the others nothing more to do
 * @throws internal when they never settle
 */
export async function runPasses(
  model: Model,
  passes: readonly BoundPass[],
  last: readonly BoundPass[] = [],
): Promise<PassResult> {
  const copy = model.clone();
  owned.set(copy, {});
  let modified = false;
  let settled = 0;
  for (let i = 0; settled < passes.length; i++) {
    invariant(i < ROUND_LIMIT * passes.length, `passes still change the model after ${ROUND_LIMIT} rounds`);
    const result = await (passes[i % passes.length] as BoundPass)(copy);
    settled = result.modified ? 0 : settled + 1;
    modified ||= result.modified;
    if (result.modified) owned.set(copy, {});
  }
  for (const pass of last) modified = (await pass(copy)).modified || modified;
  owned.delete(copy);
  return { model: modified ? copy : model, modified };
}
