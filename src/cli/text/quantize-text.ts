/** @file What a quantization did, as a person reads it: the worst layers, what was left alone and why, notes. */
import { basename } from "node:path";
import type { LeftConstant } from "../../quantize/layers/left-float.ts";
import type { LayerReport } from "../../quantize/layers/report.ts";
import type { SkippedNode } from "../../quantize/layers/sites.ts";
import type { Manifest } from "../../recipe/node/run-recipe.ts";
import { largestOf, leastOf } from "../../util/append.ts";
import {
  type Column,
  formatBytes,
  formatChange,
  formatDb,
  formatDims,
  type Palette,
  plural,
  printable,
  renderTable,
  truncateMiddle,
} from "./render.ts";

/** The report of the step, as its manifest has it. */
export interface QuantizeStepReport {
  readonly layers: readonly LayerReport[];
  /** What stays float in the written model. */
  readonly left?: readonly LeftConstant[];
  readonly skipped: readonly SkippedNode[];
  readonly notes: readonly string[];
  readonly seed?: number;
  readonly seeds?: readonly { readonly seed: number; readonly error: number }[];
  readonly seedData?: { readonly name: string; readonly madeUp: boolean };
}

const WORST = 5;
const NAMES = 3;
const NAME_WIDTH = 40;

/** `model.onnx → model.int8.onnx  10.8 MB → 2.9 MB (−73 %)`. */
export function headline({ input, output, notes = [] }: Manifest, colors: Palette, outputPath: string): string {
  const from = basename(input.files[0]?.file ?? "");
  const sizes = `${formatBytes(input.bytes)} → ${formatBytes(output.bytes)} (${formatChange(input.bytes, output.bytes)})`;
  const line = `${printable(from)} → ${printable(outputPath)}  ${colors.bold(sizes)}`;
  return [line, ...notes.map((note) => colors.yellow(note))].join("\n");
}

export function quantizeText(report: QuantizeStepReport, width: number, colors: Palette): string {
  const { layers, left = [], skipped, notes } = report;
  const quantized = layers.filter((layer) => layer.status === "quantized");
  const kept = layers.filter((layer) => layer.status === "kept");
  const specs = [...new Set(quantized.map((layer) => layer.spec ?? ""))];
  const as = specs.length > 0 ? `: ${specs.slice(0, NAMES).join(", ")}${specs.length > NAMES ? ", …" : ""}` : "";
  return [
    `${plural(quantized.length, "layer")} quantized${as}`,
    ...worstLayers(quantized, width, colors),
    ...adjusted(quantized, colors),
    ...leftAlone(kept, left, skipped, colors),
    ...seedText(report, colors),
    ...(notes.length > 0 ? ["", colors.bold("Notes"), ...notes.map((note) => `  ${shortNames(printable(note))}`)] : []),
  ].join("\n");
}

function worstLayers(layers: readonly LayerReport[], width: number, colors: Palette): string[] {
  const measured = layers.filter((layer) => layer.sqnr !== undefined && Number.isFinite(layer.sqnr));
  const worst = measured.toSorted((a, b) => (a.sqnr as number) - (b.sqnr as number)).slice(0, WORST);
  if (worst.length === 0)
    return layers.some((layer) => layer.sqnr === undefined)
      ? [colors.dim("Their SQNR was not measured; --measure does.")]
      : [];
  const columns: Column[] = [
    { title: "#", align: "right" },
    { title: "layer", shrink: true },
    { title: "operator", optional: true },
    { title: "weight", shrink: true, optional: true },
    { title: "written as" },
    { title: "SQNR", align: "right" },
    { title: "bytes", align: "right" },
  ];
  const rows = worst.map((layer) => [
    String(layer.index),
    truncateMiddle(printable(layer.name), NAME_WIDTH),
    layer.opType,
    formatDims(layer.dims),
    `${layer.spec} ${layer.format}`,
    formatDb(layer.sqnr),
    `${formatBytes(layer.bytesBefore)} → ${formatBytes(layer.bytesAfter)}`,
  ]);
  const title =
    worst.length < measured.length ? `Lowest weight SQNR (${worst.length} of ${measured.length})` : "Weight SQNR";
  return ["", colors.bold(title), renderTable(columns, rows, { width, colors })];
}

/** Layers where something was decided differently than asked. */
function adjusted(layers: readonly LayerReport[], colors: Palette): string[] {
  const rows = layers.filter((layer) => layer.reason !== undefined);
  if (rows.length === 0) return [];
  return [
    "",
    colors.bold("Decided otherwise"),
    ...byReason(rows.map((layer) => ({ ...layer, reason: layer.reason ?? "" }))),
  ];
}

/** Layers that were kept, every other constant that stays float, and operators that have none. */
function leftAlone(
  kept: readonly LayerReport[],
  left: readonly LeftConstant[],
  skipped: readonly SkippedNode[],
  colors: Palette,
): string[] {
  const known = new Set(kept.map(({ weight }) => weight));
  const constants = left.filter(({ weight }) => !known.has(weight));
  const readers = new Set(constants.flatMap((each) => each.readers.map(({ name }) => name)));
  const all = [
    ...kept.map(({ name, opType, reason }) => ({ name, opType, reason: reason ?? "kept" })),
    ...constants.map(({ weight, readers: [first], reason, bytes }) => ({
      name: `${weight} ${formatBytes(bytes)}`,
      opType: first?.opType ?? "constant",
      // The reader is in front of every line already.
      reason: reason.replace(/^[\w.]+ ".*" reads it: /, ""),
    })),
    ...skipped.filter(({ name }) => !readers.has(name)),
  ];
  return all.length > 0 ? ["", colors.bold("Left alone"), ...byReason(all)] : [];
}

/** Names in quotes shortened in the middle: exporters make some of hundreds of characters. */
function shortNames(text: string): string {
  return text.replaceAll(/"([^"]*)"/g, (_, name: string) => `"${truncateMiddle(name, NAME_WIDTH)}"`);
}

/** One line per operator and reason: how many, which. */
function byReason(
  rows: readonly { readonly name: string; readonly opType: string; readonly reason: string }[],
): string[] {
  const groups = new Map<string, (typeof rows)[number][]>();
  for (const row of rows) {
    const what = `${row.opType}: ${row.reason}`;
    groups.set(what, [...(groups.get(what) ?? []), row]);
  }
  return [...groups].map(([what, members]) => {
    const names = members.slice(0, NAMES).map(({ name }) => truncateMiddle(printable(name), NAME_WIDTH));
    const more = members.length > NAMES ? `, … ${members.length - NAMES} more` : "";
    return `  ${members.length} × ${shortNames(printable(what))} (${names.join(", ")}${more})`;
  });
}

function seedText({ seed, seeds, seedData }: QuantizeStepReport, colors: Palette): string[] {
  if (!seeds || seed === undefined) return [];
  const db = (error: number) => formatDb(-10 * Math.log10(error));
  const errors = seeds.map((trial) => trial.error);
  const data = seedData?.madeUp ? "made-up inputs" : printable(seedData?.name ?? "");
  return [
    "",
    colors.bold("Seeds"),
    `  seed ${seed} is the best of ${seeds.length}: output SQNR ${db(leastOf(errors))}, the worst ${db(largestOf(errors))} (${data})`,
  ];
}
