/** @file What a probe found, as a person reads it. */
import type { ExactnessResult } from "../../evaluate/probe/exactness.ts";
import type { ProbeReport } from "../../evaluate/probe/probe.ts";
import { saturates } from "../../evaluate/probe/probed-target.ts";
import { type Column, formatMs, type Palette, printable, renderTable } from "./render.ts";

export interface ProbeTextOptions {
  readonly machine: string;
  /** Whether the processor and the runtime are of the kind that may sum in pairs: x86 and native. */
  readonly hasPairs: boolean;
  /** The file that was written. */
  readonly output: string | undefined;
  readonly width: number;
  readonly colors: Palette;
}

export function probeText(report: ProbeReport, { machine, hasPairs, output, width, colors }: ProbeTextOptions): string {
  const { target, weights } = report;
  const table = (title: string, columns: readonly Column[], rows: readonly (readonly string[])[]) =>
    `${colors.bold(title)}\n${renderTable(columns, rows, { width, colors })}`;
  const vnni = saturates(report)
    ? "No VNNI is used: products are summed in pairs in 16 bits, and int8 weights beyond ±64 overflow."
    : "VNNI or the like is used: int8 weights of 8 bits are exact.";
  const codes = `${weights.dtype}${weights.bits === 7 ? " within ±64" : ""}`;
  return [
    `${colors.bold(printable(target.name))}  ${printable(machine)}`,
    ...(hasPairs ? [vnni] : []),
    `Integer layers take ${codes} weights; MatMulNBits accuracy_level ${target.accuracyLevel}.`,
    table("Sums of 8-bit products", exactnessColumns, exactnessRows(report.exactness, colors)),
    table(
      "MatMulNBits: error of the activations' rounding",
      [{ title: "bits" }, ...[0, 1, 2, 3, 4].map((level) => ({ title: `level ${level}`, align: "right" as const }))],
      nbitsRows(report),
    ),
    table(
      "Float16",
      [{ title: "operator" }, { title: "computes in" }, { title: "sums beyond 65,504" }],
      report.float16.map(({ operator, computes, widerSums }) => [
        operator,
        computes,
        widerSums === undefined ? "" : widerSums ? "hold" : "overflow",
      ]),
    ),
    table("Speed against float32, in turns", speedColumns, speedRows(report, colors)),
    output === undefined ? "Nothing was written: -o FILE.json writes a target." : `${printable(output)} was written.`,
  ].join("\n\n");
}

const exactnessColumns: readonly Column[] = [
  { title: "operator" },
  { title: "uint8 × int8", align: "right" },
  { title: "… within ±64", align: "right" },
  { title: "uint8 × uint8", align: "right" },
  { title: "int8 × int8", align: "right" },
  { title: "… within ±64", align: "right" },
];

/** A row for every operator: its cases come in the order of the columns. */
function exactnessRows(results: readonly ExactnessResult[], colors: Palette): string[][] {
  const rows = new Map<string, string[]>();
  for (const { operator, verdict, error = 0 } of results) {
    const row = rows.get(operator) ?? [operator];
    rows.set(operator, row);
    const text = verdict === "inexact" ? colors.red(`off by ${(error * 100).toFixed(0)} %`) : verdict;
    row.push(text);
  }
  return [...rows.values()];
}

function nbitsRows({ matMulNBits }: ProbeReport): string[][] {
  return [4, 8].map((bits) => [
    String(bits),
    ...matMulNBits
      .filter((each) => each.bits === bits)
      .map(({ error }) => (error === undefined ? "refused" : error.toExponential(1))),
  ]);
}

const speedColumns: readonly Column[] = [
  { title: "kernel" },
  { title: "speed", align: "right" },
  { title: "middle half", align: "right" },
  { title: "time", align: "right" },
  { title: "float32", align: "right" },
  { title: "measured on", shrink: true, min: 24 },
];

function speedRows({ speeds }: ProbeReport, colors: Palette): string[][] {
  return speeds.map(({ kernel, about, time, baseMs, reason = "" }) =>
    time && baseMs !== undefined
      ? [
          kernel,
          `×${time.speed.toFixed(2)}`,
          `${time.low.toFixed(2)} to ${time.high.toFixed(2)}`,
          formatMs(time.ms),
          formatMs(baseMs),
          about,
        ]
      : [kernel, colors.red("refused"), "", "", "", printable(reason)],
  );
}
