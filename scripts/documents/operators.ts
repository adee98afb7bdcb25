/** @file docs/operators.md from the tables of operators. A new table is a column here. */
import { decomposedOps } from "../../src/autodiff/decompose/index.ts";
import { gradientRule, isConstantAlmostEverywhere } from "../../src/autodiff/rules/index.ts";
import { macRules } from "../../src/ops/macs.ts";
import { knownOps, schemaVersions } from "../../src/ops/schema.ts";
import { shapeRule } from "../../src/ops/shapes/index.ts";
import { channelRules } from "../../src/prune/graph/channel-rules.ts";
import { dynamicRules, noInteger } from "../../src/quantize/dynamic/rules.ts";
import { weightOps } from "../../src/quantize/layers/weight-rules.ts";
import { floatReasons, integerRules, movingRules } from "../../src/quantize/static/rules.ts";
import { notice, page, table } from "./markdown.ts";

interface Operator {
  readonly domain: string;
  readonly opType: string;
  /** With its domain where that is not the standard one, as most tables have it. */
  readonly key: string;
}

interface Column {
  readonly title: string;
  readonly about: string;
  cell(operator: Operator): string;
}

const yes = "yes";

const columns: readonly Column[] = [
  {
    title: "shapes",
    about: "types and shapes of its outputs are inferred",
    cell: ({ domain, opType }) => (shapeRule(domain, opType) ? yes : ""),
  },
  {
    title: "MACs",
    about: "its multiply-accumulates are counted",
    cell: ({ domain, opType }) => (macRules.get(domain)?.has(opType) ? yes : ""),
  },
  {
    title: "gradient",
    about: "it is differentiated, directly or taken apart first; zero: its outputs change by jumps, if at all",
    cell: (operator) => {
      if (gradientRule(operator.domain, operator.opType)) return yes;
      if (decomposedOps(operator.domain).includes(operator.opType)) return "taken apart";
      return isConstantAlmostEverywhere(operator) ? "zero" : "";
    },
  },
  {
    title: "cut",
    about:
      "pruning knows which of its axes may lose channels, and what goes with them; other operators keep all they touch",
    cell: ({ key }) => (channelRules[key] ? yes : ""),
  },
  {
    title: "weights",
    about: "its weights are quantized (weight-only)",
    cell: ({ key }) => (weightOps.includes(key) ? yes : ""),
  },
  {
    title: "static",
    about: "what static quantization makes of it: integers for its own sake, or only between integer operators",
    cell: ({ key }) => {
      const rule = integerRules[key];
      if (rule) return rule.role === "anchor" ? "integers" : "between integers";
      return movingRules[key] ? "moves codes" : (floatReasons[key] ?? "");
    },
  },
  {
    title: "dynamic",
    about: "what dynamic quantization makes of it",
    cell: ({ key }) => (dynamicRules[key] ? "integers" : (noInteger[key] ?? "")),
  },
];

const domains = [
  { domain: "", title: "ai.onnx" },
  { domain: "com.microsoft", title: "com.microsoft" },
];

function rowsOf(domain: string): string[][] {
  const current = knownOps(domain).filter((opType) => !schemaVersions(domain, opType).at(-1)?.deprecated);
  return current.map((opType) => {
    const operator = { domain, opType, key: domain ? `${domain}.${opType}` : opType };
    return [opType, ...columns.map(({ cell }) => cell(operator))];
  });
}

export function operatorsPage(): string {
  const sections = domains.flatMap(({ domain, title }) => {
    const rows = rowsOf(domain);
    const known = rows.filter((row) => row.slice(1).some((cell) => cell !== ""));
    const others = rows.length - known.length;
    const rest = others > 0 ? `; ${others} others are copied as they are` : "";
    const count = `${known.length} operators have rules${rest}.`;
    return [`## ${title}`, count, table(["operator", ...columns.map(({ title }) => title)], known)];
  });
  return page([
    "# Operators",
    notice,
    "What Tersor knows of each operator, from its tables. A model may hold any other: it is kept, and what a step leaves alone is named in its report.",
    columns.map(({ title, about }) => `- **${title}**: ${about}`).join("\n"),
    ...sections,
  ]);
}
