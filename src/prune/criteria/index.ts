/** @file The criteria: a new one is a file and a line here. */
import { activationNorm } from "./activation-norm.ts";
import { bnGamma } from "./bn-gamma.ts";
import type { Criterion } from "./criterion.ts";
import { fisher } from "./fisher.ts";
import { fpgm } from "./fpgm.ts";
import { l1 } from "./l1.ts";
import { l2 } from "./l2.ts";
import { obd } from "./obd.ts";
import { random } from "./random.ts";
import { taylor } from "./taylor.ts";
import { wanda } from "./wanda.ts";

export const criteria = {
  l1,
  l2,
  "bn-gamma": bnGamma,
  fpgm,
  "activation-norm": activationNorm,
  wanda,
  taylor,
  fisher,
  obd,
  random,
} as const satisfies Record<string, Criterion>;

export type CriterionName = keyof typeof criteria;
export const criterionNames = Object.keys(criteria) as [CriterionName, ...CriterionName[]];
