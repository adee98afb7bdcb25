/** @file A proof that fails is a bound that was missed. */
import { expect, it } from "vitest";
import { encode } from "../../../test/wire.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import type { ChannelResult } from "../../prune/channels/prune-channels.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { boundsMet } from "../run-steps.ts";
import type { StepContext } from "../step.ts";
import { pruneStepOptions } from "./prune-options.ts";
import { prove } from "./prune-proof.ts";

const doubled = (factor: number) => parse`(float[1,4] x) => (y) <float f = {${factor}}> { y = Mul(x, f) }`;

it.each([
  [2, true],
  [2.000002, true],
  [2.01, false],
])("the masked model multiplies by %d, the cut one by 2: proved is %s", async (factor, met) => {
  const ctx = {
    open: (model: Model) => inProcessRuntime("ort-node").create(encode(model), { threads: 1 }),
    data: async () => undefined,
    discard: () => {},
    seed: 0,
    signal: new AbortController().signal,
  } as unknown as StepContext;
  const result = { plain: doubled(2), masked: () => doubled(factor) } as unknown as ChannelResult;
  const { proof } = await prove(result, pruneStepOptions.parse({ ratio: 0.5 }), ctx);
  expect(proof.met).toBe(met);
  expect(boundsMet([{ step: "prune", options: {}, report: { proof } }])).toBe(met);
});
