/** @file `tersor compare`. */
import { loadModel } from "../../node/load.ts";
import { NodeContext } from "../../recipe/node/context.ts";
import { parseOptions } from "../../recipe/parse-options.ts";
import { compareModels, compareOptions } from "../../recipe/steps/compare.ts";
import { type CommandInput, flagNaming } from "../args.ts";
import { compareText } from "../compare-text.ts";
import { dataOptionsOf } from "../options-file.ts";
import { withProgress } from "../progress.ts";
import { palette, printable } from "../render.ts";
import { skippedText } from "../skipped-text.ts";

export async function run({ command, args, options, io }: CommandInput): Promise<number> {
  const [a = "", b = ""] = args;
  const { seed = 0, dataOptions: _, skipBad: __, json: ___, quiet: ____, verbose: _____, ...settings } = options;
  parseOptions(compareOptions, settings, "compare", flagNaming(command));
  const [reference, candidate] = [loadModel(a), loadModel(b)];
  const report = await withProgress(io, async (progress) => {
    const ctx = new NodeContext({
      original: reference,
      paths: new Map([
        [reference, a],
        [candidate, b],
      ]),
      seed: seed as number,
      dryRun: false,
      signal: io.signal,
      progress,
      dataOptions: dataOptionsOf(options),
      folder: ".",
    });
    try {
      return await compareModels(reference, candidate, settings, ctx);
    } finally {
      await ctx.close();
    }
  });
  io.json({ before: a, after: b, ...report });
  const colors = palette(io.isTty, process.env);
  const { name, skipped } = report.data;
  const parts = [
    `${printable(a)} (before), ${printable(b)} (after)`,
    compareText(report, io.width, colors),
    skippedText(skipped.length > 0 ? [{ data: name, samples: skipped }] : [], colors),
  ];
  io.print(parts.filter((part) => part !== "").join("\n\n"));
  return 0;
}
