/** @file A model as a person wants to see it. */
import type { LayerDescription, ModelDescription } from "../../recipe/describe-model.ts";
import { largestOf } from "../../util/append.ts";
import {
  type Column,
  formatBytes,
  formatCount,
  formatDims,
  type Palette,
  plural,
  printable,
  renderTable,
} from "./render.ts";

export interface InspectedFile {
  readonly name: string;
  /** Bytes of all its files. */
  readonly bytes: number;
  /** Bytes of them that are external data. */
  readonly externalBytes: number;
}

/** Metadata entries that are shown; the rest is counted. */
const METADATA = 4;
const VALUE_WIDTH = 60;

export interface InspectTextOptions {
  readonly layers: boolean;
  readonly width: number;
  readonly colors: Palette;
}

export function inspectText(file: InspectedFile, model: ModelDescription, options: InspectTextOptions): string {
  const { colors, width } = options;
  return [
    summary(file, model, colors),
    `${colors.bold("Inputs")}\n${ioTable(model.inputs, width)}\n\n${colors.bold("Outputs")}\n${ioTable(model.outputs, width)}`,
    `${colors.bold("Operators")}\n${operatorTable(model, width, colors)}`,
    options.layers ? layerTables(model, width, colors) : layerSummary(model, colors),
    ...(model.notes.length > 0
      ? [`${colors.bold("Notes")}\n${model.notes.map((note) => `  ${printable(note)}`).join("\n")}`]
      : []),
  ].join("\n\n");
}

function summary(file: InspectedFile, model: ModelDescription, colors: Palette): string {
  const { opsets, irVersion, producer, params, macs, metadata } = model;
  const external = file.externalBytes > 0 ? ` (${formatBytes(file.externalBytes)} of it external data)` : "";
  const versions = Object.entries(opsets).map(([domain, version]) => `${printable(domain)} ${version}`);
  const dtypes = Object.entries(model.bytesByDtype).sort((a, b) => b[1] - a[1]);
  const open =
    macs.openSizes.length > 0 ? ` with ${macs.openSizes.map(printable).join(", ")} = 1 (--shapes sets them)` : "";
  const unknown = macs.unknownNodes > 0 ? `, not counting ${plural(macs.unknownNodes, "node")} of unknown shape` : "";
  const about = [
    `opset ${versions.join(", ")}, IR version ${irVersion}`,
    ...(producer ? [`made by ${printable(producer)}`] : []),
  ];
  const entries = Object.entries(metadata);
  return [
    `${colors.bold(printable(file.name))}  ${formatBytes(file.bytes)}${external}`,
    about.join(", "),
    `${formatCount(params)} parameters in ${formatBytes(model.constantBytes)} of constants${dtypes.length > 0 ? `: ${dtypes.map(([dtype, bytes]) => `${dtype} ${formatBytes(bytes)}`).join(", ")}` : ""}`,
    `${formatCount(macs.total)} MACs${open}${unknown}; ${plural(model.nodes, "node")}${structure(model)}`,
    ...entries.slice(0, METADATA).map(([key, value]) => colors.dim(`${printable(key)}: ${shorten(printable(value))}`)),
    ...(entries.length > METADATA
      ? [colors.dim(`… ${plural(entries.length - METADATA, "more metadata entry", "more metadata entries")}`)]
      : []),
  ].join("\n");
}

function structure({ subgraphs, functions, defaults }: ModelDescription): string {
  const parts = [
    ...(defaults > 0 ? [`${plural(defaults, "initializer")} listed as inputs too`] : []),
    ...(subgraphs > 0 ? [`in ${plural(subgraphs + 1, "graph")} (${plural(subgraphs, "subgraph")})`] : []),
    ...(functions.length > 0
      ? [`${plural(functions.length, "function")}: ${functions.map(printable).join(", ")}`]
      : []),
  ];
  return parts.length > 0 ? `; ${parts.join("; ")}` : "";
}

function shorten(text: string): string {
  return text.length <= VALUE_WIDTH ? text : `${text.slice(0, VALUE_WIDTH)}…`;
}

function ioTable(values: ModelDescription["inputs"], width: number): string {
  if (values.length === 0) return "  none";
  const nameWidth = largestOf(values.map(({ name }) => printable(name).length));
  const room = Math.max(20, Math.min(nameWidth, width - 40));
  return values
    .map(({ name, type }) => `  ${shortName(name, room).padEnd(Math.min(room, nameWidth))}  ${printable(type)}`)
    .join("\n");
}

function shortName(name: string, room: number): string {
  const text = printable(name);
  if (text.length <= room) return text;
  const tail = Math.floor((room - 1) / 2);
  return `${text.slice(0, room - 1 - tail)}…${text.slice(text.length - tail)}`;
}

function operatorTable({ operators, constantBytes }: ModelDescription, width: number, colors: Palette): string {
  const columns: Column[] = [
    { title: "operator", shrink: true },
    { title: "count", align: "right" },
    { title: "params", align: "right" },
    { title: "bytes", align: "right" },
    { title: "share", align: "right" },
    { title: "MACs", align: "right" },
  ];
  const rows = operators.map(({ opType, count, params, bytes, macs }) => [
    printable(opType),
    String(count),
    nonZero(params, formatCount),
    nonZero(bytes, formatBytes),
    shareText(bytes / constantBytes),
    macsText(macs),
  ]);
  return renderTable(columns, rows, { width, colors });
}

function layerSummary({ layers, constantBytes }: ModelDescription, colors: Palette): string {
  const can = layers.filter((layer) => layer.compressible);
  const bytes = can.reduce((sum, layer) => sum + layer.bytes, 0);
  const share = constantBytes > 0 ? `, ${((100 * bytes) / constantBytes).toFixed(1)} % of the constants` : "";
  const cannot = layers.length - can.length;
  const rest = cannot > 0 ? ` ${plural(cannot, "other operator")} can't.` : "";
  return `${colors.bold(plural(can.length, "layer"))} can be quantized: ${formatBytes(bytes)}${share}.${rest} --layers lists them.`;
}

function layerTables({ layers }: ModelDescription, width: number, colors: Palette): string {
  const columns: Column[] = [
    { title: "#", align: "right" },
    { title: "layer", shrink: true },
    { title: "operator" },
    { title: "weight", shrink: true },
    { title: "dims" },
    { title: "params", align: "right" },
    { title: "bytes", align: "right" },
    { title: "MACs", align: "right" },
  ];
  const can = layers.filter((layer) => layer.compressible);
  const cannot = layers.filter((layer) => !layer.compressible);
  const rows = can.map((layer) => [
    String(layer.index),
    printable(layer.name),
    layer.opType,
    printable(layer.weight ?? ""),
    `${layer.dtype} ${formatDims(layer.dims ?? [])}`,
    formatCount(layer.params),
    formatBytes(layer.bytes),
    macsText(layer.macs),
  ]);
  return [
    `${colors.bold("Layers that can be compressed")}\n${can.length > 0 ? renderTable(columns, rows, { width, colors }) : "  none"}`,
    ...(cannot.length > 0 ? [`${colors.bold("Operators that can't")}\n${obstacles(cannot, width, colors)}`] : []),
  ].join("\n\n");
}

function obstacles(layers: readonly LayerDescription[], width: number, colors: Palette): string {
  const columns: Column[] = [
    { title: "node", shrink: true },
    { title: "operator" },
    { title: "MACs", align: "right" },
    { title: "why", shrink: true, min: 30 },
  ];
  const rows = layers.map(({ name, opType, macs, reason }) => [
    printable(name),
    opType,
    macsText(macs),
    printable(reason ?? ""),
  ]);
  return renderTable(columns, rows, { width, colors });
}

/** Nothing below a twentieth of a percent. */
function shareText(share: number): string {
  return share >= 0.0005 ? `${(100 * share).toFixed(1)} %` : "";
}

function nonZero(value: number, format: (value: number) => string): string {
  return value === 0 ? "" : format(value);
}

/** `?` where a shape is not known. */
function macsText(macs: number | null): string {
  return macs === null ? "?" : nonZero(macs, formatCount);
}
