/** @file Help texts, from the tables alone: nothing has to be loaded for them. */
import { type CommandSpec, type Flag, type FlagGroup, globalFlags } from "./args.ts";

const WIDTH = 96;

/** `tersor --help`. */
export function mainHelp(commands: readonly CommandSpec[]): string {
  return [
    "tersor: makes trained ONNX models smaller and faster, and proves that they still work",
    "Usage: tersor COMMAND [options]",
    section(
      "Commands",
      commands.map(({ name, usage, summary }) => [`${name} ${usage}`, summary]),
    ),
    flagSection({ title: "Options of every command", flags: globalFlags }),
    section("Exit codes", [
      ["0", "done"],
      ["1", "a bound was missed"],
      ["2", "usage or recipe error"],
      ["3", "invalid or unsupported model or data"],
      ["130", "interrupted; nothing was written"],
    ]),
    section("What runs code", [
      [
        ".ts, .js, .mjs",
        "recipes, and modules that are named as data or metric, are imported: they may do whatever you may",
      ],
      ["everything else", "models, JSON and data are only read; see docs/trust.md"],
    ]),
    "`tersor COMMAND --help` shows the options of a command.",
  ].join("\n\n");
}

/** `tersor quantize --help`. */
export function commandHelp({ name, usage, summary, groups, examples }: CommandSpec): string {
  return [
    `tersor ${name}: ${summary}`,
    `Usage: tersor ${name} ${usage}`,
    ...groups.map(flagSection),
    flagSection({ title: "General", flags: globalFlags }),
    `Examples:\n${examples.map((example) => `  ${example}`).join("\n")}`,
  ].join("\n\n");
}

function flagSection({ title, flags }: FlagGroup): string {
  return section(
    title,
    flags.map((flag) => [spelling(flag), flag.summary]),
  );
}

function spelling({ name, short, value }: Flag): string {
  return `${short ? `-${short}, ` : ""}--${name}${value ? ` ${value}` : ""}`;
}

/** Two columns, the second one wrapped. */
function section(title: string, rows: readonly (readonly [string, string])[]): string {
  const left = Math.max(...rows.map(([term]) => term.length)) + 4;
  const lines = rows.map(([term, text]) => `  ${term}`.padEnd(left) + wrap(text, WIDTH - left, " ".repeat(left)));
  return `${title}:\n${lines.join("\n")}`;
}

function wrap(text: string, width: number, indent: string): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.join(`\n${indent}`);
}
