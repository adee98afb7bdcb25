/** @file The table of ways to choose a range. Adding one is a file and a row. */
import type { Collector, Range } from "../collector.ts";
import { entropy } from "./entropy.ts";
import { minMax } from "./min-max.ts";
import { movingAverage } from "./moving-average.ts";
import { mse } from "./mse.ts";
import { percentile } from "./percentile.ts";

export interface RangeMethod {
  /** Absent where it is everyone's. */
  readonly paper?: string;
  /** One line for help and documents. */
  readonly summary: string;
  /** @param percentile share of the values that the method of that name keeps, in percent */
  create(settings: { readonly percentile: number }): Collector<Range>;
}

export const rangeMethods = {
  "min-max": { summary: "all that was seen", create: () => minMax() },
  "moving-average": {
    paper: "Jacob et al. 2018, https://arxiv.org/abs/1712.05877",
    summary: "means of the batches' smallest and largest values, in which old batches fade",
    create: () => movingAverage(),
  },
  percentile: {
    summary: "what a share of the values lies in; the rest is cut off at both ends alike",
    create: ({ percentile: share }) => percentile(share),
  },
  entropy: {
    paper:
      "Migacz 2017, https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf",
    summary: "keeps most of the distribution's information, by Kullback-Leibler divergence",
    create: () => entropy(),
  },
  mse: {
    paper: "Sung et al. 2015, https://arxiv.org/abs/1511.06488",
    summary: "the least squared error over a histogram",
    create: () => mse(),
  },
} as const satisfies Readonly<Record<string, RangeMethod>>;

export type RangeName = keyof typeof rangeMethods;
export const rangeNames = Object.keys(rangeMethods) as [RangeName, ...RangeName[]];
