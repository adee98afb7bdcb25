/** @file The steps of recipes: a new one is a file and a line here. */
import type { z } from "zod";
import type { Step } from "./step.ts";
import { compareStep } from "./steps/compare.ts";
import { distillStep } from "./steps/distill.ts";
import { dynamicStep } from "./steps/dynamic.ts";
import { equalizeStep } from "./steps/equalize.ts";
import { finetuneStep } from "./steps/finetune.ts";
import { float16Step } from "./steps/float16.ts";
import { pruneStep } from "./steps/prune.ts";
import { quantizeStep } from "./steps/quantize.ts";
import { shrinkStep } from "./steps/shrink.ts";
import { simplifyStep } from "./steps/simplify.ts";
import { sparseStep } from "./steps/sparse.ts";
import { staticStep } from "./steps/static.ts";

/** Types a row by its own schema, then forgets the type so that rows fit in one table. */
function row<Schema extends z.ZodObject>(step: Step<Schema>): Step {
  return step as unknown as Step;
}

/** Every step, in the order in which they are usually taken. */
export const steps: readonly Step[] = [
  row(simplifyStep),
  row(pruneStep),
  row(shrinkStep),
  row(finetuneStep),
  row(distillStep),
  row(equalizeStep),
  row(quantizeStep),
  row(staticStep),
  row(dynamicStep),
  row(float16Step),
  row(sparseStep),
  row(compareStep),
];
