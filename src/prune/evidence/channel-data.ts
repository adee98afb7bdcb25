/** @file The samples that criteria, sensitivity and recovery look at, and how models are run on them. */
import type { CalibrateOptions } from "../../calibrate/calibrate.ts";
import type { Dataset } from "../../data/dataset.ts";

export interface ChannelData extends CalibrateOptions {
  readonly data: Dataset;
}
