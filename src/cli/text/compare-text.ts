/** @file What a comparison found, as a person reads it. */
import type { Cause } from "../../evaluate/diagnose/cause.ts";
import type { MetricChange } from "../../recipe/compare.ts";
import type { BeforeAfter, CompareReport } from "../../recipe/steps/compare.ts";
import {
  type Column,
  formatBytes,
  formatChange,
  formatCount,
  formatDb,
  formatMs,
  type Palette,
  plural,
  printable,
  renderTable,
} from "./render.ts";

/** Tables of fidelity and of both models' numbers. */
export function compareText(report: CompareReport, width: number, colors: Palette): string {
  const { data, fidelity } = report;
  const source = data.madeUp
    ? `${plural(data.samples, "made-up input")} (give --data for real ones)`
    : `${plural(data.samples, "sample")} of ${printable(data.name)}`;
  const skipped = data.skipped.length > 0 ? `, ${data.skipped.length} unreadable left out` : "";
  const outputs = Object.entries(fidelity).map(([name, of]) => [
    printable(name),
    formatDb(of.sqnr),
    cosineText(of.cosine),
    formatError(of.maxAbsError),
    of.maxRelativeError === 0 ? "" : `${formatPercent(of.maxRelativeError)} of the largest value`,
    of.broken > 0 ? colors.red(`${of.broken} not finite`) : "",
  ]);
  const head = colors.bold(`Outputs against the original, ${source}${skipped}`);
  const broken = outputs.some((row) => row.at(-1) !== "");
  const columns: Column[] = [
    { title: "output", shrink: true },
    { title: "SQNR", align: "right" },
    { title: "cosine", align: "right" },
    { title: "max error", align: "right" },
    { title: "" },
    ...(broken ? [{ title: "" }] : []),
  ];
  return [
    head,
    renderTable(columns, outputs, { width, colors }),
    ...layersTable(report, width, colors),
    ...causesText(report, colors),
    "",
    numbersTable(report, width, colors),
    ...notesText(report, colors),
  ].join("\n");
}

function notesText({ notes = [] }: CompareReport, colors: Palette): string[] {
  return notes.length > 0 ? ["", colors.bold("Notes"), ...notes.map((note) => `  ${printable(note)}`)] : [];
}

const WORST_LAYERS = 12;

function layersTable({ layers, causes = [] }: CompareReport, width: number, colors: Palette): string[] {
  if (!layers) return [];
  const causeOf = (value: string) => causes.find((cause) => cause.layer === value && cause.severity !== "note")?.title;
  const rows = layers
    .slice(0, WORST_LAYERS)
    .map(({ name, opType, value, own, accumulated }) => [
      printable(name),
      opType,
      formatDb(own),
      formatDb(accumulated),
      causeOf(value) ?? "",
    ]);
  const named = rows.some((row) => row.at(-1) !== "");
  const columns: Column[] = [
    { title: "layer", shrink: true },
    { title: "operator", optional: true },
    { title: "by itself", align: "right" },
    { title: "with all before it", align: "right" },
    ...(named ? [{ title: "likely cause" }] : []),
  ];
  const shown = layers.length > rows.length ? ` (worst ${rows.length} of ${layers.length})` : "";
  const title = colors.bold(`SQNR of the layers' outputs, worst first${shown}`);
  return ["", title, renderTable(columns, rows, { width, colors })];
}

const WORST_CAUSES = 6;

/** The causes as sentences, one for each kind: the worst of it, and how many more there are. */
function causesText({ causes }: CompareReport, colors: Palette): string[] {
  if (!causes) return [];
  const serious = causes.filter(({ severity }) => severity !== "note");
  const kinds = [...new Set(serious.map(({ kind }) => kind))].slice(0, WORST_CAUSES);
  if (kinds.length === 0) return ["", "No cause of lost accuracy was found in any layer."];
  const lines = kinds.map((kind) => {
    const all = serious.filter((cause) => cause.kind === kind);
    const [{ title, severity, message }] = all as [Cause];
    const paint = severity === "severe" ? colors.red : colors.yellow;
    const more = all.length > 1 ? colors.dim(` (and ${all.length - 1} more like it)`) : "";
    return `  ${paint(title)}: ${printable(message)}${more}`;
  });
  return ["", colors.bold("Likely causes, worst first"), ...lines];
}

function numbersTable(report: CompareReport, width: number, colors: Palette): string {
  const { size, params, loadMs, latency, metric } = report;
  const rows: string[][] = [];
  if (metric) rows.push([metric.name, ...metricCells(metric, colors)]);
  const add = (name: string, { before, after }: BeforeAfter<number>, format: (value: number) => string) =>
    rows.push([name, format(before), format(after), formatChange(before, after)]);
  add("on disk", { before: size.before.bytes, after: size.after.bytes }, formatBytes);
  for (const kind of ["gzip", "brotli"] as const) {
    const [before, after] = [size.before[kind], size.after[kind]];
    if (before !== undefined && after !== undefined) add(kind, { before, after }, formatBytes);
  }
  add("parameters", params, formatCount);
  add("load", loadMs, formatMs);
  const [before, after] = [latency?.models.before, latency?.models.after];
  const ratio = latency?.ratios.after;
  if (before && after && ratio) {
    const spread = `×${ratio.ratio.toFixed(2)} (${ratio.low.toFixed(2)} to ${ratio.high.toFixed(2)})`;
    rows.push(["latency p50", withSpread(before.p50, before.iqr), withSpread(after.p50, after.iqr), spread]);
    add("latency p95", { before: before.p95, after: after.p95 }, formatMs);
  }
  const columns: Column[] = [
    { title: "" },
    { title: "before", align: "right" },
    { title: "after", align: "right" },
    { title: "change", align: "right" },
  ];
  return renderTable(columns, rows, { width, colors });
}

function metricCells({ before, after, unit, higherIsBetter }: MetricChange, colors: Palette): string[] {
  const text = (value: number) =>
    unit === "%" ? `${value.toFixed(2)} %` : `${Number(value.toPrecision(5))}${unit ? ` ${unit}` : ""}`;
  const delta = after - before;
  const change = `${delta > 0 ? "+" : delta < 0 ? "−" : "±"}${Number(Math.abs(delta).toPrecision(2))}`;
  const isWorse = higherIsBetter ? delta < 0 : delta > 0;
  return [text(before), text(after), isWorse ? colors.yellow(change) : change];
}

function withSpread(p50: number, iqr: number): string {
  return `${formatMs(p50)} ±${formatPercent(iqr / 2 / p50)}`;
}

function formatPercent(share: number): string {
  const percent = share * 100;
  if (!Number.isFinite(percent)) return "∞ %";
  return `${percent >= 9.95 ? percent.toFixed(0) : Number(percent.toPrecision(2))} %`;
}

/** Six digits tell 0.999 from 0.99999; equal is 1. */
function cosineText(cosine: number): string {
  return cosine === 1 ? "1" : Math.min(cosine, 0.999999).toFixed(6);
}

function formatError(error: number): string {
  return Number.isFinite(error) ? String(Number(error.toPrecision(3))) : "∞";
}
