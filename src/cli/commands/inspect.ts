/** @file `tersor inspect`. */
import { statSync } from "node:fs";
import { basename } from "node:path";
import type { Model } from "../../ir/model.ts";
import { loadModel } from "../../node/load.ts";
import type { InputShapes } from "../../ops/infer-inputs.ts";
import { describeModel } from "../../recipe/describe-model.ts";
import { modelFiles } from "../../recipe/node/files.ts";
import { simplifyForStep } from "../../recipe/steps/simplify.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import type { CommandInput } from "../args.ts";
import { inspectText } from "../text/inspect-text.ts";
import { palette } from "../text/render.ts";

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
  const shapes = shapesOf(model, options.shapes as Shapes | undefined);
  const { layered, notes } = await layeredOf(model, options.simplify !== false);
  const described = describeModel(model, { shapes, layered });
  const description = { ...described, notes: [...described.notes, ...notes] };
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

/** The model as `quantize` will see its layers; as far as that works out, since what is inspected may be broken. */
async function layeredOf(model: Model, simplified: boolean): Promise<{ layered: Model; notes: readonly string[] }> {
  try {
    const level = simplified ? "all" : "constants";
    return { layered: await simplifyForStep(model, { level }, compute), notes: [] };
  } catch (error) {
    if (!(error instanceof TersorError)) throw error;
    return {
      layered: model,
      notes: [`it can't be simplified, so its layers are listed as they are: ${error.message}`],
    };
  }
}

/** Folds constants as `quantize` will, so that both number the same layers. */
async function compute(constants: Model): Promise<readonly Tensor[]> {
  const [{ runConstants }, { workerRuntime }] = await Promise.all([
    import("../../evaluate/run-constants.ts"),
    import("../../runtime/worker-runtime.ts"),
  ]);
  const runtime = workerRuntime("ort-node");
  try {
    return await runConstants(constants, runtime);
  } finally {
    await runtime.close();
  }
}

type Shapes = Readonly<Record<string, readonly number[]>>;

/** `x=1,3,48,320` is the shape of an input; `N=8`, where no input is called N, the size of a symbol. */
function shapesOf(model: Model, given: Shapes = {}): InputShapes {
  const inputs = new Set(model.graph.inputs.map((input) => input.name));
  const entries = Object.entries(given).map(([name, dims]) => {
    const [size] = dims;
    return [name, size !== undefined && dims.length === 1 && !inputs.has(name) ? size : dims] as const;
  });
  return Object.fromEntries(entries);
}
