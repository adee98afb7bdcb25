/** @file What a training did, as a person reads it. */
import type { TrainReport } from "../../recipe/steps/train-report.ts";
import { type Palette, plural, printable, renderTable } from "./render.ts";

/** Epochs in the table; of more, the first, the last and some between. */
const ROWS = 12;

export function trainText(report: TrainReport, width: number, colors: Palette): string {
  const { data, validation, history, trained, quantized, notes = [] } = report;
  const count = data.samples === undefined ? "" : `${plural(data.samples, "sample")} of `;
  const head = colors.bold(`Trained ${plural(trained.length, "weight tensor")} on ${count}${printable(data.name)}`);
  const kept = quantized
    ? [
        `${plural(quantized.weights, "weight")} in integers (${Object.entries(quantized.codes)
          .map(([dtype, count]) => `${count} ${dtype}`)
          .join(", ")}), ${quantized.fromOriginal} of them from float originals; scales ${quantized.scales}`,
      ]
    : [];
  const unit = validation?.metric.unit ?? "";
  const metric = (value: number | undefined) =>
    value === undefined ? "" : `${value.toPrecision(4)}${unit && ` ${unit}`}`;
  const title = validation ? `${validation.metric.name} on ${plural(validation.samples ?? 0, "other sample")}` : "";
  const rows = chosen(history).map((record) => [
    `${record.epoch}`,
    record.loss.toPrecision(4),
    record.rate.toPrecision(3),
    metric(record.validation),
    validation?.epoch === record.epoch ? colors.green("best") : "",
  ]);
  const columns = [
    { title: "epoch", align: "right" as const },
    { title: "loss", align: "right" as const },
    { title: "rate", align: "right" as const },
    { title, align: "right" as const },
    { title: "" },
  ];
  const change = validation
    ? [`${validation.metric.name}: ${metric(validation.before)} → ${colors.bold(metric(validation.after))}`]
    : [];
  return [
    head,
    ...kept,
    ...renderTable(columns, rows, { width, colors }).split("\n"),
    ...change,
    ...(notes.length > 0 ? ["", colors.bold("Notes"), ...notes.map((note) => `  ${printable(note)}`)] : []),
  ].join("\n");
}

function chosen<T>(history: readonly T[]): readonly T[] {
  if (history.length <= ROWS) return history;
  const step = (history.length - 1) / (ROWS - 1);
  return Array.from({ length: ROWS }, (_, i) => history[Math.round(i * step)] as T);
}
