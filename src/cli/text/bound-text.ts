/** @file What an accuracy bound came to, as a person reads it: whether it is met, the rounds, the layers that changed. */
import type { BoundMeasure } from "../../recipe/bound/bound.ts";
import type { BoundReport, BoundRound } from "../../recipe/bound/run-bound.ts";
import {
  type Column,
  formatBytes,
  formatDb,
  type Palette,
  plural,
  printable,
  renderTable,
  truncateMiddle,
} from "./render.ts";

const NAMES = 3;
const NAME_WIDTH = 32;
const CHANGES = 12;

export function boundText(report: BoundReport, width: number, colors: Palette): string {
  const { met, result, rounds, data } = report;
  const verdict = met ? colors.green("met") : colors.red("missed");
  const columns: Column[] = [
    { title: "round", align: "right" },
    { title: "what" },
    { title: "layers", shrink: true },
    { title: result.name, align: "right" },
    { title: "limit", align: "right" },
    { title: "bytes", align: "right" },
    { title: "" },
    ...(data.heldOut ? [{ title: "judged", align: "right" } as const] : []),
  ];
  const rows = rounds.map((round, at) => [
    String(at + 1),
    actions[round.action],
    printable(namesOf(round.layers)),
    round.value === undefined ? "did not run" : valueText(round.value, result),
    round.limit === undefined ? "" : valueText(round.limit, result),
    round.error === undefined ? formatBytes(round.bytes) : "",
    round.holds ? "holds" : "",
    ...(data.heldOut ? [round.judged === undefined ? "" : valueText(round.judged, result)] : []),
  ]);
  const source = data.madeUp
    ? `${plural(data.searched, "made-up input")} (give --data for real ones)`
    : `${plural(data.searched, "sample")} of ${printable(data.name)}`;
  return [
    `${colors.bold("Accuracy bound")} ${verdict}: ${resultText(report)}`,
    "",
    colors.bold(`${plural(rounds.length, "round")} of the search, on ${source}`),
    renderTable(columns, rows, { width, colors }),
    ...changesText(report, width, colors),
  ].join("\n");
}

const actions: Readonly<Record<BoundRound["action"], string>> = {
  "as asked": "as asked",
  up: "stepped up",
  back: "stepped back",
};

function resultText({ result, data }: BoundReport): string {
  const { before, after, limit } = result;
  const from = before === undefined ? "" : `${valueText(before, result)} → `;
  const on = data.heldOut
    ? `on ${plural(data.judged, "other sample")}`
    : `on the ${plural(data.judged, "sample")} of the search: too few to set some apart`;
  return `${result.name} ${from}${valueText(after, result)}, allowed ${valueText(limit, result)} (${on})`;
}

function valueText(value: number, { unit }: BoundMeasure): string {
  if (unit === "dB") return formatDb(value);
  if (unit === "%") return `${value.toFixed(2)} %`;
  return `${Number(value.toPrecision(5))}${unit ? ` ${unit}` : ""}`;
}

function namesOf(layers: readonly string[]): string {
  const names = layers.slice(0, NAMES).map((name) => truncateMiddle(name, NAME_WIDTH));
  return `${names.join(", ")}${layers.length > NAMES ? `, … ${layers.length - NAMES} more` : ""}`;
}

/** The layers that step up, or nothing. */
export function changesText({ changes }: Pick<BoundReport, "changes">, width: number, colors: Palette): string[] {
  if (changes.length === 0) return [];
  const rows = changes.slice(0, CHANGES).map(({ layer, from, to }) => [printable(layer), from, to]);
  const more = changes.length > CHANGES ? [colors.dim(`… ${changes.length - CHANGES} more`)] : [];
  const columns: Column[] = [{ title: "layer", shrink: true }, { title: "asked for" }, { title: "got" }];
  return ["", colors.bold("Layers treated better"), renderTable(columns, rows, { width, colors }), ...more];
}
