/** @file What a pass is, and how passes are run until nothing changes. */
import type { Model } from "../ir/model.ts";
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

/** Lets `change` edit a copy of the model; it returns whether it changed anything. */
export function edit(model: Model, change: (copy: Model) => boolean): PassResult {
  const copy = model.clone();
  return change(copy) ? { model: copy, modified: true } : { model, modified: false };
}

/** Rounds after which {@link runPasses} gives up; real models need two to five. */
const ROUND_LIMIT = 50;

/** Runs passes in order, again and again until a whole round changes nothing. @throws internal when they never settle. */
export async function runPasses(model: Model, passes: readonly BoundPass[]): Promise<PassResult> {
  let current = model;
  for (let round = 0; round < ROUND_LIMIT; round++) {
    let settled = true;
    for (const pass of passes) {
      const result = await pass(current);
      current = result.model;
      settled &&= !result.modified;
    }
    if (settled) return { model: current, modified: current !== model };
  }
  invariant(false, `passes still change the model after ${ROUND_LIMIT} rounds`);
}
