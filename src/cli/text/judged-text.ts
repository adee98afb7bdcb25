/** @file What a look at the outputs of a quantized model came to, as a person reads it, with the next command. */
import { FLOOR_DB, type JudgedReport } from "../../recipe/judge/judge.ts";
import { changesText } from "./bound-text.ts";
import { formatDb, type Palette, plural, printable } from "./render.ts";

export function judgedText(report: JudgedReport, width: number, colors: Palette): string {
  const { verdict, reason, changes } = report;
  const color = { kept: colors.green, repaired: colors.green, low: colors.yellow, "not judged": colors.yellow };
  const paint = color[verdict as keyof typeof color] ?? colors.red;
  const because = reason && verdict !== "kept" ? `: ${printable(reason)}` : "";
  return [
    `${colors.bold("Outputs")} ${paint(words[verdict])}${measured(report)}${because}`,
    ...(changes ? changesText({ changes }, width, colors) : []),
    ...advice(report).map((line) => `  ${line}`),
  ].join("\n");
}

const words: Readonly<Record<JudgedReport["verdict"], string>> = {
  kept: "kept",
  repaired: "repaired",
  low: "may be useless",
  useless: "useless",
  unchanged: "unchanged",
  broken: "broken",
  refused: "none",
  "not judged": "not judged",
};

function measured({ output, sqnr, sqnrAsAsked, broken, data, floor }: JudgedReport): string {
  if (output === undefined || !data) return "";
  const source = data.madeUp
    ? plural(data.samples, "made-up input")
    : `${plural(data.samples, "sample")} of ${printable(data.name)}`;
  const before = sqnrAsAsked === undefined ? "" : `${formatDb(sqnrAsAsked)} as asked, now `;
  const nan = broken ? `, ${plural(broken, "value")} NaN or infinite` : "";
  const below = (sqnr as number) < floor ? ` (below ${floor} dB)` : "";
  return `: ${printable(`"${output}"`)} keeps least: ${before}${formatDb(sqnr)}${below}${nan} on ${source}`;
}

/** What to do next. */
function advice({ verdict, data, changes }: JudgedReport): string[] {
  const look = "`tersor compare ORIGINAL RESULT --data SAMPLES --per-layer` shows which layers, and why.";
  if (verdict === "not judged") return ["`tersor compare ORIGINAL RESULT --data SAMPLES` judges it."];
  if (verdict === "unchanged")
    return [
      "The reasons stand above. For a smaller file: weights alone (leave out --calibrate and --dynamic), or `--no-fit-costs` where float32 is only faster; for a faster one `tersor prune`.",
    ];
  if (verdict === "refused")
    return ['Leave the layers that it names float (`--layers "…@keep"`), or choose another --target.'];
  if (verdict === "repaired" && changes?.length) return ["`--as-asked` leaves every layer as asked for."];
  if (verdict === "kept" || verdict === "repaired") return [];
  if (data?.madeUp)
    return [
      "Made-up inputs may be unlike real ones. Give samples (`--calibrate SAMPLES` or `--data SAMPLES`): layers that do harm then step up by themselves.",
    ];
  return [
    look,
    `More bits (\`--dtype int8\`), groups (\`--granularity group:32\`) or \`--min-sqnr ${FLOOR_DB}\` with more samples may hold it.`,
  ];
}
