/** @file `tersor inspect`. */
import { statSync } from "node:fs";
import { basename } from "node:path";
import { loadModel } from "../../node/load.ts";
import { describeModel } from "../../recipe/describe-model.ts";
import { modelFiles } from "../../recipe/node/files.ts";
import { simplifyForStep } from "../../recipe/steps/simplify.ts";
import type { CommandInput } from "../args.ts";
import { inspectText } from "../inspect-text.ts";
import { palette } from "../render.ts";

export async function run({ args, options, io }: CommandInput): Promise<number> {
  const [path = ""] = args;
  const model = loadModel(path);
  if (options.text) {
    const { print } = await import("../../ir/text/index.ts");
    const text = print(model);
    io.json({ text });
    io.print(text);
    return 0;
  }
  const [, ...external] = modelFiles(model, path);
  const externalBytes = external.reduce((sum, file) => sum + statSync(file).size, 0);
  const file = { name: basename(path), bytes: statSync(path).size + externalBytes, externalBytes };
  const layered = await simplifyForStep(model, { level: options.simplify === false ? "constants" : "all" });
  const description = describeModel(model, { layered, macsOf: () => null });
  io.json({ file, ...description });
  io.print(
    inspectText(file, description, {
      layers: options.layers === true,
      width: io.width,
      colors: palette(io.isTty, process.env),
    }),
  );
  return 0;
}
