/** @file `tersor compare`. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadModel } from "../../node/load.ts";
import { NodeContext } from "../../recipe/node/context.ts";
import { outputPaths } from "../../recipe/node/files.ts";
import { Workspace } from "../../recipe/node/workspace.ts";
import { compareModels } from "../../recipe/steps/compare.ts";
import { type CommandInput, flagNaming } from "../args.ts";
import { dataOptionsOf } from "../options-file.ts";
import { withProgress } from "../progress.ts";
import { stepFrom } from "../step-options.ts";
import { withTarget } from "../target-file.ts";
import { compareText } from "../text/compare-text.ts";
import { palette, printable } from "../text/render.ts";
import { skippedText } from "../text/skipped-text.ts";

export async function run({ command, args, options, io }: CommandInput): Promise<number> {
  const [a = "", b = ""] = args;
  const { seed = 0, dataOptions: _, skipBad: __, json: ___, quiet: ____, verbose: _____, ...given } = options;
  const settings = await withTarget(given);
  stepFrom("compare", settings, "compare", { naming: flagNaming(command) });
  const [reference, candidate] = [loadModel(a), loadModel(b)];
  const report = await withProgress(io, async (progress) => {
    // Layer by layer, models are made to be measured: they are written where nothing of the user's lies.
    const workspace = new Workspace(outputPaths(join(tmpdir(), "measured.onnx")), { signal: io.signal });
    const ctx = new NodeContext({
      original: reference,
      paths: new Map([
        [reference, a],
        [candidate, b],
      ]),
      workspace,
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
      workspace.remove();
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
