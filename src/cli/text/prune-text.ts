/** @file What pruning did, as a person reads it: what was saved, the groups or layers, what stayed and why. */
import type { PruneStepReport } from "../../recipe/steps/prune-report.ts";
import {
  type Column,
  formatBytes,
  formatChange,
  formatCount,
  formatDims,
  type Palette,
  printable,
  renderTable,
  truncateMiddle,
} from "./render.ts";

const ROWS = 20;
const NAMES = 3;
const NAME_WIDTH = 40;

export function pruneText(report: PruneStepReport, width: number, colors: Palette): string {
  const { notes = [] } = report;
  return [
    savings(report),
    ...groupTable(report, width, colors),
    ...blockTable(report, width, colors),
    ...layerTable(report, width, colors),
    ...triedText(report, colors),
    ...reasonsText("Can't be cut", report.kept, colors),
    ...reasonsText("Not made up for", report.unrecovered, colors),
    ...sensitivityTable(report, width, colors),
    ...scheduleTable(report, width, colors),
    ...(notes.length > 0 ? ["", colors.bold("Notes"), ...notes.map((note) => `  ${printable(note)}`)] : []),
  ].join("\n");
}

function savings({ approach, macs, params, size, proof, layers, latency, vocabulary }: PruneStepReport): string {
  const change = (name: string, before: number, after: number, format: (x: number) => string) =>
    `${name} ${format(before)} → ${format(after)} (${formatChange(before, after)})`;
  const lines = [
    ...(vocabulary
      ? [
          `tokens ${vocabulary.before} → ${vocabulary.after}, of which the corpus has ${vocabulary.inCorpus}; narrowed: ${vocabulary.outputs.map(printable).join(", ") || "no output"}`,
        ]
      : []),
    ...(macs ? [change("MACs", macs.before, macs.after, formatCount)] : []),
    ...(layers ? [zerosOf(layers)] : [change("parameters", params.before, params.after, formatCount)]),
    ...(size?.before.brotli !== undefined && size.after.brotli !== undefined
      ? [change("after brotli", size.before.brotli, size.after.brotli, formatBytes)]
      : []),
    ...(approach ? [chosenBy(approach), ...judgedText(approach)] : []),
    ...(latency
      ? [
          `latency ${percent(latency.measured, 1)} less (middle half of the rounds ${percent(latency.low, 1)} to ${percent(latency.high, 1)}; layers alone: ${percent(latency.predicted, 1)}), ${printable(latency.table.measuredWith)}`,
        ]
      : []),
    ...(proof
      ? [
          `cut and ${vocabulary ? "original" : "masked"} model differ by ${proof.maxRelativeError.toExponential(1)} at most (${printable(proof.data)})${proof.met === false ? `: more than rounding adds up to (${proof.bound}): the cut is wrong. Please report it with the model` : ""}`,
        ]
      : []),
  ];
  return lines.join("\n");
}

const scopes = {
  layer: "the same share of every layer",
  global: "over the whole model",
  sensitivity: "shares by what the outputs lose",
};
const recoveries = {
  none: "nothing makes up for them",
  mean: "their means are in the next biases",
  "least-squares": "the next weights are solved anew",
};

type Approach = NonNullable<PruneStepReport["approach"]>;

function chosenBy({ criteria, ranking, recover }: Approach): string {
  return `channels by ${criteria.join(", then ") || "nothing"}, ${scopes[ranking]}; ${recoveries[recover]}`;
}

/** How far the outputs are from the original's. */
function judgedText(approach: Approach): string[] {
  const { judged } = approach;
  if (!judged) return [];
  const { sqnr, samples, isApart } = judged;
  const which = isApart ? "that nothing else looked at" : "that it was made with";
  return [`outputs ${decibels(sqnr)} from the original's, on ${samples} samples ${which}${afterwards(approach)}`];
}

/** Once a way is chosen, what judged it is calibrated on as well. */
function afterwards({ tried, recover, judged }: Approach): string {
  return tried && judged?.isApart && recover === "least-squares" ? "; then weights were solved on these too" : "";
}

const decibels = (sqnr: number) => (Number.isFinite(sqnr) ? `${sqnr.toFixed(1)} dB` : "nothing");

/** A line for each way that was tried. */
function triedText({ approach }: PruneStepReport, colors: Palette): string[] {
  const tried = approach?.tried ?? [];
  if (tried.length === 0) return [];
  const lines = tried.map(({ criteria, ranking, sqnr, reason, kept }) => {
    const what = sqnr === undefined ? `not tried: ${printable(reason ?? "")}` : decibels(sqnr);
    return `  ${criteria.join()}, ${scopes[ranking]}: ${what}${kept ? ", kept" : ""}`;
  });
  const before = approach?.triedWith !== approach?.recover ? " before anything made up for it" : "";
  return ["", colors.bold(`Tried, and how far the outputs were${before}`), ...lines];
}

function zerosOf(layers: NonNullable<PruneStepReport["layers"]>): string {
  const sum = (pick: (layer: (typeof layers)[number]) => number) => layers.reduce((all, layer) => all + pick(layer), 0);
  const [zeros, weights] = [sum((layer) => layer.zeros), sum((layer) => layer.weights)];
  return `${formatCount(zeros)} of ${formatCount(weights)} weights are zero (${percent(zeros, weights)})`;
}

function percent(part: number, whole: number): string {
  return `${whole > 0 ? ((100 * part) / whole).toFixed(1) : "0"} %`;
}

function groupTable({ groups = [] }: PruneStepReport, width: number, colors: Palette): string[] {
  if (groups.length === 0) return [];
  const columns: Column[] = [
    { title: "layers that make the channels", shrink: true },
    { title: "channels", align: "right" },
    { title: "stay", align: "right" },
    { title: "" },
  ];
  const rows = groups
    .slice(0, ROWS)
    .map(({ name, channels, removed, reason }) => [
      printable(name),
      String(channels),
      String(channels - removed),
      reason ? printable(reason) : "",
    ]);
  return ["", colors.bold(titled("Groups", groups.length)), renderTable(columns, rows, { width, colors })];
}

function blockTable({ blocks = [] }: PruneStepReport, width: number, colors: Palette): string[] {
  if (blocks.length === 0) return [];
  const columns: Column[] = [
    { title: "residual block", shrink: true },
    { title: "MACs", align: "right" },
    { title: "parameters", align: "right" },
    { title: "score", align: "right" },
    { title: "" },
  ];
  const rows = blocks
    .slice(0, ROWS)
    .map(({ name, macs, params, score, removed, reason }) => [
      printable(name),
      formatCount(macs),
      formatCount(params),
      score?.toPrecision(3) ?? "",
      removed ? "removed" : printable(reason ?? ""),
    ]);
  return ["", colors.bold(titled("Blocks", blocks.length)), renderTable(columns, rows, { width, colors })];
}

function layerTable({ layers = [] }: PruneStepReport, width: number, colors: Palette): string[] {
  if (layers.length === 0) return [];
  const columns: Column[] = [
    { title: "#", align: "right" },
    { title: "layer", shrink: true },
    { title: "operator", optional: true },
    { title: "weight", shrink: true },
    { title: "zero", align: "right" },
    { title: "" },
  ];
  const rows = layers
    .slice(0, ROWS)
    .map(({ index, name, opType, dims, zeros, weights, reason }) => [
      String(index),
      printable(name),
      opType,
      formatDims(dims),
      percent(zeros, weights),
      reason ? printable(reason) : "",
    ]);
  return ["", colors.bold(titled("Layers", layers.length)), renderTable(columns, rows, { width, colors })];
}

/** A row for each group: SQNR, or the metric, at every share. */
function sensitivityTable({ sensitivity }: PruneStepReport, width: number, colors: Palette): string[] {
  if (!sensitivity) return [];
  const { ratios, groups, metric, data, samples } = sensitivity;
  const unit = metric ? `${metric.name}${metric.unit && `, ${metric.unit}`}` : "SQNR, dB";
  const columns: Column[] = [
    { title: "layers that make the channels", shrink: true },
    { title: "channels", align: "right" },
    ...ratios.map((ratio): Column => ({ title: percent(ratio, 1), align: "right" })),
  ];
  const cell = ({ sqnr, metric: judged }: (typeof groups)[number]["points"][number]) =>
    judged === undefined ? (Number.isFinite(sqnr) ? sqnr.toFixed(1) : "same") : judged.toFixed(2);
  const rows = groups.map(({ name, channels, points }) => [printable(name), String(channels), ...points.map(cell)]);
  const whole = metric ? `; whole: ${metric.whole.toFixed(2)}` : "";
  const title = `Sensitivity: ${unit} with a share of one group's channels gone (${samples} samples of ${printable(data)}${whole})`;
  return ["", colors.bold(title), renderTable(columns, rows, { width, colors })];
}

/** A row for each step: what was to be gone, and what training made of it. */
function scheduleTable({ schedule = [] }: PruneStepReport, width: number, colors: Palette): string[] {
  if (schedule.length === 0) return [];
  const metric = schedule.find(({ training }) => training?.validation)?.training?.validation?.metric;
  const columns: Column[] = [
    { title: "step", align: "right" },
    { title: "removed", align: "right" },
    { title: "loss", align: "right" },
    { title: metric ? `${metric.name} before` : "", align: "right" },
    { title: metric ? "trained" : "", align: "right" },
  ];
  const number = (x: number | undefined) => (x === undefined ? "" : x.toPrecision(4));
  const rows = schedule.map(({ ratio, training }, i) => [
    `${i + 1}`,
    ratio === undefined ? "" : percent(ratio, 1),
    number(training?.history.at(-1)?.loss),
    number(training?.validation?.before),
    number(training?.validation?.after),
  ]);
  return ["", colors.bold("Steps"), renderTable(columns, rows, { width, colors })];
}

function titled(what: string, count: number): string {
  return count > ROWS ? `${what} (the first ${ROWS} of ${count}; the manifest has all)` : what;
}

/** One line per reason: which layers. */
function reasonsText(
  title: string,
  given: readonly { readonly layer: string; readonly reason: string }[] | undefined,
  colors: Palette,
): string[] {
  const byReason = new Map<string, string[]>();
  for (const { layer, reason } of given ?? []) byReason.set(reason, [...(byReason.get(reason) ?? []), layer]);
  const lines = [...byReason].map(([reason, own]) => {
    const layers = [...new Set(own)];
    const names = layers.slice(0, NAMES).map((name) => truncateMiddle(printable(name), NAME_WIDTH));
    const more = layers.length > NAMES ? `, … ${layers.length - NAMES} more` : "";
    return `  ${printable(reason)}: ${names.join(", ")}${more}`;
  });
  return lines.length > 0 ? ["", colors.bold(title), ...lines.slice(0, ROWS)] : [];
}
