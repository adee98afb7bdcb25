/** @file What the rows of bench/prune-train.mjs work with: recipes from file to file, and a judge that has not seen the training. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { measureSize } from "../../dist/node/size.js";
import { runRecipe } from "../../dist/recipe/node/run-recipe.js";
import { judge } from "../single-rows.mjs";
import { openSession, zoo } from "../zoo.mjs";
import { tasks } from "./tasks.mjs";

/**
 * A task, ready to work on.
 *
 * @param {string} name of a task
 * @param {{shared: string, folder: string, seed: number, threads: number, epochs?: number, samples?: number}} settings
 *   files go to `folder`; `epochs` in place of a row's own; `samples` limits what is trained on and judged
 */
export async function openLab(name, settings) {
  const { model: found, training: data, metric, batch, learn: own, test: openTest } = tasks[name];
  const { shared, folder, seed, threads, samples } = settings;
  const ofZoo = zoo(shared).find((each) => each.name === found);
  const model = ofZoo ? ofZoo.path : await found(settings);
  const training = typeof data === "function" ? await data(settings) : data;
  const session = await openSession(model);
  const test = (await openTest(session.inputs, settings)).slice(0, samples);
  await session.release();
  const learn = { ...own, threads, ...(samples && { samples }) };
  /** Epochs that a training takes which has so many unless the command line says otherwise. */
  const epochs = (count) => settings.epochs ?? count;

  /** Runs a recipe from `from` to a file called `to`; gives the file and the steps' reports. */
  async function make(to, steps, from = model) {
    const output = fileOf(to);
    const recipe = { model: from, output, data: training, seed, steps };
    const { manifest } = await runRecipe(recipe, { folder: join(shared, "data") });
    return { file: output, reports: manifest.steps.map(({ report }) => report) };
  }
  const fileOf = (name) => join(folder, `${name}.onnx`);

  return {
    model,
    epochs,
    make,
    /** As `make`, unless the file is there: rows that share a folder (--keep) make it once. No reports. */
    makeOnce: async (to, steps) =>
      existsSync(fileOf(to)) ? { file: fileOf(to), reports: [] } : { ...(await make(to, steps)), reports: [] },
    metric: typeof metric === "string" ? metric : metric.name,
    /** Options of a step that looks at activations; pruning then goes by wanda over the whole network, and solves the next weights anew. */
    calibration: {
      calibrate: training,
      calibrationSamples: Math.min(256, samples ?? 256),
      batchSize: batch === 1 ? 8 : 32,
      threads,
    },
    /** A step that learns from labels for so many epochs; a tenth of the data chooses the epoch. */
    finetune: (count, more) => ({ finetune: { ...learn, epochs: epochs(count), ...more } }),
    /** A step that learns from a teacher, without labels; the last epoch counts. */
    distill: (count, more) => ({
      distill: { ...learn, teacher: "original", labels: 0, validation: 0, epochs: epochs(count), ...more },
    }),
    /** The metric on the test samples. */
    judge: (file) => judge(file, test, metric, { batch }),
    /** Bytes of a file on disk and after brotli. */
    size: (file) => measureSize([file], { brotliQuality: QUALITY }),
  };
}

/** Of brotli: 11 takes minutes for what is 1 % smaller. */
const QUALITY = 9;

/** Steps that cut channels: `ratio` of the MACs. */
export const cut = (ratio, more) => ({ prune: { ratio, by: "macs", compressed: false, ...more } });

/** How many times fewer MACs a step of pruning left. */
export const timesFewer = ({ macs }) => macs.before / macs.after;
