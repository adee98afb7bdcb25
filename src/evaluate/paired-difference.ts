/** @file How far chance alone can move the difference of two models' metrics: from their differences sample by sample. */
import type { Sample } from "../data/dataset.ts";
import type { ChosenMetric } from "./choose-metric.ts";
import type { Outputs } from "./metric.ts";

/** Sees both models' outputs for the same samples. Memory does not grow with their number. */
export class PairedDifference {
  readonly #metric: ChosenMetric;
  #count = 0;
  #mean = 0;
  /** Sum of squared distances from the mean (Welford 1962). */
  #squares = 0;

  constructor(metric: ChosenMetric) {
    this.#metric = metric;
  }

  add(before: Outputs, after: Outputs, sample: Sample): void {
    const difference = this.#valueOf(after, sample) - this.#valueOf(before, sample);
    this.#count++;
    const distance = difference - this.#mean;
    this.#mean += distance / this.#count;
    this.#squares += distance * (difference - this.#mean);
  }

  /**
   * Standard error of the mean difference, in the metric's unit. Undefined below two samples, and for metrics that single
   * samples have no value of.
   */
  get standardError(): number | undefined {
    const error = Math.sqrt(this.#squares / (this.#count - 1) / this.#count);
    return this.#count > 1 && Number.isFinite(error) ? error : undefined;
  }

  #valueOf(outputs: Outputs, sample: Sample): number {
    const own = this.#metric.create();
    own.add(outputs, sample);
    try {
      return own.value();
    } catch {
      // A metric may need more than one sample, or classes of both kinds; then there is no error to tell.
      return Number.NaN;
    }
  }
}
