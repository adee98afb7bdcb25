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

export async function run({ command, args, options, io }: CommandInput): Promise<number> {
  const [a = "", b = ""] = args;
  const { seed = 0, dataOptions, json: _, quiet: __, verbose: ___, ...settings } = options;
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
      dataOptions: dataOptionsOf(dataOptions),
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
  io.print(`${printable(a)} (before), ${printable(b)} (after)\n\n${compareText(report, io.width, colors)}`);
  return 0;
}
