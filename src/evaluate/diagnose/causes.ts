/** @file The table of causes: why a changed model is worse. A row's order decides where noise does not. */
import type { CauseRow } from "./cause.ts";
import {
  channelOutlier,
  clipped,
  coarseGrid,
  expTail,
  mixedConcat,
  noData,
  saturation,
  unclipped,
  unusedRange,
} from "./causes/activations.ts";
import { float16Overflow, float16Underflow } from "./causes/float16.ts";
import { notFinite, preprocessing, shapeUnknown } from "./causes/model.ts";
import { biasOverflow, deadChannel, weightBits, weightOutlier } from "./causes/weights.ts";

export const causes: readonly CauseRow[] = [
  float16Overflow,
  notFinite,
  noData,
  preprocessing,
  biasOverflow,
  deadChannel,
  unclipped,
  channelOutlier,
  mixedConcat,
  weightOutlier,
  saturation,
  expTail,
  float16Underflow,
  clipped,
  unusedRange,
  coarseGrid,
  weightBits,
  shapeUnknown,
];
