/** @file Metrics, fidelity, latency, statistics of activations, probes of a machine. */
export { type CalibrateOptions, calibrate } from "../../calibrate/calibrate.ts";
export {
  type ChosenMetric,
  chooseMetric,
  type MetricFiles,
  type MetricSpec,
  metricForLabel,
  metricFrom,
} from "../../evaluate/choose-metric.ts";
export { decodeCtc, editDistance, parseCharset } from "../../evaluate/ctc.ts";
export { type Fidelity, FidelityMeter, fidelityOf } from "../../evaluate/fidelity.ts";
export {
  type Latency,
  type LatencyOptions,
  type LatencyRatio,
  type LatencyReport,
  measureLatency,
  type TimedRuns,
} from "../../evaluate/latency.ts";
export type { Metric, MetricAccumulator } from "../../evaluate/metric.ts";
export { metrics } from "../../evaluate/metrics.ts";
export type { ProbeFindings, ProbeOptions } from "../../evaluate/probe/findings.ts";
export { type ProbeReport, probe } from "../../evaluate/probe/probe.ts";
